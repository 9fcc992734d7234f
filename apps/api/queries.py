"""Which API keys there are, and whom one stands for."""

from datetime import datetime

from django.db.models import Q, QuerySet

from apps.accounts.models import User
from apps.accounts.permissions import Permission, Role
from apps.api.models import ApiKey, Scope
from apps.api.operations import MARK, hash_of
from apps.tenants.lookups import find_or_404

LONGEST_KEY = 128


def keys(*, for_user: User) -> QuerySet[ApiKey]:
    """All keys of the tenant, for who may manage people; none for others."""
    rows = ApiKey.objects.select_related("organisation", "created_by")
    return rows if for_user.can(Permission.MANAGE_USERS) else rows.none()


def key_for(*, user: User, pk: object) -> ApiKey:
    """Raises Http404 where it doesn't exist or is not this person's to see."""
    return find_or_404(keys(for_user=user), pk)


def key_of_token(token: str, *, now: datetime) -> ApiKey | None:
    """The valid key behind what a request shows; None for anything else, whatever the reason."""
    if not token.startswith(MARK) or len(token) > LONGEST_KEY:
        return None
    alive = Q(expires_at__isnull=True) | Q(expires_at__gt=now)
    rows = ApiKey.objects.select_related("organisation").filter(alive, revoked_at__isnull=True)
    return rows.filter(secret_hash=hash_of(token)).first()


def person_of(key: ApiKey) -> User:
    """The person that a key stands for: never saved, and may only read what its scopes allow.

    A key of the staff's that may enter what workshops find stands for one of the support. It
    has the key's id, so that a log line of a request leads to the key.
    """
    staff = Role.SUPPORT if Scope.INSPECTIONS in key.scopes else Role.READONLY
    role = staff if key.organisation_id is None else Role.OWNER
    return User(
        id=key.pk,
        username=f"key:{key.prefix}",
        role=role,
        organisation=key.organisation,
        is_active=True,
    )
