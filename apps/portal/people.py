"""Who asks in the portal: one of the manufacturer's own people, allowed by their role."""

from collections.abc import Callable
from functools import wraps
from typing import Concatenate, ParamSpec, cast

from django.http import Http404, HttpRequest, HttpResponse
from django.http.response import HttpResponseBase

from apps.accounts.access import require
from apps.accounts.models import User
from apps.accounts.permissions import Permission
from apps.tenants.models import Tenant

P = ParamSpec("P")


class StaffRequest(HttpRequest):
    """A request behind `for_staff`."""

    user: User
    tenant: Tenant


View = Callable[Concatenate[StaffRequest, P], HttpResponse]


def for_staff(
    permission: Permission = Permission.VIEW_FLEET,
) -> Callable[[View[P]], Callable[..., HttpResponseBase]]:
    """Staff whose role holds the permission; to a customer the portal does not exist (404)."""

    def decorate(view: View[P]) -> Callable[..., HttpResponseBase]:
        @require(permission)
        @wraps(view)
        def guarded(request: HttpRequest, /, *args: P.args, **kwargs: P.kwargs) -> HttpResponseBase:
            staff = cast(StaffRequest, request)
            if not staff.user.is_staff_of_tenant:
                raise Http404
            answer = view(staff, *args, **kwargs)
            answer.headers.setdefault("Cache-Control", "no-store")
            return answer

        return guarded

    return decorate
