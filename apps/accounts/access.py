"""Doors of views: signed in, and allowed by the role."""

from collections.abc import Callable
from functools import wraps
from typing import Concatenate, ParamSpec

from django.contrib.auth.decorators import login_required
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest
from django.http.response import HttpResponseBase

from apps.accounts.models import User
from apps.accounts.permissions import Permission

P = ParamSpec("P")
View = Callable[Concatenate[HttpRequest, P], HttpResponseBase]


def require(permission: Permission) -> Callable[[View[P]], View[P]]:
    """Only signed-in people whose role holds the permission.

    A tenant's staff are told that they may not (403); to its customers the page doesn't exist.
    """

    def decorate(view: View[P]) -> View[P]:
        @login_required
        @wraps(view)
        def guarded(request: HttpRequest, /, *args: P.args, **kwargs: P.kwargs) -> HttpResponseBase:
            check(request.user, permission)
            return view(request, *args, **kwargs)

        return guarded

    return decorate


def check(user: object, permission: Permission) -> None:
    """Raises PermissionDenied or Http404 where the person doesn't hold the permission."""
    if isinstance(user, User) and user.can(permission):
        return
    if isinstance(user, User) and user.is_staff_of_tenant:
        raise PermissionDenied
    raise Http404("nothing here")
