"""The SMS gateway of the demo, shaped like the ones people rent.

`POST /sms/v1/messages` with a bearer token, an `Idempotency-Key` and `{"to", "text"}` answers 202
with the message's id; the same key again answers 200 with the same id, so that a sender who is
unsure may ask twice. `GET /sms/v1/messages/<id>` tells the delivery status.
"""

import hmac
import re
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta

import orjson
from aiohttp import web

from workers.inbox.store import Inbox, KeyReused, Sms

DELIVERED_AFTER = timedelta(seconds=1)
LONGEST_TEXT = 1600
_NUMBER = re.compile(r"\+[1-9]\d{6,14}")
_KEY = re.compile(r"[\x21-\x7e]{1,255}")


class GatewayError(Exception):
    """A refusal with the HTTP status and the stable code that the sender reads."""

    def __init__(self, status: int, code: str, detail: str) -> None:
        super().__init__(detail)
        self.status, self.code, self.detail = status, code, detail


class Gateway:
    """The gateway's two endpoints."""

    def __init__(self, inbox: Inbox, *, token: str, told: Callable[[], None]) -> None:
        self._inbox = inbox
        self._token = token
        self._told = told

    def routes(self) -> list[web.RouteDef]:
        return [
            web.post("/sms/v1/messages", self._answering(self._send)),
            web.get("/sms/v1/messages/{id}", self._answering(self._status)),
        ]

    def _answering(
        self, endpoint: Callable[[web.Request, bytes], web.Response]
    ) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
        async def answer(request: web.Request) -> web.StreamResponse:
            try:
                self._check_token(request)
                return endpoint(request, await request.read())
            except GatewayError as error:
                return _problem(error)

        return answer

    def _check_token(self, request: web.Request) -> None:
        scheme, _, token = request.headers.get("Authorization", "").partition(" ")
        if scheme.lower() != "bearer" or not hmac.compare_digest(
            token.encode(), self._token.encode()
        ):
            raise GatewayError(401, "unauthorized", "The bearer token is missing or wrong.")

    def _send(self, request: web.Request, body: bytes) -> web.Response:
        recipient, text = _message(body)
        key = request.headers.get("Idempotency-Key")
        if key is not None and not _KEY.fullmatch(key):
            raise GatewayError(400, "invalid_key", "An idempotency key is 1 to 255 ASCII signs.")
        try:
            sms, is_new = self._inbox.add_sms(
                recipient=recipient, text=text, idempotency_key=key, received_at=datetime.now(UTC)
            )
        except KeyReused:
            raise GatewayError(
                409, "key_reused", "This idempotency key was used with another message."
            ) from None
        if is_new:
            self._told()
        return _json(_status(sms), status=202 if is_new else 200)

    def _status(self, request: web.Request, body: bytes) -> web.Response:
        sms = self._inbox.sms(request.match_info["id"])
        if sms is None:
            raise GatewayError(404, "unknown_message", "No message has this id.")
        return _json(_status(sms))


def _message(body: bytes) -> tuple[str, str]:
    try:
        asked = orjson.loads(body)
        recipient, text = asked["to"], asked["text"]
    except (orjson.JSONDecodeError, KeyError, TypeError):
        raise GatewayError(400, "wrong_shape", 'A message is {"to": "…", "text": "…"}.') from None
    if not isinstance(recipient, str) or not _NUMBER.fullmatch(recipient):
        raise GatewayError(400, "invalid_number", "A number is + and 7 to 15 digits.")
    if not isinstance(text, str) or not text.strip():
        raise GatewayError(400, "empty_text", "The text is empty.")
    if len(text) > LONGEST_TEXT:
        raise GatewayError(413, "text_too_long", f"A text has at most {LONGEST_TEXT} signs.")
    return recipient, text


def _status(sms: Sms) -> dict[str, str]:
    delivered = datetime.now(UTC) - sms.received_at >= DELIVERED_AFTER
    return {
        "id": sms.id,
        "to": sms.recipient,
        "text": sms.text,
        "status": "delivered" if delivered else "queued",
        "created_at": sms.received_at.isoformat(),
    }


def _json(answer: object, *, status: int = 200) -> web.Response:
    return web.Response(body=orjson.dumps(answer), status=status, content_type="application/json")


def _problem(error: GatewayError) -> web.Response:
    problem = {"status": error.status, "code": error.code, "detail": error.detail}
    return web.Response(
        body=orjson.dumps(problem), status=error.status, content_type="application/problem+json"
    )
