"""Whether the poles' temperature sensors have changed places: their difference turns; compiled.

Two contacts that are not quite alike heat differently under the same current. If their sensors are
exchanged, in a workshop or with a device, the difference turns to its opposite from one load to the
next, and there it stays. A contact that grows comes past there, and goes on. So the course of the
difference is asked whether one step, of a size that is known beforehand, explains it as well as any
smooth growth of any size does.
"""

from ohmwatch.compiled import inlined
from ohmwatch.physics.estimate.outlook import least_misfit, point_variance
from ohmwatch.physics.estimate.record import APART, DROP_NEG, DROP_POS

SURE = 11.0
DOUBT = 2.0
"""Logs of odds that there is a change, and that it is another than just turned round."""

BEFORE, AFTER = 1, 4
STOOD_DAYS = 2.0
"""Points of the course on either side of the step, and how long it must have stood."""

MISFIT = 4.0
"""Most of the step's chi-square for a point; the point in which it falls is asked nothing."""

DROP_LOG = 0.08
"""Of measured resistances against one another, from which on a contact has grown."""


@inlined
def has_turned(s):  # type: ignore[no-untyped-def]
    """1 where the difference has turned round and stands, else 0.

    Once seen it holds for as long as nothing speaks against it: the course forgets the step.
    """
    apart = s.channels[APART]
    if max(apart.up, apart.down) < SURE or max(s.over_turn, s.under_turn) > DOUBT:
        return 0
    side = 1.0 if apart.up > apart.down else -1.0
    if side * apart.base >= 0.0 or _has_grown(s, side):
        return 0
    if s.turned == 1:
        return 1
    turned = _step_misfit(s, -2.0 * side * apart.base, side)
    if turned > MISFIT * s.point_count:
        return 0
    return 1 if turned <= least_misfit(s, side) else 0


@inlined
def _has_grown(s, side):  # type: ignore[no-untyped-def]
    """Whether the measured resistance of the pole that heats more has grown."""
    pos, neg = s.channels[DROP_POS], s.channels[DROP_NEG]
    if min(pos.count, neg.count) <= 0.0:
        return False
    return side * (pos.level - neg.level) > DROP_LOG


@inlined
def _step_misfit(s, size, side):  # type: ignore[no-untyped-def]
    """Least chi-square of a course that is nothing, and from a point on is of this size."""
    least = 1e9
    for step in range(BEFORE, s.point_count - AFTER):
        if s.points[s.point_count - 1].day - s.points[step].day < STOOD_DAYS:
            break
        misfit = 0.0
        for number in range(s.point_count):
            if number == step:
                continue
            growth = side * s.points[number].apart
            away = growth - size if number > step else growth
            misfit += away * away / point_variance(s, number, growth)
        least = min(least, misfit)
    return least
