"""A device's clock is told from how late its readings come, whatever their delay does."""

import random

import pytest

from apps.devices.clocks import LIMIT_MS, SAMPLES_NEEDED, judge
from apps.devices.directory import DeviceEntry
from apps.devices.models import ClockState
from apps.telemetry.slices import Retention
from ohmwatch.codecs.json import decode
from workers.acquisition.batches import Message
from workers.acquisition.clocks import DEVICES_LIMIT, SAMPLE_EVERY_MS, Clocks, newest_measured
from workers.acquisition.parcels import Parcel
from workers.acquisition.sorting import Sorted

KEPT = Retention("30d")

T = 1_795_420_800_000
HOUR = 3_600_000


def samples(clock_error_ms: int, *, seed: int = 1, slow: float = 0.2) -> list[int]:
    """Delays as of a mobile network: mostly some 100 ms, some of them many seconds."""
    chance = random.Random(seed)
    delays = [
        chance.uniform(5_000, 600_000) if chance.random() < slow else chance.gammavariate(2, 150)
        for _ in range(40)
    ]
    return [round(delay - clock_error_ms) for delay in delays]


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize(
    ("error_ms", "state"),
    [
        (0, ClockState.RIGHT),
        (2_000, ClockState.RIGHT),
        (-2_000, ClockState.RIGHT),
        (7_000, ClockState.AHEAD),
        (-8_000, ClockState.BEHIND),
        (HOUR, ClockState.AHEAD),
        (-HOUR, ClockState.BEHIND),
        (-T, ClockState.BEHIND),
        (70 * 365 * 24 * HOUR, ClockState.AHEAD),
    ],
)
def test_the_error_is_found_within_a_second(error_ms: int, state: str, seed: int) -> None:
    clock = judge(samples(error_ms, seed=seed, slow=0.0))
    assert clock is not None
    assert clock.state == state
    assert abs(clock.offset_ms - error_ms) < 1_000


@pytest.mark.parametrize("seed", range(20))
def test_slow_messages_and_wild_rows_accuse_no_clock(seed: int) -> None:
    said = samples(0, seed=seed, slow=0.3)
    wild = [*said[:-4], -(10**10), 10**12, -HOUR, 5 * HOUR]
    for several in (said, wild):
        clock = judge(several)
        assert clock is not None
        assert clock.state == ClockState.RIGHT


def test_a_device_that_catches_up_can_not_be_told() -> None:
    clock = judge([HOUR - 60_000 * minute for minute in range(40)])
    assert clock is not None
    assert clock.state == ClockState.UNCLEAR


def test_too_few_samples_say_nothing() -> None:
    assert judge([LIMIT_MS * 9] * (SAMPLES_NEEDED - 1)) is None
    assert judge([]) is None


# --- how samples are taken ------------------------------------------------------------------------


def test_one_sample_in_half_a_minute_and_it_is_the_least() -> None:
    clocks, box = Clocks(), ("kunlun", "tbox-1")
    assert clocks.due({box: T - 900}, arrived_ms=T) == [(box, 900)]
    for second in range(1, 30):
        late_ms = 300 if second == 7 else 5_000
        arrived_ms = T + second * 1_000
        assert clocks.due({box: arrived_ms - late_ms}, arrived_ms=arrived_ms) == []
    arrived_ms = T + SAMPLE_EVERY_MS
    assert clocks.due({box: arrived_ms - 800}, arrived_ms=arrived_ms) == [(box, 300)]


def test_memory_is_bounded() -> None:
    clocks = Clocks()
    for number in range(DEVICES_LIMIT + 10):
        clocks.due({("kunlun", str(number)): T}, arrived_ms=T)
    assert len(clocks._of) <= DEVICES_LIMIT


def test_what_will_be_refused_for_its_time_is_a_sample_all_the_same() -> None:
    entry = DeviceEntry("kunlun", KEPT, "tbox-1", enabled=True, codec="json")
    work = Sorted(
        parcels=[
            Parcel(number, Message("", body), "kunlun.tbox-1", entry, KEPT, decode(body))
            for number, body in enumerate(
                [
                    b'{"time": 5, "current_a": 1}',
                    b'{"start": %d, "step_ms": 1000, "columns": {"current_a": [1, 2]}}'
                    % (T + HOUR),
                    b'{"time": 7, "current_a": 1}',
                ]
            )
        ]
    )
    assert newest_measured(work) == {("kunlun", "tbox-1"): T + HOUR + 1_000}
