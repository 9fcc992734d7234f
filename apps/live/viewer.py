"""Who sits behind a socket: the session's user in the tenant of the host, asked in one go."""

from dataclasses import dataclass, field
from http.cookies import CookieError, SimpleCookie
from importlib import import_module
from uuid import UUID

from django.conf import settings
from django.contrib.auth import get_user
from django.http import HttpRequest

from apps.accounts import second_factor
from apps.accounts.models import User
from apps.accounts.permissions import Permission
from apps.alarms import queries
from apps.fleet.queries import connectors
from apps.live import groups


@dataclass(frozen=True, slots=True)
class Viewer:
    """A signed-in person, and all that decides what their socket may get."""

    user_id: UUID
    role: str
    group: str
    language: str = field(compare=False)


def viewer_of(schema: str, session_key: str) -> Viewer | None:
    """The person of this session; None for no session, a disabled person, no right to look.

    Runs in the tenant's schema, where sessions and people are.
    """
    user = _user(session_key)
    if user is None or not user.can(Permission.VIEW_FLEET):
        return None
    if user.is_staff_of_tenant:
        group = groups.staff(schema)
    elif user.organisation_id is not None:
        group = groups.organisation(schema, user.organisation_id)
    else:
        return None
    return Viewer(user.pk, user.role, group, user.language)


def latest_number(viewer: Viewer) -> int:
    """The number of the newest alarm event that the viewer may see."""
    return queries.latest_number(for_user=_again(viewer))


def watchable(viewer: Viewer, wanted: list[UUID]) -> frozenset[str]:
    """Those of the connectors that the viewer may see; the others are as if not there."""
    seen = connectors(for_user=_again(viewer)).filter(pk__in=wanted)
    return frozenset(str(pk) for pk in seen.values_list("pk", flat=True))


def session_key_of(headers: list[tuple[bytes, bytes]]) -> str:
    """The session key in a handshake's cookies; empty where there is none."""
    text = "; ".join(value.decode("latin-1") for name, value in headers if name == b"cookie")
    try:
        morsel = SimpleCookie(text).get(settings.SESSION_COOKIE_NAME)
    except CookieError:
        return ""
    return morsel.value if morsel else ""


def _user(session_key: str) -> User | None:
    if not session_key:
        return None
    request = HttpRequest()
    request.session = import_module(settings.SESSION_ENGINE).SessionStore(session_key)
    user = get_user(request)
    if not isinstance(user, User) or not user.is_active:
        return None
    return None if second_factor.is_missing(user, request.session) else user


def _again(viewer: Viewer) -> User:
    return User.objects.get(pk=viewer.user_id)
