"""When a partition that still holds something is visited next."""

import pytest

from apps.partitions.wakeups import LATEST_MS, SOONEST_MS
from workers.detection.passes import next_visit_ms


@pytest.mark.parametrize(
    ("ripe_in_ms", "visit_s", "partitions", "expected"),
    [
        (180.0, 0.002, 16, 180),  # when the next entry is due
        (-40.0, 0.002, 1, SOONEST_MS),  # it is due, but one just was there
        (120.0, 0.005, 16, 160),  # sixteen at 5 ms are half of 160 ms
        (120.0, 0.050, 16, LATEST_MS),  # behind: larger pages are worth the wait
        (800.0, 0.002, 16, LATEST_MS),
    ],
)
def test_as_soon_as_it_is_due_and_visits_leave_room(
    ripe_in_ms: float, visit_s: float, partitions: int, expected: int
) -> None:
    assert next_visit_ms(ripe_in_ms=ripe_in_ms, visit_s=visit_s, partitions=partitions) == expected
