"""What who asks may read, and how often."""

from typing import TYPE_CHECKING

from django.conf import settings
from rest_framework.exceptions import PermissionDenied
from rest_framework.permissions import BasePermission
from rest_framework.request import Request
from rest_framework.throttling import SimpleRateThrottle

from apps.accounts.models import User
from apps.accounts.permissions import Permission
from apps.api.models import ApiKey

if TYPE_CHECKING:
    from rest_framework.views import APIView


class ScopeMissing(PermissionDenied):
    """The key is good but not for this."""

    default_code = "scope_missing"

    def __init__(self, scope: str) -> None:
        super().__init__(f"The key lacks the scope {scope}.")


class MayRead(BasePermission):
    """The person may see the fleet, and the key has the scope that the view names."""

    def has_permission(self, request: Request, view: "APIView") -> bool:
        if not isinstance(request.user, User) or not request.user.can(Permission.VIEW_FLEET):
            return False
        scope = getattr(view, "scope", None)
        if isinstance(request.auth, ApiKey) and scope and scope not in request.auth.scopes:
            raise ScopeMissing(scope)
        return True


class CallerThrottle(SimpleRateThrottle):
    """So many requests a minute for each key or person; the cache keeps tenants apart."""

    scope = "api"

    def get_rate(self) -> str:
        return str(settings.API_RATE)

    def get_cache_key(self, request: Request, view: "APIView") -> str:
        caller = request.auth.pk if isinstance(request.auth, ApiKey) else request.user.pk
        return f"api-rate:{caller}"
