"""The engine: clocks, failing detectors, checkpoints, and many connectors in step."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from io import BytesIO
from itertools import pairwise
from typing import Any

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
from ohmwatch.watch import Judgement, Post, Watch, observe


@dataclass(frozen=True)
class Raises(Overtemperature):
    name = "raises"

    def observe(self, batch: Batch, ratings: Sequence[Ratings], state: State) -> list[Finding]:
        state["last_ms"] = 1
        raise ValueError("nonsense")


@dataclass(frozen=True)
class Quick(Overtemperature):
    """One that keeps durations only where it waits."""

    hold_s: float = 0.0

    @property
    def state_dtype(self) -> np.dtype[Any]:
        return np.dtype([("last_ms", "<i8"), *([("held_ms", "<i4")] if self.hold_s else [])])

    def observe(self, batch: Batch, ratings: Sequence[Ratings], state: State) -> list[Finding]:
        assert state.dtype == self.state_dtype
        return []


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


def _of_some(batch: Batch, first: int, end: int) -> Batch:
    """The readings of these of the connectors."""
    own = batch.rows((batch.connector >= first) & (batch.connector < end))
    return replace(own, connectors=batch.connectors[first:end], connector=own.connector - first)


UNCUT = 32_768


@pytest.mark.parametrize("readings", [1, 97, 1000, UNCUT])
def test_watches_that_observe_together_come_to_what_each_comes_to_alone(
    readings: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine, "PORTION", readings)
    batch = recording()
    if readings == 1:
        batch = batch.rows(np.arange(0, len(batch), 40))
    edges = [0, 1, 1, 3, len(batch.connectors)]
    spans = list(pairwise(edges))
    trial = Post("overtemperature@trial", Overtemperature(margin_k=40.0))
    ratings = [EXAMPLE] * len(batch.connectors)

    def posts(watch: Watch, *watching: bool) -> list[Post]:
        own = [replace(trial, watching=np.array(watching))] if any(watching) else []
        return [*(Post(each.name, each) for each in watch.detectors), *own]

    alone, together = ([Watch(default_detectors()) for _ in spans] for _ in range(2))
    is_watched = [True, *[False] * (len(ratings) - 2), True]
    early = batch.time_ms < np.median(batch.time_ms)
    said: list[int] = []
    for piece in (batch.rows(early), batch):  # what was shown before is shown once more
        told = [
            watch.observe(_of_some(piece, a, b), ratings[a:b], posts=posts(watch, *is_watched[a:b]))
            for watch, (a, b) in zip(alone, spans, strict=True)
        ]
        at_once = observe(
            [(watch, b - a) for watch, (a, b) in zip(together, spans, strict=True)],
            piece,
            ratings,
            posts=posts(together[0], *is_watched),
        )
        findings = [finding for each in told for finding in each.findings]
        assert sorted(findings, key=_place) == at_once.findings
        beside = [finding for each in told for finding in each.beside.get(trial.key, [])]
        assert sorted(beside, key=_place) == at_once.beside[trial.key]
        assert at_once.late == sum(each.late for each in told)
        for name, column in at_once.known.items():
            parts = [each.known[name] for each in told if len(each.judged)]
            assert np.concatenate(parts).tobytes() == column.tobytes()
        said.append(len(at_once.findings) + len(at_once.beside[trial.key]))
    assert max(said) > 0
    if readings == UNCUT:  # a cut elsewhere may leave behind what is never asked for
        assert [each.dump() for each in alone] == [each.dump() for each in together]


def _place(finding: Finding) -> tuple[int, str, str]:
    return finding.measured_ms, finding.connector, finding.condition


def test_who_fails_for_several_watches_keeps_in_all_of_them_what_it_knew() -> None:
    watches = [Watch([Raises(), Overtemperature()]) for _ in range(2)]
    batch = hot(list(range(1000, 20_000, 1000)))
    both = replace(
        batch.rows(np.arange(len(batch)).repeat(2)),
        connectors=["inlet", "outlet"],
        connector=np.tile(np.array([0, 1], dtype=np.int32), len(batch)),
    )
    judgement = observe([(each, 1) for each in watches], both, [EXAMPLE] * 2)
    assert list(judgement.failed) == ["raises"]
    assert [each.connector for each in judgement.findings] == ["inlet", "outlet"]
    for watch in watches:
        assert watch._states["raises"]["last_ms"].tolist() == [0]
        assert watch._clock_ms.tolist() == [19_000]


def test_rule_not_in_force_begins_anew_where_its_record_has_another_shape() -> None:
    watch = Watch([Overtemperature()])
    for hold_s in (0.0, 5.0):
        post = Post("overtemperature@trial", Quick(hold_s=hold_s))
        judgement = watch.observe(
            hot([1000, 2000] if not hold_s else [3000, 4000]), [EXAMPLE], posts=[post]
        )
        assert judgement.failed == {}
        assert watch._states[post.key].dtype == post.detector.state_dtype


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
