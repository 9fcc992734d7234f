"""What goes wrong, as RFC 9457 problem documents with codes that don't change.

| status | code | when |
|---|---|---|
| 400 | `invalid` | a parameter can't be read; `errors` names it |
| 400 | `asked_too_much` | over a limit; `asked` and `limit` say which, `ask` what is not |
| 400 | `wrong_question` | names what isn't there, or hours where days are left; see `ask` |
| 401 | `not_authenticated`, `authentication_failed` | neither session nor key; a key not good |
| 403 | `scope_missing`, `permission_denied` | the key lacks the scope |
| 404 | `not_found` | not there, or not yours |
| 405 | `method_not_allowed` | there is nothing to change at this address |
| 406 | `not_acceptable` | it speaks JSON |
| 429 | `throttled` | too many requests; Retry-After says how long to wait |
| 500 | `internal` | our fault; the request id finds it in the log |
| 503 | `store_slow` | the answer took longer than it may; ask for less, or again |
| 503 | `store_unavailable` | the readings' store is away; ask again |
"""

from typing import Any

import structlog
from django.core.exceptions import PermissionDenied
from django.http import Http404
from rest_framework.exceptions import (
    APIException,
    NotFound,
    Throttled,
    ValidationError,
)
from rest_framework.exceptions import PermissionDenied as Forbidden
from rest_framework.response import Response
from rest_framework.views import set_rollback

from apps.telemetry.errors import AskedTooMuch, StoreSlow, TelemetryError, WrongQuestion

log = structlog.get_logger(__name__)

MEDIA_TYPE = "application/problem+json"
RETRY_AFTER_S = 5

TITLES = {
    400: "The request can't be understood",
    401: "Not authenticated",
    403: "Not allowed",
    404: "Not found",
    405: "Method not allowed",
    406: "Not acceptable",
    429: "Too many requests",
    500: "Something broke on our side",
    503: "Not available at the moment",
}


class StoreAway(APIException):
    """The readings' store can't answer now."""

    status_code = 503

    def __init__(self, error: TelemetryError) -> None:
        said = "The readings can't be read at the moment; ask again."
        if isinstance(error, StoreSlow):
            said = "The answer took longer than {limit_s} s and was ended; ask for less, or again."
        super().__init__(said.format(**error.data), error.code)


def answer(error: Exception, context: dict[str, Any]) -> Response:
    """DRF's exception handler: every failure of the API becomes a problem document."""
    known = _as_known(error)
    if known is None:
        log.exception("api_failed", exc_info=error)
    set_rollback()
    return _response(known)


def _as_known(error: Exception) -> APIException | None:
    if isinstance(error, APIException):
        return error
    if isinstance(error, Http404):
        return NotFound()
    if isinstance(error, PermissionDenied):
        return Forbidden()
    if isinstance(error, AskedTooMuch | WrongQuestion):
        return Unanswerable(error)
    return StoreAway(error) if isinstance(error, TelemetryError) else None


class Unanswerable(APIException):
    """The store's limits or names refuse the question."""

    status_code = 400

    def __init__(self, error: TelemetryError) -> None:
        super().__init__(str(error), error.code)
        self.data = error.data


def _response(error: APIException | None) -> Response:
    status = error.status_code if error is not None else 500
    problem = {
        "type": f"urn:ohmwatch:problem:{_code(error)}",
        "title": TITLES.get(status, "The request failed"),
        "status": status,
        "code": _code(error),
        "detail": _detail(error),
        "request_id": structlog.contextvars.get_contextvars().get("request_id"),
        **_more(error),
    }
    return Response(problem, status, headers=_headers(error), content_type=MEDIA_TYPE)


def _code(error: APIException | None) -> str:
    if error is None:
        return "internal"
    if isinstance(error, ValidationError):
        return "invalid"
    if isinstance(error, NotFound):
        return "not_found"
    return str(error.get_codes())


def _detail(error: APIException | None) -> str:
    if error is None:
        return "The request id finds the cause in our log."
    if isinstance(error, ValidationError):
        return "A parameter is missing or can't be read; errors names it."
    if isinstance(error, NotFound):
        return "There is nothing here."  # the same words for what is not theirs
    return str(error.detail)


def _more(error: APIException | None) -> dict[str, Any]:
    if isinstance(error, ValidationError):
        return {"errors": _by_field(error)}
    return dict(error.data) if isinstance(error, Unanswerable) else {}


def _by_field(error: ValidationError) -> dict[str, list[str]]:
    detail = error.detail if isinstance(error.detail, dict) else {"request": error.detail}
    return {
        field: [str(fault) for fault in (faults if isinstance(faults, list) else [faults])]
        for field, faults in detail.items()
    }


def _headers(error: APIException | None) -> dict[str, str]:
    headers: dict[str, str] = {"Cache-Control": "no-store"}
    if (authenticate := getattr(error, "auth_header", None)) is not None:
        headers["WWW-Authenticate"] = authenticate
    if isinstance(error, Throttled):
        headers["Retry-After"] = str(round(getattr(error, "wait", None) or 1))
    if isinstance(error, StoreAway):
        headers["Retry-After"] = str(RETRY_AFTER_S)
    return headers
