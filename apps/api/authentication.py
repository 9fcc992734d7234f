"""Who asks: a browser's session, or a key in the Authorization header and nowhere else."""

from django.core.cache import cache
from django.utils import timezone
from rest_framework.authentication import BaseAuthentication
from rest_framework.exceptions import AuthenticationFailed, Throttled
from rest_framework.request import Request

from apps.accounts.models import User
from apps.api import operations, queries
from apps.api.models import ApiKey

REFUSALS_A_MINUTE = 30


class KeyAuthentication(BaseAuthentication):
    """`Authorization: Bearer ohm_live_…`. Any other bearer is refused, not passed on."""

    def authenticate(self, request: Request) -> tuple[User, ApiKey] | None:
        scheme, _, token = request.headers.get("Authorization", "").partition(" ")
        if not scheme:
            return None
        key = None
        if scheme.lower() == "bearer":
            key = queries.key_of_token(token.strip(), now=timezone.now())
        if key is None:
            _count_refusal(request)
            raise AuthenticationFailed("The key is unknown, expired or revoked.")
        operations.note_use(key=key, now=timezone.now())
        return queries.person_of(key), key

    def authenticate_header(self, request: Request) -> str:
        return 'Bearer realm="ohmwatch"'


def _count_refusal(request: Request) -> None:
    """Guessing is slowed by address; raises Throttled. Good keys from there still work."""
    address = request.META.get("REMOTE_ADDR", "")
    name = f"api-refused:{address}"
    cache.add(name, 0, timeout=60)
    if cache.incr(name) > REFUSALS_A_MINUTE:
        raise Throttled(wait=60)
