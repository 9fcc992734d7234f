"""Who may use the operator's portal."""

from collections.abc import Callable
from functools import wraps
from typing import Concatenate, ParamSpec

from django.contrib.auth.decorators import login_required
from django.http import Http404, HttpRequest, HttpResponse

from apps.accounts.models import User
from apps.accounts.permissions import Role

P = ParamSpec("P")
View = Callable[Concatenate[HttpRequest, P], HttpResponse]


def for_operators(view: View[P]) -> View[P]:
    """Signed-in operators only; to anybody else who is signed in the page doesn't exist."""

    @login_required
    @wraps(view)
    def guarded(request: HttpRequest, /, *args: P.args, **kwargs: P.kwargs) -> HttpResponse:
        user = request.user
        if not isinstance(user, User) or user.role != Role.OPERATOR:
            raise Http404("nothing here")
        return view(request, *args, **kwargs)

    return guarded
