"""A back-test as a page: totals, and each alarm with its story and its chart.

One HTML file with everything in it, no script and nothing from outside: it can be mailed, and
opens in twenty years.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from html import escape
from pathlib import Path

import numpy as np

from ohmwatch.backtest.chart import Limit, Line, Mark, Panel, draw
from ohmwatch.backtest.installed import Installed
from ohmwatch.backtest.recording import Tally
from ohmwatch.backtest.run import AlarmEvent, Omissions
from ohmwatch.backtest.sketch import STEPS, Sketch, fill
from ohmwatch.backtest.stories import (
    HOUR_MS,
    Story,
    in_words,
    number_in_words,
    stories_of,
    totals,
)
from ohmwatch.conditions import Condition
from ohmwatch.detector import Batch, Detector, Ratings
from ohmwatch.findings import Severity
from ohmwatch.instants import text_of
from ohmwatch.physics.sequence import gap_limits_ms

CHARTS = 100
"""Stories told in full; the others are in alarms.csv."""
STEPS_TOLD = 12
"""Of one story: a loose contact can flap a thousand times."""

STYLE = Path(__file__).with_name("report.css")


@dataclass(frozen=True, slots=True)
class Backtest:
    """A back-test that is done. `left_out`: what was not judged, and why, in sentences. `events`
    are gone through more than once, in order of arrival."""

    readings: Path
    events: Iterable[AlarmEvent]
    installed: Mapping[str, Installed]
    detectors: Sequence[Detector]
    tally: Tally
    omissions: Omissions
    left_out: Sequence[str] = field(default=())


def write_report(path: Path, about: Backtest, again: Iterable[Batch]) -> None:
    """Writes the page. `again`: the same readings once more, for the charts."""
    stories = stories_of(about.events)
    shown = [_Shown(story, _sketch_of(story)) for story in stories[:CHARTS]]
    if shown:
        fill([each.sketch for each in shown], again)
        _tell(shown, about.events)
    with path.open("w", encoding="utf-8") as page:
        page.writelines(_page(about, stories, shown))


@dataclass(frozen=True, slots=True)
class _Shown:
    """A story that is told in full: its chart, a mark for each step, the first steps themselves."""

    story: Story
    sketch: Sketch
    marks: list[Mark] = field(default_factory=list)
    steps: list[AlarmEvent] = field(default_factory=list)


def _tell(shown: Sequence[_Shown], events: Iterable[AlarmEvent]) -> None:
    by_key = {(each.story.connector, each.story.condition): each for each in shown}
    for event in events:
        each = by_key.get((event.connector, event.condition))
        if each is not None:
            each.marks.append(_mark(event))
            if len(each.steps) < STEPS_TOLD:
                each.steps.append(event)


# --- the page ---------------------------------------------------------------------------------


def _page(about: Backtest, stories: Sequence[Story], shown: Sequence[_Shown]) -> Iterator[str]:
    title = f"Back-test of {about.readings.name or about.readings.resolve().name}"
    yield f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{escape(title)}'
    yield '</title><meta name="viewport" content="width=device-width, initial-scale=1">'
    yield f"<style>{STYLE.read_text(encoding='utf-8')}</style></head><body><main>"
    yield f"<h1>{escape(title)}</h1>"
    yield from _facts(about, stories)
    yield from _totals(about, stories)
    for each in shown:
        yield from _story(each, about.installed[each.story.connector])
    if len(stories) > len(shown):
        yield f"<p>{len(stories) - len(shown):,} more are in alarms.csv.</p>"
    yield from _detectors(about.detectors)
    yield "</main></body></html>\n"


def _facts(about: Backtest, stories: Sequence[Story]) -> Iterator[str]:
    tally = about.tally
    affected = len({story.connector for story in stories})
    yield '<dl class="facts">'
    for name, text in (
        ("Readings", f"{tally.readings:,}"),
        ("Connectors", f"{len(tally.first_ms):,}, {tally.connector_years:,.2f} connector-years"),
        ("Span", _span(tally)),
        ("Alarms", f"{len(stories):,} at {affected:,} connectors"),
    ):
        yield f"<div><dt>{name}</dt><dd>{escape(text)}</dd></div>"
    yield "</dl>"
    if about.left_out:
        items = "".join(f"<li>{escape(line)}</li>" for line in about.left_out)
        yield f'<section class="left-out"><h2>Not judged</h2><ul>{items}</ul></section>'


def _span(tally: Tally) -> str:
    if not tally.first_ms:
        return "none"
    first, last = min(tally.first_ms.values()), max(tally.last_ms.values())
    return f"{_clock(first)[:16]} to {_clock(last)[:16]} UTC"


def _totals(about: Backtest, stories: Sequence[Story]) -> Iterator[str]:
    if not stories:
        yield "<p>Nothing to warn of was found.</p>"
        return
    years = about.tally.connector_years
    yield "<h2>By condition</h2><table><thead><tr><th>Condition</th>"
    yield "".join(f"<th>{severity.name.capitalize()}</th>" for severity in reversed(Severity))
    yield "<th>Openings</th><th>Alarms a connector-year</th></tr></thead><tbody>"
    for total in totals(stories):
        number = sum(total.stories.values())
        yield f"<tr><th>{escape(in_words(total.condition))}</th>"
        for severity in reversed(Severity):
            yield f'<td class="{severity.name.lower()}">{total.stories[severity] or "–"}</td>'
        rate = f"{number / years:,.2f}" if years > 0 else "–"
        yield f"<td>{total.openings:,}</td><td>{rate}</td></tr>"
    yield "</tbody></table><p>An alarm counts once for each connector and condition, under the "
    yield "worst severity that it reached; it may have opened several times.</p><h2>Alarms</h2>"


def _detectors(detectors: Sequence[Detector]) -> Iterator[str]:
    yield "<h2>Detectors</h2><p>"
    yield escape(", ".join(f"{each.name} {each.version}" for each in detectors))
    yield ". Times are of the device, in UTC; an alarm is dated by the newest reading that it "
    yield "needed, never back.</p>"


# --- a story ----------------------------------------------------------------------------------


def _story(shown: _Shown, connector: Installed) -> Iterator[str]:
    story, sketch = shown.story, shown.sketch
    severity = story.worst.name.lower()
    heading = f"{in_words(story.condition)} at {story.connector}"
    about = " · ".join(filter(None, (connector.model, connector.batch, connector.vehicle)))
    state = "still open at the end" if story.is_open else "over at the end"
    yield f'<article class="{severity}"><h3><span class="badge {severity}">{severity}</span> '
    yield f"{escape(heading)}</h3><p>{escape(about)} · {state}</p>"
    yield draw(
        list(_panels(story.condition, sketch, connector.ratings)),
        shown.marks,
        from_ms=sketch.from_ms,
        to_ms=sketch.to_ms,
        title=heading,
    )
    yield "<ol>"
    yield from (f"<li>{_step(event)}</li>" for event in shown.steps)
    if story.steps > STEPS_TOLD:
        yield f"<li>and {story.steps - STEPS_TOLD:,} more steps</li>"
    yield "</ol></article>"


def _step(event: AlarmEvent) -> str:
    words = [f"<b>{_clock(event.time_ms)}</b> {event.event}"]
    if event.event != "cleared":
        words.append(f"as {event.severity.name.lower()}")
    if event.pole and event.event != "cleared":
        words.append(f"at {_POLES.get(event.pole, event.pole)}")
    if event.event == "opened" and event.since_ms:
        words.append(f"(it holds since {_clock(event.since_ms)})")
    if event.arrived_ms - event.time_ms > 60_000:
        words.append(f"(known from {_clock(event.arrived_ms)} on, when the reading came)")
    if event.limit_from_ms is not None and event.limit_to_ms is not None:
        until = f"{_clock(event.limit_from_ms)} and {_clock(event.limit_to_ms)}"
        words.append(f"; reaches its limit between {until}, four times of five")
    numbers = "; ".join(number_in_words(*each) for each in event.evidence.items())
    told = " ".join(words).replace(" ;", ";")
    return f"{told}<br><small>{escape(numbers)}</small>"


_POLES = {"pos": "the positive pole", "neg": "the negative pole", "both": "both poles"}


def _clock(ms: int) -> str:
    return text_of(ms)[:19].replace("T", " ")


def _mark(event: AlarmEvent) -> Mark:
    severity = event.severity.name.lower()
    colour = "cleared" if event.event == "cleared" else severity
    return Mark(event.time_ms, f"{event.event} {_clock(event.time_ms)} {severity}", colour)


# --- a chart ----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Plan:
    """What an axis shows: quantities and ratings, each with its name; `scaled`: logarithmic."""

    unit: str
    quantities: Mapping[str, str]
    limits: Mapping[str, str] = field(default_factory=dict)
    height: int = 170
    logarithmic: bool = False


_TEMPERATURES = _Plan(
    "°C",
    {"temperature_pos_c": "positive", "temperature_neg_c": "negative", "ambient_c": "ambient"},
    {"temperature_limit_c": "limit"},
)
_CURRENT = _Plan("A", {"current_a": "current"}, {"rated_current_a": "rated"}, height=80)
_INSULATION = _Plan(
    "kΩ",
    {"insulation_kohm": "insulation"},
    {"insulation_minimum_kohm": "minimum"},
    logarithmic=True,
)
_HUMIDITY = _Plan("%", {"humidity_pct": "humidity"}, height=80)
_INTERLOCK = _Plan("1 is closed", {"interlock": "interlock", "mated": "mated"}, height=80)
_VIBRATION = _Plan("g", {"vibration_g": "vibration"}, height=80)
_VOLTAGE = _Plan("V", {"voltage_v": "voltage"}, {"rated_voltage_v": "rated"})
_CYCLES = _Plan("", {"mating_cycles": "mating cycles"}, {"rated_mating_cycles": "rated"})

_HEAT = (_TEMPERATURES, _CURRENT)
_PLANS: dict[str, tuple[_Plan, ...]] = {
    Condition.INSULATION_LOW: (_INSULATION, _HUMIDITY),
    Condition.INSULATION_FALLING: (_INSULATION, _HUMIDITY),
    Condition.INTERLOCK_OPEN: (_INTERLOCK, _CURRENT),
    Condition.INTERLOCK_INTERMITTENT: (_INTERLOCK, _VIBRATION),
    Condition.OVERCURRENT: (_CURRENT, _TEMPERATURES),
    Condition.OVERVOLTAGE: (_VOLTAGE,),
    Condition.MATING_CYCLES_EXCEEDED: (_CYCLES,),
}
_COLOURS = ("first", "second", "third")


def _sketch_of(story: Story) -> Sketch:
    """From well before it began until well after its last step."""
    around = max(HOUR_MS // 2, (story.to_ms - story.from_ms) // 4)
    plans = _PLANS.get(story.condition, _HEAT)
    quantities = [name for plan in plans for name in plan.quantities]
    return Sketch(story.connector, story.from_ms - around, story.to_ms + around, quantities)


def _panels(condition: str, sketch: Sketch, ratings: Ratings) -> Iterator[Panel]:
    join = int(gap_limits_ms([ratings])[0] / sketch.step_ms)
    for plan in _PLANS.get(condition, _HEAT):
        present = [name for name in plan.quantities if not np.isnan(sketch.low[name]).all()]
        if not present:
            continue
        yield Panel(
            unit=plan.unit,
            lines=[
                Line(plan.quantities[name], colour, sketch.low[name], sketch.high[name])
                for name, colour in zip(present, _COLOURS, strict=False)
            ],
            limits=[
                Limit(name, getattr(ratings, rating))
                for rating, name in plan.limits.items()
                if np.isfinite(getattr(ratings, rating))
            ],
            height=plan.height,
            logarithmic=plan.logarithmic,
            join=min(join, STEPS),
        )
