"""What an SMS gateway is told, what its answers mean, and how many a number gets."""

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest

from apps.notifications import allowance
from apps.notifications.allowance import Counter, take
from apps.notifications.channel import TransportError
from apps.notifications.channels.sms.channel import CHANNEL
from apps.notifications.channels.sms.limits import LIMITS
from apps.tenants.models import Tenant
from tests.messages import item, message
from tests.outside import SmsGateway

NOW = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
NUMBER = "+4915112345678"


def test_a_repeat_is_the_same_message(gateway: SmsGateway) -> None:
    said = message(address=NUMBER)
    assert CHANNEL.send(said) == CHANNEL.send(said) == f"sms-{said.key}"
    assert len(gateway.taken) == 1


def test_said_before_in_other_words_counts_as_said(gateway: SmsGateway) -> None:
    CHANNEL.send(message(address=NUMBER))
    assert CHANNEL.send(message(item(vehicle="renamed"), address=NUMBER)) == "accepted-before"


@pytest.mark.parametrize(
    ("status", "permanent"),
    [
        (400, True),
        (413, True),
        (422, True),
        (401, False),
        (403, False),
        (429, False),
        (500, False),
        (302, False),
    ],
)
def test_each_answer_says_whether_a_repeat_can_help(
    gateway: SmsGateway, status: int, permanent: bool
) -> None:
    gateway.answers = [(status, {"Retry-After": "7", "Location": gateway.url}, b"sorry")]
    with pytest.raises(TransportError) as caught:
        CHANNEL.send(message(address=NUMBER))
    assert (caught.value.permanent, caught.value.retry_after_s) == (permanent, 7)
    assert "sms-token" not in str(caught.value)
    assert len(gateway.calls) == 1  # no redirect is followed


@pytest.mark.parametrize("body", [b"", b"not json", b"[]", b'{"no": "id"}', b"x" * 200_000])
def test_accepted_with_nonsense_is_accepted(gateway: SmsGateway, body: bytes) -> None:
    gateway.answers = [(202, {}, body)]
    assert CHANNEL.send(message(address=NUMBER)) == ""


def allowed(now: datetime, tenant: str = "kunlun", bucket: str = "other", key: str = "") -> float:
    counters = [Counter(bucket, NUMBER, LIMITS)]
    return take(tenant=tenant, message=key or uuid4().hex, counters=counters, now=now).wait_s


def test_a_minute_an_hour_a_day() -> None:
    assert allowed(NOW) == 0
    assert allowed(NOW + timedelta(seconds=10)) == 50
    now = NOW
    for _ in range(4):
        now += timedelta(minutes=1)
        assert allowed(now) == 0
    now += timedelta(minutes=1)
    assert allowed(now) == 55 * 60
    sent = 5
    while sent < 20:
        now += timedelta(minutes=13)
        sent += allowed(now) == 0
    assert allowed(now + timedelta(hours=2)) > 3600


def test_a_repeat_is_not_counted_again() -> None:
    assert allowed(NOW, key="a") == 0
    assert allowed(NOW + timedelta(seconds=1), key="a") == 0
    assert allowed(NOW + timedelta(seconds=1), key="b") > 0


def test_critical_ones_and_other_tenants_have_their_own() -> None:
    assert allowed(NOW) == 0
    assert allowed(NOW, bucket="critical") == 0
    assert allowed(NOW, tenant="aurora") == 0


def test_a_hundred_at_once_are_one() -> None:
    with ThreadPoolExecutor(20) as pool:
        waits = list(pool.map(lambda _: allowed(NOW), range(100)))
    assert waits.count(0) == 1


def test_a_counter_that_is_away_holds_back_no_alarm(settings: object, kunlun: Tenant) -> None:
    settings.REDIS_CACHE_URL = "redis://127.0.0.1:9/0"  # type: ignore[attr-defined]
    allowance.forget()
    try:
        assert CHANNEL.wait_s(message(address=NUMBER), tenant=kunlun, now=NOW) == 0
    finally:
        allowance.forget()
