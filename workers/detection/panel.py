"""The detectors of this process, each behind a limit: one that fails stops nobody else."""

import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from types import FrameType

from ohmwatch.detector import Detector
from ohmwatch.detectors.defaults import default_detectors
from ohmwatch.parameters import variant_of
from ohmwatch.stage import Stage

DETECTORS: tuple[Detector, ...] = default_detectors()

TURN_LIMIT_S = 5.0
"""Of one detector over one batch: a hundred times what ours take for the largest."""

FAILURES_IN_A_ROW = 3
REST_S = 60.0
NAMES_LIMIT = 4_096


class DetectorTimedOut(Exception):
    """A detector's turn took longer than its limit."""


class DetectorResting(Exception):
    """The detector failed too often in a row, and is left out for a while."""


class Panel:
    """Guards the turns of a set of detectors; give `guard` to `Watch.observe`."""

    def __init__(
        self,
        detectors: Sequence[Detector] = DETECTORS,
        *,
        limit_s: float = TURN_LIMIT_S,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self.detectors = tuple(detectors)
        self._limit_s = limit_s
        self._monotonic = monotonic
        self._failed: dict[str, int] = {}
        self._resting_until: dict[str, float] = {}
        self._names: dict[int, tuple[Detector | Stage, str]] = {}

    def joined_by(self, detectors: Sequence[Detector]) -> "Panel":
        """The same for these detectors, most of which it knows."""
        return Panel(detectors, limit_s=self._limit_s, monotonic=self._monotonic)

    @contextmanager
    def guard(self, detector: Detector | Stage) -> Iterator[None]:
        """One turn: refused while the detector rests, ended by DetectorTimedOut after its limit."""
        name = self._name(detector)
        if self._resting_until.get(name, 0.0) > self._monotonic():
            raise DetectorResting(name)
        try:
            with _time_limit(self._limit_s, name):
                yield
        except Exception as error:
            self._note_failure(name, timed_out=isinstance(error, DetectorTimedOut))
            raise
        self._failed.pop(name, None)

    def _name(self, detector: Detector | Stage) -> str:
        """By variant: a rule's bad parameters must not put the others to rest. Asked at each turn,
        so it is kept; with the detector, for another may come to lie where one was."""
        known = self._names.get(id(detector))
        if known is None:
            if len(self._names) >= NAMES_LIMIT:
                self._names.clear()
            name = detector.name if isinstance(detector, Stage) else variant_of(detector)
            known = self._names[id(detector)] = (detector, name)
        return known[1]

    def _note_failure(self, name: str, *, timed_out: bool) -> None:
        self._failed[name] = self._failed.get(name, 0) + 1
        if timed_out or self._failed[name] >= FAILURES_IN_A_ROW:
            self._resting_until[name] = self._monotonic() + REST_S
            self._failed[name] = 0


@contextmanager
def _time_limit(limit_s: float, name: str) -> Iterator[None]:
    """Ends what runs inside after `limit_s`. Only a main thread can be ended: see `-P solo`."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def end(number: int, frame: FrameType | None) -> None:
        raise DetectorTimedOut(f"{name} ran for more than {limit_s:g} s")

    before = signal.signal(signal.SIGALRM, end)
    signal.setitimer(signal.ITIMER_REAL, limit_s)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
