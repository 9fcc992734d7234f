"""Detectors over many connectors, with the clock that keeps order: the engine of detection.

A `Watch` holds the state of its connectors: the clock of each (the newest reading judged) and a
record for each detector. What is not newer than the clock is late or a duplicate and reaches no
detector. `dump` and `load` carry all of it through a checkpoint: the same readings give the
same findings, however they were cut into batches and whatever was restored in between.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from io import BytesIO

import numpy as np

from ohmwatch.detector import Batch, Detector, Flags, Ratings, State, Times
from ohmwatch.findings import Finding

Guard = Callable[[Detector], AbstractContextManager[None]]
"""Put around each detector's turn; may end it with an exception (a time limit, say)."""


@contextmanager
def no_guard(detector: Detector) -> Iterator[None]:
    """A detector's turn without a limit."""
    yield


@dataclass(frozen=True, slots=True)
class Post:
    """A detector at work on some connectors of a batch.

    `watching` (bool[len(batch.connectors)]) are those that it judges; None is all of them. `key`
    names the state it carries on. Under the detector's own name it is in force: several variants
    of a detector may share that state, each for other connectors. Any other key begins, at its
    first turn, with what the detector's own state is then; it reads `<name>@<anything>`.
    """

    key: str
    detector: Detector
    watching: Flags | None = None


@dataclass(frozen=True, slots=True)
class Judgement:
    """What became of a batch: the findings in order of measurement, and what was left out.

    `judged` are the readings that the detectors saw, sorted by connector, then time; `late`
    counts those that were not newer than their connector's clock. `beside` holds the findings of
    posts that are not in force, by their key.
    """

    findings: list[Finding]
    judged: Batch
    late: int
    failed: dict[str, Exception] = field(default_factory=dict)
    beside: dict[str, list[Finding]] = field(default_factory=dict)


class Watch:
    """The state of detection for a set of connectors that grows as they are met.

    Not thread-safe. Memory: the sum of the detectors' records and 8 bytes a connector.
    """

    def __init__(self, detectors: Sequence[Detector]) -> None:
        self.detectors = tuple(detectors)
        self.connectors: list[str] = []
        self._position: dict[str, int] = {}
        self._clock_ms: Times = np.zeros(0, dtype=np.int64)
        self._states: dict[str, State] = {
            each.name: np.zeros(0, dtype=each.state_dtype) for each in self.detectors
        }

    def clock_ms(self, connector: str) -> int:
        """The newest reading of the connector that was judged; 0 if there was none."""
        position = self._position.get(connector)
        return 0 if position is None else int(self._clock_ms[position])

    def newest_ms(self) -> int:
        """The newest reading of all connectors that was judged; 0 if there was none."""
        return int(self._clock_ms.max(initial=0))

    def observe(
        self,
        batch: Batch,
        ratings: Sequence[Ratings],
        *,
        guard: Guard = no_guard,
        posts: Sequence[Post] | None = None,
    ) -> Judgement:
        """Shows the batch to every detector. `ratings[i]` belongs to `batch.connectors[i]`.

        The batch may hold late and repeated readings in any order. A detector that raises is
        named in `failed` with its error, keeps the state it had, and stops nobody else. `posts`
        say who judges whom; without them every detector judges every connector.
        """
        own = self._positions(batch.connectors)
        fresh = self._newer(batch, own)
        findings: list[Finding] = []
        failed: dict[str, Exception] = {}
        beside: dict[str, list[Finding]] = {}
        # First what is not in force: it begins with the state before this batch.
        for post in sorted(self._posts(posts), key=lambda each: each.key == each.detector.name):
            try:
                said = self._turn(post, fresh, ratings, own, guard)
            except Exception as error:
                failed[post.key] = error
                continue
            if post.key == post.detector.name:
                findings += said
            else:
                beside.setdefault(post.key, []).extend(said)
        runs_end = np.flatnonzero(np.diff(fresh.connector, append=-1))
        self._clock_ms[own[fresh.connector[runs_end]]] = fresh.time_ms[runs_end]
        for several in (findings, *beside.values()):
            several.sort(key=lambda each: (each.measured_ms, each.connector, each.condition))
        return Judgement(findings, fresh, len(batch) - len(fresh), failed, beside)

    def forget(self, is_gone: Callable[[str], bool]) -> None:
        """Drops the state of those keys, other than the detectors' own, that are gone."""
        own = {each.name for each in self.detectors}
        self._states = {
            key: state for key, state in self._states.items() if key in own or not is_gone(key)
        }

    def _posts(self, posts: Sequence[Post] | None) -> Sequence[Post]:
        if posts is None:
            return [Post(each.name, each) for each in self.detectors]
        for post in posts:
            if post.key not in self._states:
                born = self._states.get(post.detector.name)
                fits = born is not None and born.dtype == post.detector.state_dtype
                size = len(self._clock_ms)
                fresh = np.zeros(size, dtype=post.detector.state_dtype)
                self._states[post.key] = born.copy() if born is not None and fits else fresh
        return posts

    def _turn(
        self, post: Post, fresh: Batch, ratings: Sequence[Ratings], own: np.ndarray, guard: Guard
    ) -> list[Finding]:
        """One detector's turn; its state moves on only if it ends well."""
        states = self._states[post.key]
        record = states[own]
        shown = fresh if post.watching is None else fresh.rows(post.watching[fresh.connector])
        with guard(post.detector):
            said = post.detector.observe(shown, ratings, record)
        if post.watching is None:
            states[own] = record
        else:
            states[own[post.watching]] = record[post.watching]
        return said

    def dump(self) -> bytes:
        """Everything that `load` needs, as bytes."""
        arrays = {f"state.{name}": state for name, state in self._states.items()}
        target = BytesIO()
        np.savez(
            target,
            allow_pickle=False,
            connectors=np.array(self.connectors, dtype=np.str_),
            clock_ms=self._clock_ms,
            versions=np.array([f"{each.name} {each.version}" for each in self.detectors]),
            **arrays,
        )
        return target.getvalue()

    @classmethod
    def load(cls, dumped: bytes, detectors: Sequence[Detector]) -> "Watch":
        """The watch that `dump` described; empty bytes are an empty watch.

        A detector that is new, or whose record has changed its shape, starts anew; the clock
        and the others go on, and so does what was not in force, of detectors that are here.
        """
        watch = cls(detectors)
        if not dumped:
            return watch
        with np.load(BytesIO(dumped), allow_pickle=False) as stored:
            watch._positions([str(each) for each in stored["connectors"]])
            watch._clock_ms = stored["clock_ms"]
            versions = set(stored["versions"].tolist())
            known = {
                each.name: each
                for each in watch.detectors
                if f"{each.name} {each.version}" in versions
            }
            for entry in stored.files:
                key = entry.removeprefix("state.")
                detector = known.get(key.partition("@")[0])
                if key == entry or detector is None:
                    continue
                if (state := stored[entry]).dtype == detector.state_dtype:
                    watch._states[key] = state
        return watch

    def _positions(self, connectors: Sequence[str]) -> np.ndarray:
        """Where each connector's state lies; makes room for those never met."""
        for connector in connectors:
            if connector not in self._position:
                self._position[connector] = len(self.connectors)
                self.connectors.append(connector)
        self._grow(len(self.connectors))
        return np.array([self._position[each] for each in connectors], dtype=np.int64)

    def _grow(self, size: int) -> None:
        missing = size - len(self._clock_ms)
        if missing <= 0:
            return
        self._clock_ms = np.concatenate([self._clock_ms, np.zeros(missing, dtype=np.int64)])
        for name, state in self._states.items():
            new = np.zeros(missing, dtype=state.dtype)
            self._states[name] = np.concatenate([state, new])

    def _newer(self, batch: Batch, own: np.ndarray) -> Batch:
        """The readings past their connector's clock, sorted, the first of each instant."""
        if not len(batch):
            return batch
        order = np.lexsort((batch.arrived_ms, batch.time_ms, batch.connector))
        connector, time_ms = batch.connector[order], batch.time_ms[order]
        first = np.ones(len(order), dtype=np.bool_)
        first[1:] = (connector[1:] != connector[:-1]) | (time_ms[1:] != time_ms[:-1])
        chosen = order[first & (time_ms > self._clock_ms[own[connector]])]
        return Batch(
            connectors=batch.connectors,
            connector=batch.connector[chosen],
            time_ms=batch.time_ms[chosen],
            arrived_ms=batch.arrived_ms[chosen],
            values={name: column[chosen] for name, column in batch.values.items()},
        )
