"""SMS through an HTTP gateway: POST with an Idempotency-Key; its answer means accepted, not read.

The gateway's receipt is kept as it is: nobody claims that a phone has shown the message.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime

import httpx
import orjson
import phonenumbers
import redis
import structlog
from django.core.exceptions import ValidationError
from django.utils.translation import gettext as _

from apps.alarms.models import Kind
from apps.notifications import budget
from apps.notifications.allowance import Counter, take
from apps.notifications.channel import Answer, Message, Note, TransportError
from apps.notifications.channels.sms import limits
from apps.notifications.channels.sms.settings import SmsSettings
from apps.notifications.channels.sms.text import text_of
from apps.tenants.models import Tenant

log = structlog.get_logger(__name__)
ANSWER_BYTES = 65_536
SHOWN_BYTES = 1024
REFUSED_FOR_GOOD = frozenset({400, 404, 410, 413, 422})
REACHABLE = frozenset(
    {
        phonenumbers.PhoneNumberType.MOBILE,
        phonenumbers.PhoneNumberType.FIXED_LINE,
        phonenumbers.PhoneNumberType.FIXED_LINE_OR_MOBILE,
    }
)
"""Numbers that cost what a message costs: no premium, shared cost, satellite, short code."""


class SmsChannel:
    kind = "sms"
    tells = frozenset({Kind.OPENED, Kind.REOPENED, Kind.WORSENED, Kind.EVIDENCE})

    def is_ready(self) -> bool:
        return bool(SmsSettings().gateway_url)

    def normalise(self, address: str) -> str:
        try:
            number = phonenumbers.parse(address, None)
        except phonenumbers.NumberParseException:
            raise ValidationError(_("Write the number with its country code: +49 …")) from None
        if not phonenumbers.is_valid_number(number):
            raise ValidationError(_("There is no such number."))
        if _type(number) not in REACHABLE:
            raise ValidationError(_("This kind of number can't be used."))
        return phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164)

    def admits(self, address: str, *, tenant: Tenant) -> bool:
        try:
            number = phonenumbers.parse(address, None)
        except phonenumbers.NumberParseException:
            return False
        region = phonenumbers.region_code_for_number(number)
        return region in tenant.reachable_countries and _type(number) in REACHABLE

    def wait_s(self, message: Message, *, tenant: Tenant, now: datetime) -> float:
        urgent = message.first.urgent
        counters = limits.of_alarm(message.recipient, tenant=tenant, urgent=urgent)
        try:
            verdict = take(tenant=tenant.slug, message=message.key, counters=counters, now=now)
        except redis.RedisError as error:
            log.warning("sms_limits_unavailable", error=type(error).__name__)
            return 0.0  # a counter that is away must not hold back an alarm
        if verdict.full == limits.DAY:
            budget.used_up(tenant)
            if message.first.pressing:
                raise TransportError("sms_cap_reached", permanent=True)
        elif not verdict.wait_s:
            budget.warn_early(tenant, now=now)
        return verdict.wait_s

    def counters_of_note(self, address: str, *, tenant: Tenant) -> Sequence[Counter]:
        return limits.of_note(address, tenant=tenant)

    def send(self, message: Message) -> str:
        try:
            with _posted(message.key, message.recipient.address, text_of(message)) as answer:
                return _receipt(answer)
        except httpx.HTTPError as error:
            raise TransportError(
                "gateway_unreachable", permanent=False, detail=type(error).__name__, reached=False
            ) from error

    def tell(self, note: Note) -> Answer:
        secret = SmsSettings().gateway_token.get_secret_value()
        try:
            with _posted(note.key, note.recipient.address, note.text) as answer:
                head = f"HTTP {answer.status_code} {answer.reason_phrase}"
                body = _beginning(answer).decode("utf-8", "replace")
        except httpx.HTTPError as error:
            return Answer.of(type(error).__name__, accepted=False)
        return Answer.of(f"{head}: {body}", accepted=answer.is_success, secret=secret)


@contextmanager
def _posted(key: str, number: str, text: str) -> Iterator[httpx.Response]:
    """The gateway's answer to one message, its body not read yet. Raises httpx.HTTPError."""
    settings = SmsSettings()
    headers = {
        "Authorization": f"Bearer {settings.gateway_token.get_secret_value()}",
        "Idempotency-Key": key,
    }
    body = {"to": number, "text": text}
    # trust_env: a proxy of the environment is no way for people's phone numbers.
    with (
        httpx.Client(timeout=settings.timeout_s, trust_env=False) as client,
        client.stream("POST", settings.gateway_url, json=body, headers=headers) as answer,
    ):
        yield answer


def _beginning(answer: httpx.Response) -> bytes:
    read = bytearray()
    for piece in answer.iter_bytes():
        read += piece
        if len(read) >= SHOWN_BYTES:
            break
    return bytes(read[:SHOWN_BYTES])


def _type(number: phonenumbers.PhoneNumber) -> int:
    return int(phonenumbers.number_type(number))


def _receipt(answer: httpx.Response) -> str:
    if answer.status_code == httpx.codes.CONFLICT:
        return "accepted-before"  # this key went through in other words: it was said
    if not answer.is_success:
        raise TransportError(
            f"gateway_{answer.status_code}",
            permanent=answer.status_code in REFUSED_FOR_GOOD,
            retry_after_s=_retry_after_s(answer),
        )
    read = bytearray()
    for piece in answer.iter_bytes():
        read += piece
        if len(read) > ANSWER_BYTES:
            return ""
    try:
        answered = orjson.loads(read)
        return str(answered["id"])[:200]
    except (orjson.JSONDecodeError, KeyError, TypeError):
        return ""  # it was accepted; that the receipt is unreadable is no reason to say it twice


def _retry_after_s(answer: httpx.Response) -> float | None:
    text = answer.headers.get("Retry-After", "")
    return min(float(text), 3600.0) if text.isdigit() else None


CHANNEL = SmsChannel()
