"""The report: one page that stands by itself, safe with hostile names, right in its numbers."""

import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest

from ohmwatch.backtest import recording
from ohmwatch.backtest.chart import Limit, Line, Mark, Panel, draw
from ohmwatch.backtest.report import Backtest, write_report
from ohmwatch.backtest.run import AlarmEvent, Omissions, run
from ohmwatch.backtest.sketch import STEPS, Sketch, fill
from ohmwatch.backtest.stories import stories_of, totals
from ohmwatch.checks.detectors import START_MS
from ohmwatch.checks.detectors import recording as example
from ohmwatch.detector import Batch
from ohmwatch.detectors.defaults import default_detectors
from ohmwatch.findings import Severity
from tests import recordings

EVENT = AlarmEvent(
    connector="c0",
    time_ms=START_MS + 60_000,
    arrived_ms=START_MS + 60_500,
    severity=Severity.WARNING,
    condition="overtemperature",
    pole="pos",
    event="opened",
    resistance_uohm=None,
    margin_k=4.0,
    limit_from_ms=None,
    limit_to_ms=None,
    evidence={"temperature_pos_c": 86.0, "note": "<i>&"},
    since_ms=START_MS + 30_000,
)


class Page(HTMLParser):
    """Collects what could fetch something, and checks that elements nest."""

    VOID = frozenset({"meta", "br"})

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.fetches: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag in ("script", "link", "img", "iframe", "object"):
            self.fetches.append(tag)
        self.fetches += [name for name, _ in attrs if name in ("src", "href") or name[:2] == "on"]
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def page_of(folder: Path, events: list[AlarmEvent], batch: Batch | None = None) -> str:
    batch = batch if batch is not None else example()
    table = recordings.table_of(batch, arrived=False)
    path = recordings.write_csv(folder / "readings.csv", table)
    tally = recording.Tally()
    list(recording.read(path, tally=tally))
    about = Backtest(
        path,
        events,
        recordings.installed(*batch.connectors),
        default_detectors(),
        tally,
        Omissions(),
        ["7 readings left out <b>"],
    )
    write_report(folder / "report.html", about, recording.read(path, rows=1_000))
    return (folder / "report.html").read_text(encoding="utf-8")


def test_page_stands_by_itself(tmp_path: Path) -> None:
    batch = example()
    events = list(run([batch], recordings.installed(*batch.connectors), default_detectors()))
    text = page_of(tmp_path, events, batch)
    page = Page(text)
    assert (page.open, page.fetches) == ([], [])
    assert "http" not in text
    assert "url(" not in text
    stories = stories_of(events)
    assert text.count("<article") == text.count("<svg") == len(stories)
    for svg in re.findall(r"<svg.*?</svg>", text, re.S):
        ElementTree.fromstring(svg)


def test_hostile_names_stay_text(tmp_path: Path) -> None:
    batch = Batch.of_one(
        "<script>alert(1)</script>", [START_MS, START_MS + 5000], current_a=[1.0, 2.0]
    )
    text = page_of(tmp_path, [replace(EVENT, connector=batch.connectors[0])], batch)
    assert Page(text).fetches == []
    assert "&lt;script&gt;" in text
    assert "left out &lt;b&gt;" in text
    assert "note: &lt;i&gt;&amp;" in text


def test_steps_of_a_story_in_words(tmp_path: Path) -> None:
    later = START_MS + 7_200_000
    cleared = replace(EVENT, event="cleared", time_ms=later, arrived_ms=later + 3_600_000)
    worse = replace(
        EVENT, event="worsened", severity=Severity.CRITICAL, limit_from_ms=later, limit_to_ms=later
    )
    text = page_of(tmp_path, [EVENT, worse, cleared])
    assert "opened as warning at the positive pole (it holds since 2026-11-23 08:00:30)" in text
    assert "worsened as critical at the positive pole; reaches its limit between" in text
    assert "cleared (known from 2026-11-23 11:00:00 on, when the reading came)" in text
    assert "temperature pos 86 °C" in text
    assert "over at the end" in text


def test_flapping_is_told_once(tmp_path: Path) -> None:
    flaps = [replace(EVENT, time_ms=EVENT.time_ms + 1000 * number) for number in range(1_000)]
    text = page_of(tmp_path, flaps)
    assert text.count("<article") == 1
    assert "and 988 more steps" in text


def test_nothing_found(tmp_path: Path) -> None:
    assert "Nothing to warn of was found" in page_of(tmp_path, [])


def test_totals_count_stories_by_their_worst_severity() -> None:
    worse = replace(EVENT, event="worsened", severity=Severity.CRITICAL)
    other = replace(EVENT, connector="c1")
    again = replace(other, time_ms=EVENT.time_ms + 9)
    (total,) = totals(stories_of([EVENT, worse, other, again]))
    assert total.condition == "overtemperature"
    assert (total.stories[Severity.CRITICAL], total.stories[Severity.WARNING]) == (1, 1)
    assert total.openings == 3
    assert [story.connector for story in stories_of([other, EVENT, worse])] == ["c0", "c1"]


def test_sketch_keeps_a_peak_of_one_reading() -> None:
    times = np.arange(START_MS, START_MS + 36_000_000, 1000)
    current_a = np.zeros(len(times))
    current_a[20_000] = 900.0
    batch = Batch.of_one("c", times, current_a=current_a)
    cut = [batch.rows(times < times[15_000]), batch.rows(times >= times[15_000])]
    sketch = Sketch("c", START_MS, START_MS + 36_000_000, ["current_a", "ambient_c"])
    fill([sketch], cut)
    assert np.nanmax(sketch.high["current_a"]) == 900.0
    assert np.nanmax(sketch.low["current_a"]) == 0.0
    assert np.isnan(sketch.low["ambient_c"]).all()
    assert len(sketch.low["current_a"]) == STEPS


def test_gap_is_drawn_as_a_gap() -> None:
    course = np.array([1.0, 2.0, np.nan, 3.0, np.nan, np.nan, np.nan, 4.0, 5.0])
    line = Line("x", "first", course, course)
    svg = draw([Panel("A", [line], [], join=1)], [], from_ms=0, to_ms=9, title="t")
    assert svg.count('class="area first"') == 2


@pytest.mark.parametrize("logarithmic", [False, True])
@pytest.mark.parametrize(
    "course",
    [np.array([0.0, 0.0]), np.array([np.nan, np.nan]), np.array([5.0]), np.array([-3.0, 1e6])],
)
def test_any_course_can_be_drawn(course: np.ndarray, logarithmic: bool) -> None:
    panel = Panel("A", [Line("x", "first", course, course)], [Limit("l", 2.0)], 80, logarithmic)
    svg = draw([panel], [Mark(5, "m", "critical")], from_ms=5, to_ms=5, title="<t>")
    assert "nan" not in svg
    ElementTree.fromstring(svg)
