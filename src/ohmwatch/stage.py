"""What several detectors need of the same readings, computed once before they have their turn.

A detector that stands on stages names them in an attribute `stages`; a `Watch` runs each stage
of its detectors once a batch, keeps its state as it keeps a detector's, and shows the detectors
a batch with the stage's columns among its values.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Protocol, runtime_checkable

import numpy as np

from ohmwatch.detector import Batch, Floats, Ratings, State


@runtime_checkable
class Stage(Protocol):
    """Adds columns to readings, from a fixed record for each connector.

    What holds for a detector holds for it: readings come in order, only `state` is written to,
    and the same readings cut into other batches give the same columns, bit for bit.
    """

    @property
    def name(self) -> str: ...
    @property
    def version(self) -> str: ...
    @property
    def state_dtype(self) -> np.dtype[Any]: ...

    def columns(
        self, batch: Batch, ratings: Sequence[Ratings], state: State
    ) -> Mapping[str, Floats]:
        """The columns for the batch, float64[n] each, named so that no quantity is hidden."""
        ...


def stages_of(detectors: Iterable[object]) -> tuple[Stage, ...]:
    """The stages that any of the detectors stands on, each once, in the order first named."""
    found: dict[str, Stage] = {}
    for detector in detectors:
        for stage in getattr(detector, "stages", ()):
            found.setdefault(stage.name, stage)
    return tuple(found.values())
