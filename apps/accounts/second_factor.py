"""The second factor: who must have one, and that a session without it reaches nothing.

Operators of the platform and administrators of a manufacturer must, where REQUIRE_MFA is set; all
others may. Until the session has shown it, they reach the pages that set it up and no other, nor
the API, nor the websocket.
"""

from collections.abc import Callable
from typing import Any
from urllib.parse import urlencode

import qrcode
from allauth.account.authentication import AUTHENTICATION_METHODS_SESSION_KEY
from allauth.account.internal.flows.login import record_authentication
from allauth.mfa.adapter import DefaultMFAAdapter
from allauth.mfa.models import Authenticator
from allauth.mfa.utils import is_mfa_enabled
from django.conf import settings
from django.contrib.sessions.backends.base import SessionBase
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect, JsonResponse
from django.urls import Resolver404, resolve, reverse
from qrcode.image.svg import SvgPathFillImage

from apps.accounts import keyring
from apps.accounts.models import User
from apps.accounts.permissions import Role

MUST = frozenset({Role.OPERATOR, Role.ADMINISTRATOR})
"""They make and end everybody's access: one stolen password would open all of it."""
FACTORS = (Authenticator.Type.TOTP,)
_OPEN_VIEWS = frozenset(
    {
        "mfa_index",
        "mfa_activate_totp",
        "mfa_reauthenticate",
        "account_reauthenticate",
        "account_login",
        "account_logout",
        "preferences",
    }
)


def must_have(user: User) -> bool:
    """Whether the person may not work without a second factor."""
    return bool(settings.REQUIRE_MFA) and user.role in MUST


def is_missing(user: User, session: SessionBase) -> bool:
    """Whether the session still has to show the second factor before it reaches anything."""
    return must_have(user) and not _was_shown(session)


def _was_shown(session: SessionBase) -> bool:
    records = session.get(AUTHENTICATION_METHODS_SESSION_KEY, [])
    return any(record.get("method") == "mfa" for record in records)


def forget(user: User) -> int:
    """Takes a person's second factor away, for a lost phone; returns how many parts it had."""
    removed, _each = Authenticator.objects.filter(user=user).delete()
    return removed


def note_set_up(
    *, request: HttpRequest, user: User, authenticator: Authenticator, **_: Any
) -> None:
    """Who sets it up has just shown it: the session needs no second asking."""
    if authenticator.type in FACTORS:
        record_authentication(request, user, "mfa", id=authenticator.pk, type=authenticator.type)


class SecondFactorMiddleware:
    """Leads who must show a second factor to the page for it, and refuses machines' answers."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self._get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        user = getattr(request, "user", None)
        if isinstance(user, User) and is_missing(user, request.session) and not _is_open(request):
            return _refusal(request, user)
        return self._get_response(request)


def _is_open(request: HttpRequest) -> bool:
    try:
        found = resolve(request.path_info, getattr(request, "urlconf", None))
    except Resolver404:
        return True  # there is nothing behind it
    return found.view_name in _OPEN_VIEWS


def _refusal(request: HttpRequest, user: User) -> HttpResponse:
    if request.path_info.startswith("/api/"):
        problem = {"status": 403, "code": "second_factor_missing", "title": "Second factor missing"}
        return JsonResponse(problem, status=403, content_type="application/problem+json")
    name = "mfa_reauthenticate" if is_mfa_enabled(user, FACTORS) else "mfa_activate_totp"
    query = urlencode({"next": request.get_full_path()}) if request.method == "GET" else ""
    return HttpResponseRedirect(f"{reverse(name)}?{query}")


class MfaAdapter(DefaultMFAAdapter):
    """allauth's second factor with its seeds encrypted, and kept by those who must have it."""

    def encrypt(self, text: str) -> str:
        return keyring.encrypt(text)

    def decrypt(self, encrypted_text: str) -> str:
        return keyring.decrypt(encrypted_text)

    def build_totp_svg(self, url: str) -> str:
        """On white, whatever the page's colours: cameras want dark on light."""
        image = qrcode.make(url, image_factory=SvgPathFillImage)
        return image.to_string(encoding="unicode")

    def get_totp_issuer(self) -> str:
        return f"Ohmwatch {self._get_site_name().partition(':')[0]}"

    def can_delete_authenticator(self, authenticator: Authenticator) -> bool:
        user = authenticator.user
        return not (authenticator.type in FACTORS and isinstance(user, User) and must_have(user))
