"""The course of a few quantities over a stretch of time, in as many steps as a chart is wide."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from ohmwatch.detector import Batch, Floats

STEPS = 360


@dataclass
class Sketch:
    """The least and the greatest of each quantity in each of STEPS parts of a stretch.

    A peak of one reading is in it; a step without a reading is NaN in both.
    """

    connector: str
    from_ms: int
    to_ms: int
    quantities: Sequence[str]
    low: dict[str, Floats] = field(init=False)
    high: dict[str, Floats] = field(init=False)

    def __post_init__(self) -> None:
        self.low = {name: np.full(STEPS, np.nan) for name in self.quantities}
        self.high = {name: np.full(STEPS, np.nan) for name in self.quantities}

    @property
    def step_ms(self) -> float:
        return max(self.to_ms - self.from_ms, 1) / STEPS

    def add(self, batch: Batch) -> None:
        """Takes in the readings of a batch (of this connector alone) that lie in the stretch."""
        here = batch.rows((batch.time_ms >= self.from_ms) & (batch.time_ms <= self.to_ms))
        if not len(here):
            return
        step = ((here.time_ms - self.from_ms) / self.step_ms).astype(np.int64)
        step = np.minimum(step, STEPS - 1)
        for name in self.quantities:
            column = here.column(name)
            np.fmin.at(self.low[name], step, column)
            np.fmax.at(self.high[name], step, column)


def fill(sketches: Sequence[Sketch], batches: Iterable[Batch]) -> None:
    """Draws all sketches in one walk through the recording."""
    wanted: dict[str, list[Sketch]] = {}
    for sketch in sketches:
        wanted.setdefault(sketch.connector, []).append(sketch)
    for batch in batches:
        for home, own in _present(batch, wanted):
            readings = batch.rows(batch.connector == home)
            for sketch in own:
                sketch.add(readings)


def _present(
    batch: Batch, wanted: Mapping[str, list[Sketch]]
) -> Iterable[tuple[int, list[Sketch]]]:
    for home, name in enumerate(batch.connectors):
        if name in wanted:
            yield home, wanted[name]
