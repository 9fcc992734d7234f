"""The state of connectors for people to see: their last reading and how far it is from a limit.

Detection is the one that sees readings in order, so it alone writes them. A connector at most once
a second, and all of them for no more than a share of the time; what waits is merged. Failing to
write is told, and never stops detection, nor does waiting for the store. What is of no tenant any
more is dropped as late as that: the log may hold readings of one who was erased, and what waited
for the store may have been noted before.
"""

import math
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

import numpy as np
import structlog

from apps.telemetry.answers import ItemResult
from apps.telemetry.errors import TelemetryError
from ohmwatch.detector import Batch, Floats, Ratings
from ohmwatch.physics.known import ageing, knowledge, margins, with_known
from ohmwatch.physics.sequence import Runs
from ohmwatch.readings import QUANTITIES
from workers.detection.gathering import key_of

logger = structlog.get_logger(__name__)

WRITE_EVERY_S = 1.0
SHARE = 0.2
"""Of the time, what writing may take: few connectors are shown sooner than thousands."""

LOOK_EVERY_S = 0.05
PAUSE_S = 5.0  # after a failure: a store that is away must not slow each pass by its time limit
LARGEST_POST = 1_000


Estimate = dict[str, float | str | None]


class StateStore(Protocol):
    """What the board needs of apps.telemetry.store.TelemetryStore."""

    def update_states(self, rows: Sequence[Mapping[str, Any]]) -> Sequence[ItemResult]: ...


class Board:
    """What is to be written of each connector, and when it was written last.

    One thread notes, any one writes: `post` where it is called, or, once `begin` was, a thread of
    the board's own. `is_gone` says of a slug whether there is no such tenant.
    """

    def __init__(
        self,
        store: StateStore,
        *,
        is_gone: Callable[[str], bool],
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._store = store
        self._is_gone = is_gone
        self._monotonic = monotonic
        self._lock = threading.Lock()
        self._noted = threading.Event()
        self._has_poster = False
        self._waiting: dict[str, dict[str, Any]] = {}
        self._in_hand: dict[str, dict[str, Any]] = {}
        self._written_at: dict[str, float] = {}
        self._paused_until = 0.0

    def begin(self) -> None:
        """From now on what is noted is written by a thread, as long as the process lives."""
        self._has_poster = True
        threading.Thread(target=self._post_for_ever, name="board", daemon=True).start()

    def note(
        self,
        batch: Batch,
        ratings: Sequence[Ratings],
        *,
        judged_ms: int,
        known: Mapping[str, Floats] | None = None,
    ) -> None:
        """Takes in the newest of each connector. `batch` is sorted by connector, then time.

        `known` are the columns that stages added, of each connector's newest reading
        (`Judgement.known`): with the contacts' heating among them, the margin at rated load on a
        hot day is written with its interval, the time left or why it is not known, and how far the
        contact has come from its own base, for the comparison with its like. The headroom is of
        the last reading, whatever its load.
        """
        if not len(batch):
            return
        runs = Runs.of(batch.connector)
        estimated = _estimates(batch, ratings, known or {}, runs.ends)
        newest = {name: _newest(runs, column).tolist() for name, column in batch.values.items()}
        measured_ms, arrived_ms = batch.time_ms[runs.ends], batch.arrived_ms[runs.ends]
        for number, owner in enumerate(runs.owner.tolist()):
            last = {
                name: value
                for name, values in newest.items()
                if not math.isnan(value := values[number])
            }
            tenant, connector = key_of(batch.connectors[owner])
            row = {
                "tenant": tenant,
                "connector": connector,
                "last": last,
                "measured_at": int(measured_ms[number]),
                "arrived_at": int(arrived_ms[number]),
                "judged_at": judged_ms,
                **_headroom(last, ratings[owner]),
                **estimated[number],
            }
            with self._lock:
                known = self._waiting.get(batch.connectors[owner])
                self._waiting[batch.connectors[owner]] = _merged(known, row)
        self._noted.set()

    @property
    def is_waiting(self) -> bool:
        """Whether anything that was noted is not written yet."""
        with self._lock:
            return bool(self._waiting or self._in_hand)

    def post(self) -> None:
        """Writes what is due, unless there is a thread for it. Raises nothing."""
        if not self._has_poster:
            self._write_due()

    def _post_for_ever(self) -> None:
        while True:
            self._noted.wait(LOOK_EVERY_S if self._waiting else None)
            self._noted.clear()
            try:
                self._write_due()
            except Exception as error:  # a fault of ours must not end what pages live from
                logger.error("board_failed", error=repr(error))
            time.sleep(LOOK_EVERY_S)

    def _write_due(self) -> None:
        began = self._monotonic()
        if began < self._paused_until:
            return
        with self._lock:
            due = [
                name
                for name in self._waiting
                if began - self._written_at.get(name, -WRITE_EVERY_S) >= WRITE_EVERY_S
            ]
            rows = self._in_hand = {name: self._waiting.pop(name) for name in due}
            self._drop_what_is_nobodys(rows)
        due = list(rows)
        for first in range(0, len(due), LARGEST_POST):
            if not self._write(due[first : first + LARGEST_POST], rows, began):
                return
        took_s = self._monotonic() - began
        self._paused_until = began + took_s / SHARE

    def _drop_what_is_nobodys(self, rows: dict[str, dict[str, Any]]) -> None:
        nobodys = [name for name, row in rows.items() if self._is_gone(row["tenant"])]
        for name in nobodys:
            tenant = rows.pop(name)["tenant"]
            logger.warning("state_of_unknown_tenant", tenant=tenant)

    def _write(self, names: list[str], rows: dict[str, dict[str, Any]], now: float) -> bool:
        """Writes these of the rows; all that are not written wait again where that fails."""
        try:
            results = self._store.update_states([_as_measured(rows[name]) for name in names])
        except TelemetryError as error:
            logger.warning("states_not_written", connectors=len(names), error=str(error))
            self._paused_until = now + PAUSE_S
            with self._lock:
                for name, row in rows.items():
                    newer = self._waiting.get(name)
                    self._waiting[name] = row if newer is None else _merged(row, newer)
            return False
        _tell_refused([rows[name] for name in names], results)
        for name in names:
            del rows[name]
            self._written_at[name] = now
        return True


def _tell_refused(rows: Sequence[Mapping[str, Any]], results: Sequence[ItemResult]) -> None:
    """A line a tenant: where the index lacks a field of ours, the store refuses all of them."""
    refused: defaultdict[str, list[tuple[str, str]]] = defaultdict(list)
    for row, result in zip(rows, results, strict=True):
        if not result.is_stored:
            refused[row["tenant"]].append((row["connector"], result.error_reason))
    for tenant, several in refused.items():
        connector, reason = several[0]
        logger.error(
            "states_refused",
            tenant=tenant,
            connectors=len(several),
            connector=connector,
            reason=reason,
        )


def _newest(runs: Runs, column: Floats) -> Floats:
    """The newest value of each run, float64[runs]; NaN where it has none."""
    newest = column[runs.ends]
    missing = np.isnan(newest)
    if missing.any():
        at = runs.latest(~np.isnan(column))[runs.ends]
        newest = np.where(at >= 0, column[at], np.nan)
    return newest


def _as_measured(row: dict[str, Any]) -> dict[str, Any]:
    """61.2 as a person reads it, not 61.20000076293945 as single precision keeps it."""
    last = {
        name: float(f"{value:.7g}") if name in QUANTITIES else value
        for name, value in row["last"].items()
    }
    return {**row, "last": last}


def _merged(row: dict[str, Any] | None, newer: dict[str, Any]) -> dict[str, Any]:
    """What both say, the second where both do; that may turn out to be the older one, and then it
    says nothing."""
    if row is None:
        return newer
    if newer["measured_at"] < row["measured_at"]:
        return row
    return {**row, **newer, "last": {**row["last"], **newer["last"]}}


def _headroom(last: Mapping[str, float], ratings: Ratings) -> Estimate:
    """K from the hottest pole to the model's limit, as it is; nothing where one is unknown."""
    poles = [last[name] for name in ("temperature_pos_c", "temperature_neg_c") if name in last]
    if not poles or math.isnan(ratings.temperature_limit_c):
        return {}
    return {"headroom_k": round(ratings.temperature_limit_c - max(poles), 3)}


def _estimates(
    batch: Batch, ratings: Sequence[Ratings], known: Mapping[str, Floats], ends: np.ndarray
) -> list[Estimate]:
    """Of each run's last reading what the contacts' stage knows; None takes back what is known no
    more, of a contact that was mended. Nothing where the stage did not run."""
    if not known:
        return [{} for _ in ends]
    shown = with_known(batch.rows(ends), known)
    margin, aged, more = margins(shown, ratings), ageing(shown, ratings), knowledge(shown)
    columns = {
        "margin_k": margin.worst_k,
        "margin_from_k": margin.from_k,
        "margin_to_k": margin.to_k,
        "change": aged.change,
        "change_sd": np.where(np.isnan(aged.change), np.nan, aged.change_sd),
        "left_s": more.left_s,
        "left_from_s": more.left_from_s,
        "left_to_s": more.left_to_s,
        "mating_step_pos": more.step_pos,
        "mating_step_neg": more.step_neg,
    }
    instants = {
        "base_since": np.where(np.isnan(aged.change), np.nan, aged.since_ms),
        "learnt_at": more.learnt_ms,
    }
    told: dict[str, Sequence[float | str | None]] = {
        **{name: _plain(np.round(column, 4), float) for name, column in columns.items()},
        **{name: _plain(column, int) for name, column in instants.items()},
        "left_unknown": [each or None for each in more.why],
    }
    return [dict(zip(told, row, strict=True)) for row in zip(*told.values(), strict=True)]


def _plain(column: Floats, kind: type[float]) -> list[float | None]:
    """The numbers of a column; None for NaN."""
    return [None if each != each else kind(each) for each in column.tolist()]
