"""What came in: fields that nobody knows are shown to their own tenant, and to no other."""

from collections import Counter

import redis

from apps.accounts.models import User
from apps.tenants.models import Tenant
from tests.pages import World, browser, check_clean
from workers.acquisition.batches import Batch
from workers.acquisition.board import Board
from workers.acquisition.sorting import Sorted, UnknownFields

PAGE = "/portal/intake/"
HOSTILE = "<script>alert(1)</script>"


def _sent(log: redis.Redis, tenant: str, name: str, payload: bytes) -> None:
    unknown = UnknownFields(Counter({name: 1234}), {name: "tbox-1"}, payload, "tbox-1")
    batch = Batch(1_800_000_000_000, 0, 1_800_000_000_000, [])
    Board(log).note(batch, Sorted(unknown_fields={tenant: unknown}), {})


def test_engineers_see_unknown_fields_who_sent_them_and_a_message(
    world: World, anna: User, kunlun: Tenant, redis_log: redis.Redis
) -> None:
    _sent(redis_log, "kunlun", HOSTILE, b'{"gps_lat": 1}')
    shown = browser(anna, kunlun).get(PAGE).content.decode()
    check_clean(shown)
    assert "<h2>Fields that Ohmwatch doesn't know</h2>" in shown
    assert HOSTILE not in shown
    assert "&lt;script&gt;alert(1)" in shown
    assert "1,234" in shown
    assert 'href="/portal/devices/?q=tbox-1"' in shown
    assert "&quot;gps_lat&quot;: 1" in shown


def test_another_tenant_sees_none_of_it(
    world: World, anna: User, otto: User, kunlun: Tenant, aurora: Tenant, redis_log: redis.Redis
) -> None:
    _sent(redis_log, "aurora", "their_secret_field", b"their bytes")
    theirs = browser(otto, aurora).get(PAGE).content.decode()
    ours = browser(anna, kunlun).get(PAGE).content.decode()
    assert "their_secret_field" in theirs
    assert "their bytes" in theirs
    assert "their_" not in ours
    assert "Fields that Ohmwatch" not in ours, "without such a field there is no card"


def test_it_is_said_in_chinese(
    world: World, anna: User, kunlun: Tenant, redis_log: redis.Redis
) -> None:
    _sent(redis_log, "kunlun", "gps", b"{}")
    client = browser(anna, kunlun)
    client.post("/preferences/", {"language": "zh-hans", "theme": "light", "next": PAGE})
    shown = client.get(PAGE).content.decode()
    assert "Ohmwatch 不认识的字段" in shown
    assert "最近发送的设备" in shown


def test_without_redis_the_page_is_there(
    world: World, anna: User, kunlun: Tenant, settings: object
) -> None:
    settings.REDIS_LOG_URL = "redis://127.0.0.1:1/0"  # type: ignore[attr-defined]
    answer = browser(anna, kunlun).get(PAGE)
    assert answer.status_code == 200
