"""A recording through the back-test says what the same readings say to a Watch."""

import tracemalloc
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest

from ohmwatch.backtest import recording
from ohmwatch.backtest.ledger import Ledger
from ohmwatch.backtest.run import AlarmEvent, Omissions, in_order_of_arrival, run, write
from ohmwatch.checks.detectors import EXAMPLE
from ohmwatch.checks.detectors import recording as example
from ohmwatch.detector import Batch, Ratings, State
from ohmwatch.detectors.defaults import default_detectors
from ohmwatch.detectors.overtemperature import Overtemperature
from ohmwatch.findings import Finding, Severity
from ohmwatch.fleet import AgeingOutlier
from ohmwatch.watch import Watch
from tests import recordings

SIX = recordings.installed(*(f"c{number}" for number in range(6)))


def events_of(path: Path, rows: int) -> list[AlarmEvent]:
    found = run(recording.read(path, rows=rows), SIX, default_detectors())
    return sorted(found, key=in_order_of_arrival)


def test_events_are_the_findings_of_a_watch(tmp_path: Path) -> None:
    batch = example()
    findings = Watch(default_detectors()).observe(batch, [EXAMPLE] * 6).findings
    path = recordings.write_csv(tmp_path / "r.csv", recordings.table_of(batch, arrived=False))
    said: dict[tuple[str, str], Severity | None] = {}
    changes = []
    for each in findings:
        key = each.connector, each.condition
        if said.get(key) != each.severity:
            changes.append((*key, each.measured_ms))
        said[key] = each.severity
    events = [(e.connector, e.condition, e.time_ms) for e in events_of(path, 1_000)]
    assert sorted(events) == sorted(changes)
    assert len(events) > 20


@pytest.mark.parametrize("rows", [997, 4_000, 50_000])
def test_how_a_recording_is_cut_makes_no_difference(tmp_path: Path, rows: int) -> None:
    table = recordings.table_of(recordings.as_it_arrives())
    path = recordings.write_csv(tmp_path / "r.csv", table)
    assert events_of(path, rows) == events_of(path, 1_000_000)


def test_nothing_is_dated_back(tmp_path: Path) -> None:
    batch = recordings.as_it_arrives()
    path = recordings.write_csv(tmp_path / "r.csv", recordings.table_of(batch))
    events = events_of(path, 5_000)
    pairs = set(zip(batch.time_ms.tolist(), batch.arrived_ms.tolist(), strict=True))
    assert {(event.time_ms, event.arrived_ms) for event in events} <= pairs
    assert len(events) > 20


def test_connectors_one_after_the_other_and_side_by_side_are_alike(tmp_path: Path) -> None:
    batch = example()
    order = np.argsort(batch.time_ms, kind="stable")
    mixed = recordings.in_this_order(batch, order, batch.arrived_ms[order], batch.values)
    files = [
        recordings.write_csv(tmp_path / name, recordings.table_of(each, arrived=False))
        for name, each in (("apart.csv", batch), ("beside.csv", mixed))
    ]
    assert events_of(files[0], 777) == events_of(files[1], 5_000)


def test_readings_of_unknown_connectors_are_counted_and_left_out() -> None:
    omissions = Omissions()
    known = recordings.installed("c1")
    events = list(run([example()], known, default_detectors(), omissions=omissions))
    assert {event.connector for event in events} == {"c1"}
    assert omissions.readings == {name: 2_400 for name in SIX if name != "c1"}


@dataclass(frozen=True)
class Fails(Overtemperature):
    name = "fails"

    def observe(self, batch: Batch, ratings: Sequence[Ratings], state: State) -> list[Finding]:
        raise ValueError("nonsense")


def test_detector_that_fails_is_named_and_stops_nobody() -> None:
    omissions = Omissions()
    events = list(run([example()], SIX, [Fails(), Overtemperature()], omissions=omissions))
    assert omissions.failed == {"fails": "ValueError('nonsense')"}
    assert {event.condition for event in events} == {"overtemperature"}


def test_no_readings_no_alarms() -> None:
    assert list(run([], SIX, default_detectors())) == []


def flapping(minutes: int, *, then_quiet_minutes: int) -> Batch:
    """Hot for two minutes of each ten, a reading each ten seconds."""
    step = np.arange((minutes + then_quiet_minutes) * 6)
    hot = (step // 12 % 5 == 0) & (step < minutes * 6)
    times = 1_795_420_800_000 + 10_000 * step
    return Batch.of_one("c1", times, temperature_pos_c=np.where(hot, 95.0, 40.0))


def test_what_comes_and_goes_is_held_open_until_it_stays_quiet() -> None:
    batch = flapping(120, then_quiet_minutes=150)
    events = list(run([batch], recordings.installed("c1"), [Overtemperature()]))
    assert [event.event for event in events] == ["opened", "cleared"] * 3 + ["opened", "cleared"]
    last = events[-1]
    assert last.reason == "stayed_quiet"
    assert last.arrived_ms - last.time_ms == 2 * 3_600_000
    cuts = np.array_split(np.arange(len(batch)), 40)
    rows = [batch.rows(np.isin(np.arange(len(batch)), cut)) for cut in cuts]
    assert list(run(rows, recordings.installed("c1"), [Overtemperature()])) == events


def test_what_flaps_to_the_end_stays_open() -> None:
    batch = flapping(240, then_quiet_minutes=30)
    events = list(run([batch], recordings.installed("c1"), [Overtemperature()]))
    assert [event.event for event in events] == ["opened", "cleared"] * 3 + ["opened"]


def test_file_of_alarms(tmp_path: Path) -> None:
    opened = AlarmEvent(
        connector="c,1",
        time_ms=1_795_420_800_000,
        arrived_ms=1_795_420_800_250,
        severity=Severity.WARNING,
        condition="contact_resistance_rising",
        pole="neg",
        event="opened",
        resistance_uohm=412.04,
        margin_k=None,
        limit_from_ms=1_795_507_200_000,
        limit_to_ms=1_795_593_600_000,
        evidence={},
    )
    cleared = replace(opened, event="cleared", time_ms=1_795_420_900_000, arrived_ms=10**12)
    with Ledger(tmp_path) as events:
        for event in (opened, cleared):
            events.add(event)
        write(tmp_path / "alarms.csv", events)
    lines = (tmp_path / "alarms.csv").read_text().splitlines()
    assert lines[0] == (
        "connector,time,arrived,severity,condition,pole,event,"
        "resistance_uohm,margin_k,limit_from,limit_to"
    )
    assert lines[1].startswith('"c,1",2026-11-23T08:01:40.000Z,2001-09-09T01:46:40.000Z')
    assert lines[2] == (
        '"c,1",2026-11-23T08:00:00.000Z,2026-11-23T08:00:00.250Z,warning,'
        "contact_resistance_rising,neg,opened,412.0,,"
        "2026-11-24T08:00:00.000Z,2026-11-25T08:00:00.000Z"
    )


def test_what_is_told_beside_the_steps_comes_where_it_is_asked_for() -> None:
    """That it comes and goes is told once; that it clears, to who has heard of it."""
    installed = recordings.installed("c1")
    batch = flapping(120, then_quiet_minutes=150)
    steps = list(run([batch], installed, [Overtemperature()]))
    events = list(run([batch], installed, [Overtemperature()], with_notes=True))
    assert [each for each in events if each.event != "evidence"] == steps
    assert [(e.event, e.reason) for e in events if e.tell and e.reason == "comes_and_goes"] == [
        ("evidence", "comes_and_goes")
    ]
    assert [each.event for each in events if each.tell] == [
        *["opened", "cleared"] * 3,
        *["opened", "evidence", "cleared"],
    ]


def test_old_news_wakes_nobody_until_it_holds_now() -> None:
    """Two hours late: told when the first reading in time says that it still holds."""
    hot = flapping(2, then_quiet_minutes=0)
    late = replace(hot, arrived_ms=hot.arrived_ms + 7_200_000)
    now = replace(hot, time_ms=hot.time_ms + 7_200_000, arrived_ms=hot.arrived_ms + 7_210_000)
    found = run([late, now], recordings.installed("c1"), [Repeats()], with_notes=True)
    assert [(each.event, each.tell) for each in found] == [("opened", False), ("evidence", True)]


@dataclass(frozen=True)
class Repeats(Overtemperature):
    """States anew at each batch what holds."""

    def observe(self, batch: Batch, ratings: Sequence[Ratings], state: State) -> list[Finding]:
        when, arrived = int(batch.time_ms[-1]), int(batch.arrived_ms[-1])
        name, version = self.name, self.version
        stated = (batch.connectors[0], self.condition, Severity.WARNING, when, when, arrived)
        return [Finding(*stated, name, version)]


def test_what_is_held_does_not_grow_with_the_recording(tmp_path: Path) -> None:
    """Of four times the readings it holds as much at a time, whatever it has read."""
    short, long = (written(tmp_path / f"{steps}.csv", steps) for steps in (1_500, 6_000))
    held(short)  # what is made once is made now
    assert held(long) < 1.2 * held(short)


def written(path: Path, steps: int) -> Path:
    """Six healthy connectors, a reading each five seconds, one after the other at each step."""
    times = np.repeat(1_795_420_800_000 + 5_000 * np.arange(steps), len(SIX))
    warm_c = np.round(40 + 5 * np.sin(np.arange(len(times)) / 300), 2)
    columns = {
        "connector": list(SIX) * steps,
        "time": times.tolist(),
        "temperature_pos_c": warm_c.tolist(),
    }
    return recordings.write_csv(path, columns)


def held(path: Path) -> int:
    """The most bytes that lay in memory at once."""
    tracemalloc.start()
    try:
        assert list(run(recording.read(path, rows=1_000), SIX, [Overtemperature()])) == []
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_who_ages_ahead_of_its_batch_is_told_at_the_end_however_it_is_cut() -> None:
    """Fourteen days of load; the contact of one grows to one and a half of what it was."""
    names = [f"c{number:02d}" for number in range(16)]
    batch = _alike(names, ahead="c03")
    installed = {
        name: replace(SIX["c0"], connector=name, batch="2026-03", ratings=LASTING) for name in names
    }
    events = list(run([batch], installed, default_detectors(), fleet=AgeingOutlier()))
    (outlier,) = [each for each in events if each.condition == "ageing_outlier"]
    assert (outlier.connector, outlier.severity, outlier.event) == (
        "c03",
        Severity.NOTICE,
        "opened",
    )
    assert outlier.evidence["batch_fellows"] == 15
    assert outlier.arrived_ms == batch.arrived_ms.max()
    days = batch.time_ms // 86_400_000
    pieces = [batch.rows(days == day) for day in np.unique(days)]
    again = list(run(pieces, installed, default_detectors(), fleet=AgeingOutlier()))
    assert sorted(again, key=in_order_of_arrival) == sorted(events, key=in_order_of_arrival)
    alone = list(run([batch], installed, default_detectors()))
    assert "ageing_outlier" not in {each.condition for each in alone}


LASTING = replace(EXAMPLE, interval_s=60.0, rated_mating_cycles=100.0)


def _alike(names: Sequence[str], *, ahead: str) -> Batch:
    """Each in one thermal node a pole, under the same load; by connector, then time."""
    step = np.arange(14 * 1_440)
    chance = np.random.default_rng(5)
    hour = step / 60 % 24
    current_a = 200.0 * (np.sin(step / 25) ** 2) * ((hour > 7) & (hour < 15))
    times = 1_795_420_800_000 + 60_000 * step
    growing = 1.0 + 0.5 * np.clip(step / 1_440 - 4.0, 0.0, 8.0) / 8.0
    columns = []
    for name in names:
        for pole in (0, 1):
            factor = growing if name == ahead and pole == 0 else np.ones(len(step))
            own = 32.0 * np.exp(chance.normal(0.0, 0.03)) * factor * (current_a / 250.0) ** 2
            rise_k = np.zeros(len(step))
            for at in range(1, len(step)):
                rise_k[at] = rise_k[at - 1] + 0.1 * (own[at] - rise_k[at - 1])
            columns.append(np.round(20.0 + rise_k + chance.normal(0.0, 0.2, len(step)), 1))
    return Batch(
        connectors=list(names),
        connector=np.repeat(np.arange(len(names), dtype=np.int32), len(step)),
        time_ms=np.tile(times, len(names)),
        arrived_ms=np.tile(times, len(names)) + 500,
        values={
            "current_a": np.tile(current_a, len(names)),
            "ambient_c": np.full(len(names) * len(step), 20.0),
            "temperature_pos_c": np.concatenate(columns[0::2]),
            "temperature_neg_c": np.concatenate(columns[1::2]),
        },
    )
