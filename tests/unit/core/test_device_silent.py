"""Silences: those in use are counted, a parked vehicle's are not, and a gap is no time."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest

from ohmwatch.checks.detectors import observed
from ohmwatch.detector import Batch, Ratings, Silence
from ohmwatch.detectors.device_silent import DeviceSilent
from ohmwatch.findings import Finding, Severity
from ohmwatch.watch import Post, Watch

START_MS = 1_795_420_800_000
MODEL = Ratings(rated_current_a=200.0, interval_s=60.0)
DAY = 1_440


def minutes(chosen: Sequence[int], current_a: Sequence[float] | np.ndarray) -> Batch:
    times = [START_MS + 60_000 * each for each in chosen]
    return Batch.of_one("c", times, current_a=current_a)


def drives(*, silences: int, apart: int = 60, length: int = 20, current_a: float = 120.0) -> Batch:
    """A drive with some silences in it, one every `apart` minutes."""
    gaps = {apart * (number + 1) + each for number in range(silences) for each in range(length)}
    chosen = [minute for minute in range(apart * (silences + 2)) if minute not in gaps]
    return minutes(chosen, [current_a] * len(chosen))


@pytest.mark.parametrize(("silences", "said"), [(2, set()), (3, {Severity.NOTICE})])
def test_third_silence_in_use_is_a_notice(silences: int, said: set[Severity]) -> None:
    findings = observed(DeviceSilent(), drives(silences=silences), MODEL)
    assert {finding.severity for finding in findings} == said


def test_parked_vehicles_sleep() -> None:
    asleep = drives(silences=20, apart=300, length=200, current_a=0.0)
    assert observed(DeviceSilent(), asleep, MODEL) == []


def test_dead_spots_of_a_network_are_no_silence() -> None:
    assert observed(DeviceSilent(), drives(silences=20, length=8), MODEL) == []


def test_charging_is_use() -> None:
    assert observed(DeviceSilent(), drives(silences=4, current_a=-80.0), MODEL)


def test_long_silence_counts_no_more_than_a_short_one() -> None:
    findings = observed(DeviceSilent(), drives(silences=1, apart=30 * DAY, length=29 * DAY), MODEL)
    assert findings == []


def test_it_is_forgotten() -> None:
    quiet = drives(silences=3)
    quiet.values["current_a"][-1] = 0.0  # parked for weeks
    later = minutes(range(20 * DAY, 20 * DAY + 60), [120.0] * 60)
    both = Batch.of_one(
        "c",
        np.concatenate([quiet.time_ms, later.time_ms]),
        current_a=np.concatenate([quiet.values["current_a"], later.values["current_a"]]),
    )
    assert observed(DeviceSilent(), both, MODEL)[-1].severity is None


# --- silent for good: what a clock shows ----------------------------------------------------------

HOUR_MS = 3_600_000


class Story:
    """A connector under watch, and the clock beside it. All times are ms after START_MS."""

    def __init__(self, current_a: float = 120.0, **parameters: float) -> None:
        self.detector = DeviceSilent(**parameters)
        self.watch = Watch([self.detector])
        self.read(*range(30), current_a=current_a)
        self.last_ms = 29 * 60_000

    def read(self, *at_minutes: int, current_a: float = 120.0) -> list[Finding]:
        batch = minutes(at_minutes, [current_a] * len(at_minutes))
        return self.watch.observe(batch, [MODEL]).findings

    def look(
        self,
        at_ms: int,
        *,
        heard_ms: int | None = None,
        online: bool = True,
        listening_ms: int = 0,
        model: Ratings = MODEL,
    ) -> list[Finding]:
        silence = Silence(
            connectors=["c"],
            heard_ms=np.array([START_MS + (self.last_ms if heard_ms is None else heard_ms)]),
            online=np.array([online]),
            listening_ms=START_MS + listening_ms,
            now_ms=START_MS + at_ms,
        )
        judgement = self.watch.lapse(silence, [model])
        assert judgement.failed == {}
        return judgement.findings


def test_device_that_is_silent_for_good_is_said_once_of_the_same_instant() -> None:
    story = Story()
    gone_ms = story.last_ms + HOUR_MS
    assert story.look(gone_ms - 1) == []
    kept = story.watch.dump()
    (found,) = story.look(gone_ms + 90_000)
    assert (found.severity, found.measured_ms) == (Severity.NOTICE, START_MS + gone_ms)
    assert found.since_ms == START_MS + story.last_ms
    assert found.evidence["silent_for_s"] == 3600.0
    assert story.look(gone_ms + 180_000) == []
    story.watch = Watch.load(story.watch.dump(), [story.detector])
    assert story.look(gone_ms + 10 * HOUR_MS) == []
    story.watch = Watch.load(kept, [story.detector])  # killed before it was committed
    assert story.look(gone_ms + 400_000) == [found]


def test_next_reading_ends_it() -> None:
    story = Story()
    assert story.look(story.last_ms + HOUR_MS)
    (over,) = story.read(100)
    assert (over.severity, over.measured_ms) == (None, START_MS + 100 * 60_000)
    assert story.read(101, 102) == []


def test_what_a_device_had_kept_ends_nothing_before_its_newest_does() -> None:
    story = Story()
    gone_ms = story.last_ms + HOUR_MS
    assert story.look(gone_ms)
    again = [each for minute in range(30, 90) for each in story.read(minute)]
    assert {each.severity for each in again} <= {Severity.NOTICE}
    assert [each.severity for each in story.read(90, 91)] == [None]


def test_silences_that_recur_go_on_where_a_long_one_ends() -> None:
    story = Story(notice_count=0.5)
    assert story.look(story.last_ms + HOUR_MS)
    assert None not in {each.severity for each in story.read(100)}


@pytest.mark.parametrize("online", [True, False])
def test_parked_vehicle_may_be_silent_for_weeks(online: bool) -> None:
    story = Story(current_a=3.0)
    assert story.look(story.last_ms + 500 * HOUR_MS, online=online) == []


def test_who_said_that_he_is_offline_gets_a_day() -> None:
    story = Story()
    assert story.look(story.last_ms + 23 * HOUR_MS, online=False) == []
    assert story.look(story.last_ms + 24 * HOUR_MS, online=False)


def test_device_that_was_heard_since_is_not_silent() -> None:
    story = Story()
    heard_ms = story.last_ms + HOUR_MS // 2
    assert story.look(story.last_ms + HOUR_MS, heard_ms=heard_ms) == []
    assert story.look(heard_ms + HOUR_MS, heard_ms=heard_ms)


def test_nothing_is_said_before_we_have_listened_for_a_while() -> None:
    story = Story()
    up_ms = story.last_ms + 5 * HOUR_MS
    assert story.look(up_ms + 599_000, listening_ms=up_ms) == []
    (found,) = story.look(up_ms + 600_000, listening_ms=up_ms)
    assert found.measured_ms == START_MS + up_ms + 600_000


def test_without_a_rating_or_a_reading_it_says_nothing() -> None:
    story = Story()
    assert story.look(story.last_ms + 30 * HOUR_MS, model=Ratings()) == []
    story.watch = Watch([story.detector])
    assert story.look(story.last_ms + 30 * HOUR_MS) == []


def test_clock_asks_variants_for_their_own_connectors_and_shadows_beside() -> None:
    story = Story()
    patient = DeviceSilent(gone_s=7_200.0)
    posts = [
        Post("device_silent", story.detector, np.array([False])),
        Post("device_silent", patient, np.array([True])),
        Post("device_silent@kunlun/r", DeviceSilent(gone_s=1_800.0)),
    ]
    silence = Silence(
        connectors=["c"],
        heard_ms=np.zeros(1, dtype=np.int64),
        online=np.ones(1, dtype=np.bool_),
        listening_ms=0,
        now_ms=START_MS + story.last_ms + HOUR_MS,
    )
    judgement = story.watch.lapse(silence, [MODEL], posts=posts)
    assert judgement.findings == []
    (beside,) = judgement.beside["device_silent@kunlun/r"]
    assert beside.evidence["silent_for_s"] == 1800.0
    later = replace(silence, now_ms=silence.now_ms + HOUR_MS)
    assert len(story.watch.lapse(later, [MODEL], posts=posts).findings) == 1
