"""Making and revoking API keys."""

import hashlib
import secrets
from collections.abc import Iterable
from datetime import datetime, timedelta

from django.core.exceptions import PermissionDenied, ValidationError
from django.db.models import Q
from django.utils.translation import gettext as _

from apps.accounts.models import Organisation, User
from apps.accounts.permissions import Permission
from apps.api.models import ApiKey, Scope

MARK = "ohm_live_"
"""What every key begins with, so that scanners of code and logs can find a leaked one."""
SHOWN = len(MARK) + 6
_USED_STEP = timedelta(minutes=1)


def create_key(
    *,
    user: User | None,
    name: str,
    scopes: Iterable[str],
    organisation: Organisation | None = None,
    expires_at: datetime | None = None,
    now: datetime,
) -> tuple[ApiKey, str]:
    """Make a key; the second value is the key itself, which nobody can read again.

    `user` None is the platform's own command. Raises PermissionDenied for who may not manage
    people, ValidationError for unknown scopes or an expiry that has passed.
    """
    _check_may_manage(user)
    chosen = sorted(set(scopes))
    if not chosen or not set(chosen) <= set(Scope.values):
        raise ValidationError({"scopes": _("Choose one or more of the known scopes.")})
    if expires_at is not None and expires_at <= now:
        raise ValidationError({"expires_at": _("This is in the past.")})
    token = MARK + secrets.token_urlsafe(32)
    key = ApiKey(
        name=name.strip(),
        prefix=token[:SHOWN],
        secret_hash=hash_of(token),
        organisation=organisation,
        scopes=chosen,
        created_by=user,
        created_at=now,
        expires_at=expires_at,
    )
    key.full_clean()
    key.save()
    return key, token


def revoke_key(*, user: User | None, key: ApiKey, now: datetime) -> None:
    """End a key at once; the next request with it is refused. Again changes nothing."""
    _check_may_manage(user)
    ApiKey.objects.filter(pk=key.pk, revoked_at__isnull=True).update(revoked_at=now)
    key.refresh_from_db(fields=["revoked_at"])


def note_use(*, key: ApiKey, now: datetime) -> None:
    """Remember that the key is in use, to the minute: not a write for each request."""
    stale = Q(last_used_at__isnull=True) | Q(last_used_at__lt=now - _USED_STEP)
    ApiKey.objects.filter(stale, pk=key.pk).update(last_used_at=now)


def hash_of(token: str) -> str:
    """The SHA-256 by which a key is found."""
    return hashlib.sha256(token.encode()).hexdigest()


def _check_may_manage(user: User | None) -> None:
    if user is not None and not user.can(Permission.MANAGE_USERS):
        raise PermissionDenied
