"""From a device whose clock is wrong to what an engineer reads on its page."""

import pytest
import redis
from django_tenants.utils import tenant_context

from apps.accounts.models import User
from apps.devices.models import Device
from apps.tenants.models import Tenant
from tests import cast
from tests.pages import browser, check_clean
from workers.acquisition.batches import Batch
from workers.acquisition.board import Board
from workers.acquisition.sorting import Sorted
from workers.upkeep import clocks

ARRIVED_MS = 1_795_420_800_000
PATH = f"/portal/devices/{cast.BENS_DEVICE}/"


def report(redis_log: redis.Redis, ahead_ms: int, *, device: str = "tbox-1") -> None:
    """Ten reports of a device, a minute apart, as a worker puts them up."""
    board = Board(redis_log)
    for minute in range(10):
        arrived_ms = ARRIVED_MS + minute * 60_000
        work = Sorted(newest={("kunlun", device): arrived_ms - 200 + ahead_ms})
        board.note(Batch(minute, minute, arrived_ms, []), work, {})


@pytest.mark.parametrize(
    ("ahead_ms", "said"),
    [
        (600_000, "The clock of this device is 9 min ahead."),
        (-8_000, "The clock of this device is 8 s behind."),
    ],
)
def test_a_wrong_clock_stands_on_the_devices_page(
    ahead_ms: int,
    said: str,
    elasticsearch: str,
    kunlun: Tenant,
    anna: User,
    redis_log: redis.Redis,
) -> None:
    report(redis_log, ahead_ms)
    clocks.tenant_clocks(schema="t_kunlun")
    page = browser(anna, kunlun).get(PATH).text
    assert said in page
    check_clean(page)
    listed = browser(anna, kunlun).get("/portal/devices/?show=clock").text
    assert "tbox-1" in listed
    assert "tbox-2" not in listed


def test_a_right_clock_is_shown_without_a_notice_and_is_news_once(
    elasticsearch: str, kunlun: Tenant, anna: User, redis_log: redis.Redis
) -> None:
    report(redis_log, 0)
    clocks.tenant_clocks(schema="t_kunlun")
    page = browser(anna, kunlun).get(PATH).text
    assert "The clock of this device is" not in page
    assert "right" in page
    with tenant_context(kunlun):
        first = Device.objects.get(pk=cast.BENS_DEVICE).clock_judged_at
    report(redis_log, 100)
    clocks.tenant_clocks(schema="t_kunlun")
    with tenant_context(kunlun):
        assert Device.objects.get(pk=cast.BENS_DEVICE).clock_judged_at == first


def test_the_board_keeps_a_few_samples_and_forgets_who_is_gone(redis_log: redis.Redis) -> None:
    for _ in range(6):
        report(redis_log, 0)
    assert redis_log.llen("ow:clock:kunlun:tbox-1") == 40
    assert redis_log.ttl("ow:clock:kunlun:tbox-1") > 0


def test_auroras_box_of_the_same_name_has_a_clock_of_its_own(
    elasticsearch: str, kunlun: Tenant, aurora: Tenant, redis_log: redis.Redis
) -> None:
    report(redis_log, 3_600_000)
    clocks.tenant_clocks(schema="t_aurora")
    clocks.tenant_clocks(schema="t_kunlun")
    with tenant_context(aurora):
        assert Device.objects.get(pk=cast.BENS_DEVICE).clock_state == ""
    with tenant_context(kunlun):
        assert Device.objects.get(pk=cast.BENS_DEVICE).clock_state == "ahead"
