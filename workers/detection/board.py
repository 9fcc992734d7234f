"""The state of connectors for people to see: their last reading and how far it is from a limit.

Detection is the one that sees readings in order, so it alone writes them. At most once a second
a connector; what waits is merged. Failing to write is told, and never stops detection.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

import numpy as np
import structlog

from apps.telemetry.errors import TelemetryError
from ohmwatch.detector import Batch, Floats, Ratings
from ohmwatch.physics.known import ageing, margins, with_known
from ohmwatch.physics.sequence import Runs
from workers.detection.gathering import key_of

logger = structlog.get_logger(__name__)

WRITE_EVERY_S = 1.0
PAUSE_S = 5.0  # after a failure: a store that is away must not slow each pass by its time limit
LARGEST_POST = 1_000


class StateStore(Protocol):
    """What the board needs of apps.telemetry.store.TelemetryStore."""

    def update_states(self, rows: Sequence[Mapping[str, Any]]) -> object: ...


class Board:
    """What is to be written of each connector, and when it was written last."""

    def __init__(
        self, store: StateStore, *, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        self._store = store
        self._monotonic = monotonic
        self._waiting: dict[str, dict[str, Any]] = {}
        self._written_at: dict[str, float] = {}
        self._paused_until = 0.0

    def note(
        self,
        batch: Batch,
        ratings: Sequence[Ratings],
        *,
        judged_ms: int,
        known: Mapping[str, Floats] | None = None,
    ) -> None:
        """Takes in the newest of each connector. `batch` is sorted by connector, then time.

        `known` are the columns that stages added: with the contacts' heating among them, the
        margin is that at rated load on a hot day, with its interval, and it is kept how far the
        contact has come from its own base, for the comparison with its like.
        """
        if not len(batch):
            return
        runs = Runs.of(batch.connector)
        at_rated, aged = _estimates(batch, ratings, known or {}, runs.ends)
        newest = {
            name: runs.latest(~np.isnan(column))[runs.ends] for name, column in batch.values.items()
        }
        for number, (end, owner) in enumerate(
            zip(runs.ends.tolist(), runs.owner.tolist(), strict=True)
        ):
            last = {
                name: float(batch.values[name][at[number]])
                for name, at in newest.items()
                if at[number] >= 0
            }
            self._take_in(
                batch.connectors[owner],
                last,
                measured_at=int(batch.time_ms[end]),
                arrived_at=int(batch.arrived_ms[end]),
                judged_at=judged_ms,
                **(at_rated[number] or _margin(last, ratings[owner])),
                **aged[number],
            )

    def post(self) -> None:
        """Writes what is due. Raises nothing."""
        now = self._monotonic()
        if now < self._paused_until:
            return
        due = [
            name
            for name in self._waiting
            if now - self._written_at.get(name, -WRITE_EVERY_S) >= WRITE_EVERY_S
        ]
        for first in range(0, len(due), LARGEST_POST):
            if not self._write(due[first : first + LARGEST_POST], now):
                return

    def _write(self, names: list[str], now: float) -> bool:
        try:
            self._store.update_states([self._waiting[name] for name in names])
        except TelemetryError as error:
            logger.warning("states_not_written", connectors=len(names), error=str(error))
            self._paused_until = now + PAUSE_S
            return False
        for name in names:
            del self._waiting[name]
            self._written_at[name] = now
        return True

    def _take_in(self, name: str, last: dict[str, float], **facts: float | None) -> None:
        tenant, connector = key_of(name)
        row = self._waiting.setdefault(name, {"tenant": tenant, "connector": connector, "last": {}})
        if facts["measured_at"] < row.get("measured_at", 0):
            return
        row["last"].update(last)
        row.update(facts)


def _margin(last: Mapping[str, float], ratings: Ratings) -> dict[str, float | None]:
    """K from the hottest pole to the model's limit; nothing where one of them is unknown.

    It has no interval: one that was known before, of another contact, is taken back.
    """
    poles = [last[name] for name in ("temperature_pos_c", "temperature_neg_c") if name in last]
    if not poles or np.isnan(ratings.temperature_limit_c):
        return {}
    margin_k = round(ratings.temperature_limit_c - max(poles), 3)
    return {"margin_k": margin_k, "margin_from_k": None, "margin_to_k": None}


def _estimates(
    batch: Batch, ratings: Sequence[Ratings], known: Mapping[str, Floats], ends: np.ndarray
) -> tuple[list[dict[str, float | None]], list[dict[str, float | None]]]:
    """Of each run's last reading: the margin at rated load with its 80 % interval, and how the
    contact has aged; empty: unknown."""
    newest = np.zeros(len(batch), dtype=np.bool_)
    newest[ends] = True
    shown = with_known(batch, known).rows(newest)
    margin, aged = margins(shown, ratings), ageing(shown, ratings)
    at_rated = {
        "margin_k": margin.worst_k,
        "margin_from_k": margin.from_k,
        "margin_to_k": margin.to_k,
    }
    change = {"change": aged.change, "change_sd": aged.change_sd}
    aged_rows = _rows(change, aged.change)
    for row, since_ms in zip(aged_rows, aged.since_ms.tolist(), strict=True):
        if row:
            row["base_since"] = int(since_ms)
        elif known:  # of a contact that was mended, what was known is taken back
            row["change"] = None
    return _rows(at_rated, margin.worst_k), aged_rows


def _rows(columns: Mapping[str, Floats], telling: Floats) -> list[dict[str, float | None]]:
    return [
        {}
        if np.isnan(telling[at])
        else {name: round(float(column[at]), 4) for name, column in columns.items()}
        for at in range(len(telling))
    ]
