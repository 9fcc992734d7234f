"""The stage that knows each contact: heating, resistance, their change, the time that is left."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ohmwatch.detector import Batch, Floats, Ratings, State
from ohmwatch.physics.estimate.follow import follow
from ohmwatch.physics.estimate.record import CONTACT_DTYPE


@dataclass(frozen=True)
class Contacts:
    """Estimates of the two contacts of each connector; `ohmwatch.physics.estimate` has the how.

    Cost: 0.5 µs a reading in batches; state: CONTACT_DTYPE, 1.2 KiB a connector.
    """

    name: str = "contacts"
    version: str = "6"

    @property
    def state_dtype(self) -> np.dtype[Any]:
        return CONTACT_DTYPE

    def columns(
        self, batch: Batch, ratings: Sequence[Ratings], state: State
    ) -> Mapping[str, Floats]:
        return follow(batch, ratings, state)


CONTACTS = Contacts()
