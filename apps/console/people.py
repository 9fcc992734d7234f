"""Who asks: a person who has signed in."""

from collections.abc import Callable
from functools import wraps
from typing import Any, Concatenate, ParamSpec

from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse

from apps.accounts.models import User
from apps.tenants.models import Tenant

P = ParamSpec("P")


class PersonRequest(HttpRequest):
    """A request behind `for_people`: the person is known, and so is the tenant."""

    user: User
    tenant: Tenant
    htmx: Any


def for_people(
    view: Callable[Concatenate[PersonRequest, P], HttpResponse],
) -> Callable[..., HttpResponse]:
    """The view is for people who signed in; its answer is theirs and is kept by no cache."""

    @login_required
    @wraps(view)
    def guarded(request: PersonRequest, *args: P.args, **kwargs: P.kwargs) -> HttpResponse:
        answer = view(request, *args, **kwargs)
        answer.headers.setdefault("Cache-Control", "no-store")
        return answer

    return guarded
