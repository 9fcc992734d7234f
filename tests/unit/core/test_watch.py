"""The engine: clocks, failing detectors, checkpoints, and many connectors in step."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from io import BytesIO

import numpy as np
import pytest

from ohmwatch import watch as engine
from ohmwatch.checks.detectors import EXAMPLE, recording
from ohmwatch.detector import Batch, Columns, Detector, Ratings, State
from ohmwatch.detectors.defaults import default_detectors
from ohmwatch.detectors.overtemperature import Overtemperature
from ohmwatch.findings import Finding, Severity
from ohmwatch.physics.heat import allowed_rise_per_a2, derated_current_a
from ohmwatch.physics.known import Doubts
from ohmwatch.physics.sequence import Runs, first_order
from ohmwatch.rated import Rated
from ohmwatch.watch import Judgement, Post, Watch


@dataclass(frozen=True)
class Raises(Overtemperature):
    name = "raises"

    def observe(self, batch: Batch, ratings: Sequence[Ratings], state: State) -> list[Finding]:
        state["last_ms"] = 1
        raise ValueError("nonsense")


def hot(times: Sequence[int]) -> Batch:
    return Batch.of_one("inlet", times, temperature_pos_c=[95.0] * len(times))


def test_late_and_repeated_readings_are_counted_and_not_judged() -> None:
    watch = Watch([Overtemperature()])
    first = watch.observe(hot([1000, 2000, 3000]), [EXAMPLE])
    second = watch.observe(hot([2000, 2500, 3000, 4000, 4000]), [EXAMPLE])
    assert (len(first.judged), first.late) == (3, 0)
    assert (len(second.judged), second.late) == (1, 4)
    assert watch.clock_ms("inlet") == 4000
    assert watch.clock_ms("unknown") == 0


def test_failing_detector_is_named_and_stops_nobody() -> None:
    watch = Watch([Raises(), Overtemperature()])
    judgement = watch.observe(hot(list(range(1000, 20_000, 1000))), [EXAMPLE])
    assert list(judgement.failed) == ["raises"]
    assert [finding.detector for finding in judgement.findings] == ["overtemperature"]
    assert watch._states["raises"]["last_ms"].tolist() == [0]


@pytest.mark.parametrize("readings", [1, 97, 1000])
def test_batch_in_portions_is_judged_as_a_whole_to_the_bit(
    readings: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    batch = recording()
    if readings == 1:
        batch = batch.rows(np.arange(0, len(batch), 40))

    def judged() -> list[Judgement]:
        watch = Watch(default_detectors())
        half = np.arange(len(batch.connectors)) % 2 == 0
        posts = [
            *(Post(each.name, each) for each in watch.detectors),
            Post("overtemperature@trial", Overtemperature(margin_k=40.0), half),
        ]
        early = batch.time_ms < np.median(batch.time_ms)
        return [
            watch.observe(batch.rows(piece), [EXAMPLE] * len(half), posts=posts)
            for piece in (early, ~early)
        ]

    told = judged()
    monkeypatch.setattr(engine, "PORTION", readings)
    told_cut = judged()
    assert sum(len(each.findings) for each in told) > 0
    for whole, cut in zip(told, told_cut, strict=True):
        assert whole.findings == cut.findings
        assert whole.beside == cut.beside
        _same_columns(whole, cut)


def _same_columns(whole: Judgement, cut: Judgement) -> None:
    assert list(whole.known) == list(cut.known)
    assert len(whole.known) == len(cut.known) > 0
    for name, column in whole.known.items():
        assert column.tobytes() == cut.known[name].tobytes()


def test_detector_that_fails_in_each_portion_is_named_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine, "PORTION", 2)
    watch = Watch([Raises(), Overtemperature()])
    judgement = watch.observe(hot(list(range(1000, 20_000, 1000))), [EXAMPLE])
    assert list(judgement.failed) == ["raises"]
    assert [finding.detector for finding in judgement.findings] == ["overtemperature"]
    assert watch._states["raises"]["last_ms"].tolist() == [0]


def test_columns_are_cut_when_asked_for_and_hide_what_they_replace() -> None:
    batch = Batch.of_one("inlet", [1, 2, 3], current_a=[1.0, 2.0, 3.0], voltage_v=[7.0, 8.0, 9.0])
    shown = batch.with_columns({"current_a": np.array([4.0, 5.0, 6.0]), "more": np.zeros(3)})
    few = shown.rows(np.array([True, False, True])).rows(np.array([1]))
    assert isinstance(few.values, Columns)
    assert {name: column.tolist() for name, column in few.values.items()} == {
        "current_a": [6.0],
        "voltage_v": [9.0],
        "more": [0.0],
    }
    assert len(few.values) == 3
    assert np.isnan(few.column("ambient_c")).tolist() == [True]
    assert shown.rows(np.ones(3, dtype=np.bool_)) is shown


def test_what_is_asked_of_ratings_twice_is_worked_out_once() -> None:
    asked: list[int] = []
    ratings = Rated([EXAMPLE, Ratings()])
    for _time in range(2):
        assert ratings.answer("question", lambda: asked.append(1) or len(asked)) == 1  # type: ignore[func-returns-value]
    assert list(ratings) == [EXAMPLE, Ratings()]
    assert (ratings[0], list(ratings[1:]), len(ratings)) == (EXAMPLE, [Ratings()], 2)


def test_guard_may_end_a_turn() -> None:
    @contextmanager
    def no_time(detector: Detector) -> Iterator[None]:
        if detector.name:
            raise TimeoutError(detector.name)
        yield

    judgement = Watch([Overtemperature()]).observe(hot([1000]), [EXAMPLE], guard=no_time)
    assert isinstance(judgement.failed["overtemperature"], TimeoutError)


def test_checkpoint_keeps_what_is_known_and_starts_a_changed_detector_anew() -> None:
    watch = Watch([Overtemperature()])
    watch.observe(hot([1000, 2000, 3000]), [EXAMPLE])
    again = Watch.load(watch.dump(), [Overtemperature()])
    assert again.clock_ms("inlet") == 3000
    assert again._states["overtemperature"]["last_ms"].tolist() == [3000]
    changed = Watch.load(watch.dump(), [Raises()])
    assert changed.clock_ms("inlet") == 3000
    assert changed._states["raises"]["last_ms"].tolist() == [0]


def test_nothing_is_an_empty_watch() -> None:
    assert Watch.load(b"", [Overtemperature()]).connectors == []


def test_checkpoint_holds_no_code() -> None:
    poisoned = np.array([object()], dtype=object)
    target = BytesIO()
    np.savez(target, connectors=poisoned)
    with pytest.raises(ValueError, match="pickle"):
        Watch.load(target.getvalue(), [Overtemperature()])


def test_compiled_recursion_is_the_plain_one_to_the_bit() -> None:
    batch = recording()
    runs = Runs.of(batch.connector)
    chance = np.random.default_rng(1)
    gain, target = chance.random(len(batch)), chance.normal(0, 1e4, len(batch))
    before = chance.normal(0, 1e4, 6)
    plain: list[float] = []
    for start, end, owner in zip(runs.starts, runs.ends, runs.owner, strict=True):
        value = float(before[owner])
        for at in range(start, end + 1):
            value = value + float(gain[at]) * (float(target[at]) - value)
            plain.append(value)
    assert np.array_equal(first_order(runs, before, gain, target), np.array(plain))


def test_derating_of_different_models_in_one_batch() -> None:
    flat = replace(EXAMPLE, derating=())
    models = [EXAMPLE, flat, replace(EXAMPLE, derating=((0.0, 100.0), (100.0, 0.0)))]
    connector = np.array([0, 1, 2, 2], dtype=np.int32)
    ambient_c = np.array([55.0, 55.0, 50.0, 100.0])
    currents = derated_current_a(models, connector, ambient_c)
    assert currents.tolist() == [185.0, 250.0, 50.0, 0.0]


def test_stricter_limit_of_rise_and_derating_counts() -> None:
    connector, cold = np.zeros(1, np.int32), np.array([10.0])
    at_rated_k = float(allowed_rise_per_a2([EXAMPLE], connector, cold)[0]) * 250.0**2
    assert at_rated_k == pytest.approx(50.0)
    generous = replace(EXAMPLE, temperature_rise_limit_k=200.0)
    warm = np.array([70.0])
    at_edge_k = float(allowed_rise_per_a2([generous], connector, warm)[0]) * 120.0**2
    assert at_edge_k == pytest.approx(20.0)
    assert np.isnan(allowed_rise_per_a2([Ratings()], connector, cold)[0])


def test_what_temperatures_show_is_told_with_the_trust_in_them() -> None:
    """Of any detector's, at the reading that it needed; insulation asks no thermometer."""
    trusted = {f"estimate.trust_{place}": np.array([1.0, 1.0]) for place in ("neg", "air")}
    batch = Batch.of_one("c1", [1000, 2000], current_a=[1.0, 1.0]).with_columns(
        {**trusted, "estimate.trust_pos": np.array([1.0, 0.0])}
    )

    def said(condition: str, at_ms: int, connector: str = "c1") -> Finding:
        return Finding(connector, condition, Severity.WARNING, at_ms, at_ms, at_ms, "any", "1")

    asked = [
        said("overtemperature", 1000),
        said("overtemperature", 2000),
        said("acme_warmth", 2000),
        said("insulation_low", 2000),
        said("overtemperature", 1500),
        said("overtemperature", 2500),
        said("overtemperature", 2000, "c2"),
    ]
    told = [each.evidence.get("trust") for each in Doubts(batch).of(asked)]
    assert told == [1.0, 0.0, 0.0, None, None, None, None]
    assert Doubts(Batch.of_one("c1", [])).of(asked) == asked
