"""All contenders over one set at once: each reading is made once and read by everyone.

A contender draws its readings from an iterator, so each has a thread of its own and gets every
batch before anybody gets the next; nothing is kept, and who is slow holds up the others. On one
core this is as fast as one after the other, less the making of the readings.
"""

import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from queue import Queue
from time import thread_time

from benchmarks.warning.contenders.linear import linear_prediction
from benchmarks.warning.contenders.ours import ohmwatch
from benchmarks.warning.contenders.thresholds import fixed_limit, rise_share
from benchmarks.warning.events import Contender, Said, stamped
from benchmarks.warning.judge import Case, cases
from benchmarks.warning.scenarios import Scenario
from ohmwatch.backtest.installed import Installed
from ohmwatch.detector import Batch

OURS = "Ohmwatch"
_FIXED: dict[str, Contender] = {
    "fixed limit": fixed_limit,
    "85 % of the rise": rise_share,
    "linear prediction": linear_prediction,
}
_OPTIONAL = {
    "river": ("benchmarks.warning.contenders.anomaly", "river_anomaly", "river"),
    "ONNX model": ("benchmarks.warning.contenders.sequence", "sequence_model", "onnxruntime"),
}
"""Name, module, function, and the package without which it can't take part."""


def contenders() -> dict[str, Contender]:
    """Who takes part, in the table's order; Ohmwatch is the last."""
    known = dict(_FIXED)
    for name, (module, function, package) in _OPTIONAL.items():
        if find_spec(module) is not None and find_spec(package) is not None:
            known[name] = getattr(import_module(module), function)
    return {**known, OURS: ohmwatch}


@dataclass(frozen=True, slots=True)
class Trial:
    """What became of one contender: its cases, one a connector, and its own seconds of CPU."""

    cases: tuple[Case, ...]
    readings: int
    cpu_s: float


def compete(scenario: Scenario, taking_part: Mapping[str, Contender]) -> dict[str, Trial]:
    """Runs the contenders over the set. The first error of one ends all and is raised."""
    seats = [_Seat(name, run, scenario.installed) for name, run in taking_part.items()]
    readings = 0
    for seat in seats:
        seat.start()
    try:
        for batch in scenario.batches():
            readings += len(batch)
            _serve(seats, batch)
    finally:
        _serve(seats, None)
        for seat in seats:
            seat.join()
    for seat in seats:
        if seat.error is not None:
            raise seat.error
    truth = scenario.truth()
    return {
        seat.name: Trial(tuple(cases(truth, seat.said)), readings, seat.cpu_s) for seat in seats
    }


def _serve(seats: Sequence["_Seat"], batch: Batch | None) -> None:
    """The batch to everybody who still eats; None: there is no more. Raises what one raised."""
    for seat in seats:
        if seat.error is None:
            seat.meal.put(batch)
        elif batch is not None:
            raise seat.error


class _Seat(threading.Thread):
    """One contender at the table. `meal` holds one batch: nobody runs ahead."""

    def __init__(self, name: str, run: Contender, installed: Mapping[str, Installed]) -> None:
        super().__init__(name=name, daemon=True)
        self.meal: Queue[Batch | None] = Queue(maxsize=1)
        self.said: list[Said] = []
        self.error: BaseException | None = None
        self.cpu_s = 0.0
        self._contender, self._installed = run, installed

    def run(self) -> None:
        began_s = thread_time()
        try:
            self.said.extend(stamped(self._contender, self._meals(), self._installed))
        except BaseException as error:
            self.error = error
            self._leave()
        self.cpu_s = thread_time() - began_s

    def _meals(self) -> Iterator[Batch]:
        while (batch := self.meal.get()) is not None:
            yield batch

    def _leave(self) -> None:
        """Frees whoever waits to serve the next batch."""
        while not self.meal.empty():
            self.meal.get_nowait()
