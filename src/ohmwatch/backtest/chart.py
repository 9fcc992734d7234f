"""One chart as SVG: lines with their spread, limits, and the steps of an alarm."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from html import escape

import numpy as np

from ohmwatch.detector import Floats

WIDTH, LEFT, RIGHT, TOP, BOTTOM = 760, 58, 10, 14, 22
_PLOT = WIDTH - LEFT - RIGHT


@dataclass(frozen=True, slots=True)
class Line:
    """A quantity's course: its least and greatest in each step. `colour`: a class of the page."""

    name: str
    colour: str
    low: Floats
    high: Floats


@dataclass(frozen=True, slots=True)
class Limit:
    """A level that must not be crossed."""

    name: str
    level: float


@dataclass(frozen=True, slots=True)
class Mark:
    """A step of the alarm; `colour` is the class of its severity."""

    at_ms: int
    name: str
    colour: str


@dataclass(frozen=True, slots=True)
class Panel:
    """One axis: lines and limits of one unit. `join`: empty steps that a line passes over."""

    unit: str
    lines: Sequence[Line]
    limits: Sequence[Limit]
    height: int = 170
    logarithmic: bool = False
    join: int = 1


def draw(
    panels: Sequence[Panel], marks: Sequence[Mark], *, from_ms: int, to_ms: int, title: str
) -> str:
    """The panels below one another over one axis of time (UTC)."""
    heights = [panel.height + TOP + BOTTOM for panel in panels]
    parts = [f'<svg viewBox="0 0 {WIDTH} {sum(heights)}" role="img"><title>{escape(title)}</title>']
    top = 0
    for panel, height in zip(panels, heights, strict=True):
        parts.append(f'<g transform="translate(0 {top})">')
        parts += _panel(panel, marks, _Time(from_ms, to_ms))
        parts.append("</g>")
        top += height
    return "".join([*parts, "</svg>"])


@dataclass(frozen=True, slots=True)
class _Time:
    from_ms: int
    to_ms: int

    def x(self, at_ms: float) -> float:
        return LEFT + _PLOT * (at_ms - self.from_ms) / max(self.to_ms - self.from_ms, 1)

    def ticks(self) -> Iterator[tuple[float, str]]:
        span = self.to_ms - self.from_ms
        form = "%H:%M" if span < 2 * 86_400_000 else "%d %b"
        for share in (0.0, 0.25, 0.5, 0.75, 1.0):
            instant = datetime.fromtimestamp((self.from_ms + share * span) / 1000, UTC)
            yield LEFT + _PLOT * share, instant.strftime("%d %b %H:%M" if share == 0 else form)


@dataclass(frozen=True, slots=True)
class _Scale:
    low: float
    high: float
    height: int
    logarithmic: bool

    @classmethod
    def of(cls, panel: Panel) -> "_Scale":
        """From the least to the greatest of lines and limits, with some air."""
        courses = [course for line in panel.lines for course in (line.low, line.high)]
        levels = np.array([limit.level for limit in panel.limits])
        values = np.concatenate([*courses, levels])
        values = values[np.isfinite(values)]
        if panel.logarithmic:
            values = np.log10(np.maximum(values, 1e-3))
        low, high = (values.min(), values.max()) if len(values) else (0.0, 1.0)
        air = 0.06 * (high - low) or max(abs(high) * 0.1, 0.5)
        return cls(float(low - air), float(high + air), panel.height, panel.logarithmic)

    def y(self, value: float) -> float:
        if self.logarithmic:
            value = math.log10(max(value, 1e-3))
        return TOP + self.height * (1 - (value - self.low) / (self.high - self.low))

    def ticks(self) -> list[float]:
        if self.logarithmic:
            whole = range(math.ceil(self.low), math.floor(self.high) + 1)
            return [10.0**power for power in whole] or [10 ** ((self.low + self.high) / 2)]
        rough = (self.high - self.low) / 4
        step = 10.0 ** math.floor(math.log10(rough))
        step *= next(factor for factor in (1, 2, 5, 10) if factor * step >= rough)
        first = math.ceil(self.low / step)
        return [step * number for number in range(first, math.floor(self.high / step) + 1)]


def _panel(panel: Panel, marks: Sequence[Mark], time: _Time) -> Iterator[str]:
    scale = _Scale.of(panel)
    bottom = TOP + panel.height
    for value in scale.ticks():
        y = scale.y(value)
        yield f'<path class="grid" d="M{LEFT} {y:.1f}H{WIDTH - RIGHT}"/>'
        yield f'<text class="tick end" x="{LEFT - 6}" y="{y + 4:.1f}">{value:g}</text>'
    for x, label in time.ticks():
        anchor = " end" if x > WIDTH / 2 else ""
        yield f'<text class="tick{anchor}" x="{x:.0f}" y="{bottom + 16}">{label}</text>'
    yield f'<text class="tick" x="4" y="{TOP - 3}">{escape(panel.unit)}</text>'
    for mark in marks:
        x = time.x(mark.at_ms)
        yield f'<path class="mark {mark.colour}" d="M{x:.1f} {TOP}V{bottom}">'
        yield f"<title>{escape(mark.name)}</title></path>"
    for line in panel.lines:
        yield from _line(line, scale, time, panel.join)
    for limit in panel.limits:
        y = scale.y(limit.level)
        yield f'<path class="limit" d="M{LEFT} {y:.1f}H{WIDTH - RIGHT}"/>'
        label = f"{limit.name} {limit.level:g} {panel.unit}"
        yield f'<text class="limit end" x="{WIDTH - RIGHT}" y="{y - 4:.1f}">{escape(label)}</text>'
    yield from _legend(panel.lines)


def _legend(lines: Sequence[Line]) -> Iterator[str]:
    x = LEFT + 30
    for line in lines:
        yield f'<path class="{line.colour}" d="M{x} {TOP - 7}h14"/>'
        yield f'<text class="tick" x="{x + 18}" y="{TOP - 3}">{escape(line.name)}</text>'
        x += 40 + 7 * len(line.name)


def _line(line: Line, scale: _Scale, time: _Time, join: int) -> Iterator[str]:
    """The spread as an area, its middle as a line; a gap stays a gap."""
    step_ms = (time.to_ms - time.from_ms) / len(line.low)
    for run in _runs(line.low, join):
        x = [time.x(time.from_ms + (at + 0.5) * step_ms) for at in run]
        low = [scale.y(float(line.low[at])) for at in run]
        high = [scale.y(float(line.high[at])) for at in run]
        if len(run) == 1:
            yield f'<circle class="{line.colour}" cx="{x[0]:.1f}" cy="{low[0]:.1f}" r="1.5"/>'
            continue
        there = [f"{a:.1f} {b:.1f}" for a, b in zip(x, high, strict=True)]
        back = [f"{a:.1f} {b:.1f}" for a, b in zip(x[::-1], low[::-1], strict=True)]
        middle = [f"{a:.1f} {(b + c) / 2:.1f}" for a, b, c in zip(x, low, high, strict=True)]
        yield f'<path class="area {line.colour}" d="M{"L".join(there + back)}Z"/>'
        yield f'<path class="{line.colour}" d="M{"L".join(middle)}"/>'


def _runs(course: Floats, join: int) -> list[list[int]]:
    """The steps with a value, cut where more than `join` steps have none."""
    present = np.flatnonzero(~np.isnan(course))
    cuts = np.flatnonzero(np.diff(present) > join + 1) + 1
    return [part.tolist() for part in np.split(present, cuts) if len(part)]
