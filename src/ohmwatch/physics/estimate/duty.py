"""How hard a unit is used: the 99th percentile of the load over its days of use; compiled.

Followed in small steps (Robbins & Monro 1951, Annals of Mathematical Statistics 22): up while the
load is higher, down with each day of use, so that it comes to stand where the load is higher for a
hundredth of those days, a quarter of an hour a day. The load is the one that the rise follows, so
that a burst which no contact feels counts for nothing; who is parked for a week, or whose device
sleeps, uses nothing less hard. One number holds it, and forgets a season in some weeks of use.
"""

import math

from ohmwatch.compiled import inlined

ABOVE_S = 0.01 * 86_400.0
"""For which the load is higher in a day of use."""

STEP = 0.1
"""Of its logarithm, down for each day of use, and up for each ABOVE_S: of 0.05 to 0.4 that by which
the time left was told best on the tuning seeds. It wanders by about as much."""

LEAST_SHARE = 0.75
"""Of the usual peak: who is under load for less than a quarter of an hour a day is used as hard as
that."""


@inlined
def note_duty(s, load, seconds):  # type: ignore[no-untyped-def]
    """Load that the contact felt for so many seconds."""
    if 0.0 < s.duty < load:
        s.duty = min(s.duty * math.exp(STEP * seconds / ABOVE_S), load)


@inlined
def end_day_of_use(s):  # type: ignore[no-untyped-def]
    """A day on which the unit was used is over; of the first, its peak is a beginning."""
    s.duty = s.duty * math.exp(-STEP) if s.duty > 0.0 else s.day_peak


@inlined
def usual_load(s):  # type: ignore[no-untyped-def]
    """The load of the unit's duty, squares over the rated current's; of a first day its peak."""
    return max(s.duty, LEAST_SHARE * s.peak) if s.duty > 0.0 else s.day_peak
