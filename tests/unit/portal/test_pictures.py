"""Where the analysis page's lines and cells go."""

from itertools import pairwise

import pytest

from apps.portal.pictures import (
    HEIGHT,
    LEFT,
    RIGHT,
    WIDTH,
    Frame,
    courses,
    heat_map,
)
from apps.telemetry.levels import HOUR_MS
from apps.telemetry.slices import DAY_MS

START_MS = 1_790_000_000_000 // DAY_MS * DAY_MS


def test_values_are_round_and_few() -> None:
    for low, high in ((-3.2, 87.0), (0, 10_000), (20.01, 20.06), (-500, 500)):
        frame = Frame(START_MS, START_MS + DAY_MS, low, high)
        places = [float(tick.at) for tick in frame.values]
        assert 2 <= len(places) <= 8
        assert len({tick.text for tick in frame.values}) == len(places)
        assert all(above > below for above, below in pairwise(places))


@pytest.mark.parametrize(("days", "form"), [(1, ":"), (7, "-"), (30, "-"), (90, "-")])
def test_times_are_hours_of_a_day_and_days_of_more(days: int, form: str) -> None:
    frame = Frame(START_MS, START_MS + days * DAY_MS, 0, 1)
    assert 5 <= len(frame.times) <= 14
    assert all(form in tick.text for tick in frame.times)


def test_lines_lie_within_their_band_and_on_its_time() -> None:
    band = [(START_MS + n * HOUR_MS, 10.0, 50.0) for n in range(24)]
    line = [(at, 30.0) for at, _, _ in band]
    drawn = courses([("p50", "half", line)], band, HOUR_MS)

    places = [tuple(map(float, pair.split(","))) for pair in drawn.curves[0].points.split()]
    xs, ys = zip(*places, strict=True)
    assert len(places) == 24
    assert LEFT < xs[0] < xs[-1] < WIDTH - RIGHT
    heights = [float(pair.split(",")[1]) for pair in drawn.band.split()]
    assert min(heights) < ys[0] < max(heights) < HEIGHT
    assert ys[0] == pytest.approx((min(heights) + max(heights)) / 2, abs=0.1)


def test_a_heat_map_has_the_bins_that_hold_anything() -> None:
    rows = [(START_MS, [0, 9, 1, 0, 0]), (START_MS + DAY_MS, [0, 0, 0, 4, 0])]
    told: list[tuple[int, float, float, float]] = []

    def said(*cell: float) -> str:
        told.append(cell)  # type: ignore[arg-type]
        return "said"

    drawn = heat_map([0, 5, 10, 15, 20, 25], rows, DAY_MS, said)

    assert drawn is not None
    assert (drawn.frame.low, drawn.frame.high) == (5, 20)
    assert [cell.share for cell in drawn.cells] == ["1.00", "0.33", "1.00"]
    assert told[0] == (START_MS, 5, 10, 0.9)
    assert heat_map([0, 5], [(START_MS, [0])], DAY_MS, said) is None
