"""The analysis page's pictures: where each line, cell and word goes. Templates only draw it.

Places are texts with a decimal point, for a template would write numbers in the reader's way.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from django.utils.formats import number_format
from django.utils.functional import Promise

from apps.telemetry.levels import HOUR_MS
from apps.telemetry.slices import DAY_MS

WIDTH, HEIGHT = 720, 250
LEFT, RIGHT, TOP, BOTTOM = 56, 8, 10, 24
TICKS = 6


@dataclass(frozen=True)
class Tick:
    """A word beside an axis."""

    at: str
    text: str


@dataclass(frozen=True)
class Frame:
    """What both pictures stand in; x in ms since 1970 UTC, y in the quantity's unit."""

    start_ms: int
    end_ms: int
    low: float
    high: float

    @property
    def view(self) -> str:
        return f"0 0 {WIDTH} {HEIGHT}"

    @property
    def left(self) -> int:
        return LEFT

    @property
    def right(self) -> int:
        return WIDTH - RIGHT

    @property
    def bottom(self) -> int:
        return HEIGHT - BOTTOM

    @property
    def foot(self) -> int:
        """Where the words below the picture stand."""
        return HEIGHT - 6

    def x(self, time_ms: float) -> float:
        share = (time_ms - self.start_ms) / max(self.end_ms - self.start_ms, 1)
        return LEFT + share * (WIDTH - LEFT - RIGHT)

    def y(self, value: float) -> float:
        share = (value - self.low) / max(self.high - self.low, 1e-9)
        return self.bottom - share * (self.bottom - TOP)

    @property
    def times(self) -> list[Tick]:
        """Days, or hours where there are few; UTC."""
        step_ms = _time_step(self.end_ms - self.start_ms)
        first_ms = -(-self.start_ms // step_ms) * step_ms
        form = "%m-%d" if step_ms >= DAY_MS else "%H:%M"
        return [
            Tick(f"{self.x(at_ms):.1f}", datetime.fromtimestamp(at_ms / 1000, UTC).strftime(form))
            for at_ms in range(first_ms, self.end_ms, step_ms)
            if LEFT + 14 < self.x(at_ms) < WIDTH - RIGHT - 14
        ]

    @property
    def values(self) -> list[Tick]:
        step = _round_step(self.high - self.low)
        first, last = math.ceil(self.low / step), math.floor(self.high / step)
        digits = max(0, -math.floor(math.log10(step)))
        return [
            Tick(f"{self.y(number * step):.1f}", number_format(number * step, digits))
            for number in range(first, last + 1)
        ]


@dataclass(frozen=True)
class Curve:
    """A named line; `kind` is its class, `points` as a polyline takes them."""

    kind: str
    name: str | Promise
    points: str


@dataclass(frozen=True)
class Courses:
    """Lines over time, and the band between the lowest and the highest of all."""

    frame: Frame
    curves: list[Curve]
    band: str


@dataclass(frozen=True)
class Cell:
    """A part of the heat map; `share` from 0 to 1 says how dark it is, `said` what it holds."""

    x: str
    y: str
    width: str
    height: str
    share: str
    said: str


@dataclass(frozen=True)
class HeatMap:
    """How often a quantity lay where, by time."""

    frame: Frame
    cells: list[Cell]


Course = Sequence[tuple[int, float]]


def courses(
    lines: Sequence[tuple[str, str | Promise, Course]],
    band: Sequence[tuple[int, float, float]],
    every_ms: int,
) -> Courses:
    """`lines` are (class, name, points); `band` is (time, lowest, highest) of each stretch.

    A stretch's values stand in its middle, and a missing one breaks no line: it is bridged.
    """
    frame = Frame(
        start_ms=band[0][0],
        end_ms=band[-1][0] + every_ms,
        **_room(min(low for _, low, _ in band), max(high for *_, high in band)),
    )
    middle_ms = every_ms / 2

    def places(points: Course) -> str:
        return " ".join(
            f"{frame.x(at + middle_ms):.1f},{frame.y(value):.1f}" for at, value in points
        )

    highs = [(at, high) for at, _, high in band]
    lows = [(at, low) for at, low, _ in reversed(band)]
    return Courses(
        frame,
        [Curve(kind, name, places(points)) for kind, name, points in lines],
        f"{places(highs)} {places(lows)}",
    )


def heat_map(
    edges: Sequence[float],
    rows: Sequence[tuple[int, Sequence[int]]],
    every_ms: int,
    said: Callable[[int, float, float, float], str],
) -> HeatMap | None:
    """`edges` are one more than a row's counts. `said` is given (time, from, to, share of its row).

    None where nothing was counted. A cell's darkness is its share of its own stretch of time, so
    that a day with few readings looks like one with many; the root of it, or a tail would not show.
    """
    used = [n for _, counts in rows for n, count in enumerate(counts) if count]
    if not used:
        return None
    first, last = min(used), max(used)
    frame = Frame(rows[0][0], rows[-1][0] + every_ms, edges[first], edges[last + 1])
    cells = []
    for at_ms, counts in rows:
        total, most = sum(counts), max(counts)
        for n in range(first, last + 1):
            if not counts[n]:
                continue
            low, high = edges[n], edges[n + 1]
            cells.append(
                Cell(
                    x=f"{frame.x(at_ms):.1f}",
                    y=f"{frame.y(high):.1f}",
                    width=f"{frame.x(at_ms + every_ms) - frame.x(at_ms):.1f}",
                    height=f"{frame.y(low) - frame.y(high):.1f}",
                    share=f"{math.sqrt(counts[n] / most):.2f}",
                    said=said(at_ms, low, high, counts[n] / total),
                )
            )
    return HeatMap(frame, cells)


def _room(low: float, high: float) -> dict[str, float]:
    margin = max((high - low) * 0.05, 0.5)
    return {"low": low - margin, "high": high + margin}


def _round_step(span: float) -> float:
    """1, 2 or 5 times a power of ten, so that there are at most TICKS."""
    rough = span / TICKS
    power = 10 ** math.floor(math.log10(rough))
    return next(factor * power for factor in (1, 2, 5, 10) if factor * power >= rough)


def _time_step(span_ms: int) -> int:
    steps = (2 * HOUR_MS, 4 * HOUR_MS, DAY_MS, 2 * DAY_MS, 5 * DAY_MS, 14 * DAY_MS)
    return next((step for step in steps if span_ms / step <= 12), 30 * DAY_MS)
