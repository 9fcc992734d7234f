"""The broker's question: may this client in? EMQX asks it over HTTP at each connect."""

import hmac
import json

from django.conf import settings
from django.http import HttpRequest, HttpResponse, HttpResponseNotFound, JsonResponse

from apps.devices.queries import Claim, is_genuine


def authenticate(request: HttpRequest) -> HttpResponse:
    """POST {"clientid", "username", "password"} → {"result": "allow" | "deny"}.

    404 without the shared token: to everybody else this route doesn't exist. A body that can't be
    read is a client that can't be known, so it is denied, never ignored.
    """
    if request.method != "POST" or not _is_the_broker(request):
        return HttpResponseNotFound("Nothing here.\n", content_type="text/plain")
    claim = _claim(request.body)
    genuine = claim is not None and is_genuine(claim)
    return JsonResponse({"result": "allow" if genuine else "deny", "is_superuser": False})


def _is_the_broker(request: HttpRequest) -> bool:
    token = settings.ENVIRONMENT.broker_auth_token.get_secret_value()
    shown = request.headers.get("Authorization", "").removeprefix("Bearer ")
    return bool(token) and hmac.compare_digest(shown.encode(), token.encode())


def _claim(body: bytes) -> Claim | None:
    try:
        said = json.loads(body)
        values = [said["clientid"], said["username"], said["password"]]
    except (ValueError, KeyError, TypeError):
        return None
    if not all(isinstance(value, str) for value in values):
        return None
    return Claim(*values)
