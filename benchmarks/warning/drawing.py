"""Charts as SVG, without a library: lines and points on linear or logarithmic axes."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from html import escape

WIDTH, HEIGHT = 720, 380
LEFT, RIGHT, TOP, BOTTOM = 64, 190, 50, 52
COLOURS = ("#8a8a8a", "#b98900", "#2a7f9e", "#8b5fbf", "#3f8f4f", "#c8321e", "#111111")


@dataclass(frozen=True, slots=True)
class Line:
    """A named course of points; `dots` marks them, `dashes` draws it broken."""

    name: str
    points: Sequence[tuple[float, float]]
    colour: str
    dots: bool = False
    dashes: bool = False


@dataclass(frozen=True, slots=True)
class Axis:
    """`low` and `high` are drawn at the ends; `ticks` are the places with a number."""

    text: str
    low: float
    high: float
    ticks: Sequence[float]
    logarithmic: bool = False
    percent: bool = False

    def place(self, value: float) -> float:
        """0 at the low end, 1 at the high one; what lies outside is at the end."""
        low, high, value = self.low, self.high, min(max(value, self.low), self.high)
        if self.logarithmic:
            return math.log(value / low) / math.log(high / low)
        return (value - low) / (high - low)

    def label(self, value: float) -> str:
        return f"{100 * value:g} %" if self.percent else f"{value:g}"


@dataclass(frozen=True, slots=True)
class Chart:
    """One picture. `marks` are vertical lines with a word, `notes` a horizontal one."""

    title: str
    x: Axis
    y: Axis
    lines: Sequence[Line]
    marks: Sequence[tuple[float, str, str]] = field(default_factory=tuple)
    levels: Sequence[tuple[float, str]] = field(default_factory=tuple)


def svg(chart: Chart) -> str:
    """The picture as a document of its own, on white, for a light page and a dark one."""
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" '
        f'font-family="sans-serif" font-size="12" role="img">',
        f"<title>{escape(chart.title)}</title>",
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="#ffffff"/>',
        _text(LEFT, 22, chart.title, size=14),
        *_axes(chart),
        *_marks(chart),
    ]
    for at, line in enumerate(chart.lines):
        parts += _line(chart, line)
        parts += _legend(line, at)
    return "\n".join([*parts, "</svg>"]) + "\n"


def _x(chart: Chart, value: float) -> float:
    return LEFT + chart.x.place(value) * (WIDTH - LEFT - RIGHT)


def _y(chart: Chart, value: float) -> float:
    return HEIGHT - BOTTOM - chart.y.place(value) * (HEIGHT - TOP - BOTTOM)


def _axes(chart: Chart) -> list[str]:
    bottom, right = HEIGHT - BOTTOM, WIDTH - RIGHT
    parts = []
    for tick in chart.x.ticks:
        x = _x(chart, tick)
        parts.append(_stroke(x, TOP, x, bottom, "#e4e4e4"))
        parts.append(_text(x, bottom + 17, chart.x.label(tick), anchor="middle"))
    for tick in chart.y.ticks:
        y = _y(chart, tick)
        parts.append(_stroke(LEFT, y, right, y, "#e4e4e4"))
        parts.append(_text(LEFT - 7, y + 4, chart.y.label(tick), anchor="end"))
    parts.append(_stroke(LEFT, bottom, right, bottom, "#444444"))
    parts.append(_stroke(LEFT, TOP, LEFT, bottom, "#444444"))
    parts.append(_text((LEFT + right) / 2, HEIGHT - 14, chart.x.text, anchor="middle"))
    parts.append(_text(LEFT, TOP - 8, chart.y.text, size=11, colour="#555555"))
    return parts


def _marks(chart: Chart) -> list[str]:
    parts = []
    for at, (value, text, colour) in enumerate(chart.marks):
        x = _x(chart, value)
        parts.append(_stroke(x, TOP, x, HEIGHT - BOTTOM, colour, dashes="2 3"))
        # A word near the right end goes to the left of its line.
        place = {"anchor": "end"} if chart.x.place(value) > 0.85 else {}
        word_x = x - 3 if place else x + 3
        parts.append(_text(word_x, TOP + 12 + 13 * at, text, size=10, colour=colour, **place))
    for value, text in chart.levels:
        y = _y(chart, value)
        parts.append(_stroke(LEFT, y, WIDTH - RIGHT, y, "#c8321e", dashes="6 4"))
        parts.append(_text(LEFT + 6, y - 4, text, size=11, colour="#c8321e"))
    return parts


def _line(chart: Chart, line: Line) -> list[str]:
    points = [(_x(chart, x), _y(chart, y)) for x, y in line.points if not math.isnan(x + y)]
    course = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
    dashes = ' stroke-dasharray="5 4"' if line.dashes else ""
    parts = [
        f'<polyline points="{course}" fill="none" stroke="{line.colour}" stroke-width="1.8"'
        f"{dashes}/>"
    ]
    if line.dots:
        parts += [f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3.5" fill="{line.colour}"/>'
                  for x, y in points]  # fmt: skip
    return parts


def _legend(line: Line, at: int) -> list[str]:
    x, y = WIDTH - RIGHT + 16, TOP + 10 + 18 * at
    dashes = "5 4" if line.dashes else ""
    return [
        _stroke(x, y - 4, x + 20, y - 4, line.colour, dashes=dashes, width=2.5),
        _text(x + 26, y, line.name),
    ]


def _stroke(
    x1: float, y1: float, x2: float, y2: float, colour: str, *, dashes: str = "", width: float = 1
) -> str:
    broken = f' stroke-dasharray="{dashes}"' if dashes else ""
    return (
        f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" stroke="{colour}" '
        f'stroke-width="{width:g}"{broken}/>'
    )


def _text(
    x: float,
    y: float,
    words: str,
    *,
    size: int = 12,
    anchor: str = "start",
    colour: str = "#222222",
) -> str:
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" font-size="{size}" text-anchor="{anchor}" '
        f'fill="{colour}">{escape(words)}</text>'
    )
