"""Alarm events in order of arrival, however many a recording has: sorted runs on disk, merged."""

import pickle
import tempfile
from collections.abc import Iterator
from heapq import merge
from pathlib import Path
from types import TracebackType
from typing import IO, Self

from ohmwatch.backtest.run import AlarmEvent, in_order_of_arrival

HELD = 20_000
"""Events in memory before they are written as a run: some 30 MB."""

READ_AT_ONCE = 64
"""Events of each run that a merge holds."""


class Ledger:
    """Takes events in any order; goes through them in order of arrival, as often as is wanted.

    Those that compare equal stay in the order in which they came. What does not fit into memory
    lies in a file without a name in `folder`, which goes with the process.
    """

    def __init__(self, folder: Path, *, held: int = HELD) -> None:
        self._folder = folder
        self._limit = held
        self._held: list[AlarmEvent] = []
        self._file: IO[bytes] | None = None
        self._runs: list[tuple[int, int]] = []  # where each begins, and how many pieces it has

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        if self._file is not None:
            self._file.close()

    def add(self, event: AlarmEvent) -> None:
        """Takes in one more. Raises OSError where the disk is full."""
        self._held.append(event)
        if len(self._held) >= self._limit:
            self._write_run()

    def __iter__(self) -> Iterator[AlarmEvent]:
        self._held.sort(key=in_order_of_arrival)
        runs = (self._read(*run) for run in self._runs)
        return merge(*runs, iter(self._held), key=in_order_of_arrival)

    def _write_run(self) -> None:
        if self._file is None:
            self._file = tempfile.TemporaryFile(dir=self._folder)  # noqa: SIM115
        self._held.sort(key=in_order_of_arrival)
        start = self._file.seek(0, 2)
        pieces = range(0, len(self._held), READ_AT_ONCE)
        for first in pieces:
            pickle.dump(self._held[first : first + READ_AT_ONCE], self._file)
        self._runs.append((start, len(pieces)))
        self._held.clear()

    def _read(self, at: int, pieces: int) -> Iterator[AlarmEvent]:
        assert self._file is not None
        for _ in range(pieces):
            self._file.seek(at)
            piece: list[AlarmEvent] = pickle.load(self._file)  # noqa: S301 (we wrote it)
            at = self._file.tell()
            yield from piece
