"""Detectors over many connectors, with the clock that keeps order: the engine of detection.

A `Watch` holds the state of its connectors: the clock of each (the newest reading judged), how many
readings were judged, and a record for each detector. What is not newer than the clock is late or a
duplicate and reaches no detector; that some came can be noted (`note_late`), and a state that was
judged elsewhere, in order, put in the place of the connector's (`adopt`). `dump` and `load` carry
all of it through a checkpoint: the same readings give the
same findings, however they were cut into batches and whatever was restored in between.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import compress
from typing import TypeVar

import numpy as np

from ohmwatch.detector import (
    Batch,
    Clocked,
    Columns,
    Detector,
    Flags,
    Floats,
    Ratings,
    Silence,
    State,
    Times,
)
from ohmwatch.dumped import Dumped, read
from ohmwatch.findings import Finding
from ohmwatch.physics.known import Doubts
from ohmwatch.physics.sequence import Runs
from ohmwatch.rated import Rated
from ohmwatch.readings import QUANTITIES
from ohmwatch.stage import Stage, stages_of

Said = TypeVar("Said")

PORTION = 32_768
"""Readings that are shown at once. What detectors put beside them, some 100 numbers each, comes out
of memory that the portion before has used: it is neither asked of the system nor far from the core.
"""

Guard = Callable[[Detector | Stage], AbstractContextManager[None]]
"""Put around each stage's and detector's turn; may end it with an exception (a time limit, say)."""


@contextmanager
def no_guard(detector: Detector | Stage) -> Iterator[None]:
    """A turn without a limit."""
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

    @property
    def in_force(self) -> bool:
        return self.key == self.detector.name


@dataclass(frozen=True, slots=True)
class Judgement:
    """What became of a batch: the findings in order of measurement, and what was left out.

    `judged` are the readings that the detectors saw, sorted by connector, then time; `late`
    counts those that were not newer than their connector's clock. `known` are the columns that
    stages added, float64[runs]: of the newest reading judged of each connector, in the order of
    `judged`. `beside` holds the findings of posts that are not in force, by their key.
    """

    findings: list[Finding]
    judged: Batch
    late: int
    failed: dict[str, Exception] = field(default_factory=dict)
    known: Mapping[str, Floats] = field(default_factory=dict)
    beside: dict[str, list[Finding]] = field(default_factory=dict)


class Watch:
    """The state of detection for a set of connectors that grows as they are met.

    Not thread-safe. Memory: the sum of the stages' and detectors' records and 32 bytes a
    connector. What detectors share is computed once, by their stages (`ohmwatch.stage`).
    """

    def __init__(self, detectors: Sequence[Detector]) -> None:
        self.detectors = tuple(detectors)
        self.stages = stages_of(self.detectors)
        self.connectors: list[str] = []
        self._absent: dict[str, str] = {}
        self._position: dict[str, int] = {}
        self._clock_ms: Times = np.zeros(0, dtype=np.int64)
        self._judged: Times = np.zeros(0, dtype=np.int64)
        self._first_ms: Times = np.zeros(0, dtype=np.int64)
        self._late: Times = np.zeros(0, dtype=np.int64)
        self._states: dict[str, State] = {
            each.name: np.zeros(0, dtype=each.state_dtype) for each in self._turns()
        }

    def clock_ms(self, connector: str) -> int:
        """The newest reading of the connector that was judged; 0 if there was none."""
        position = self._position.get(connector)
        return 0 if position is None else int(self._clock_ms[position])

    def judged(self, connector: str) -> int:
        """How many readings of the connector were judged."""
        position = self._position.get(connector)
        return 0 if position is None else int(self._judged[position])

    def first_ms(self, connector: str) -> int:
        """The reading of the connector that was judged first; 0 where that is not known."""
        position = self._position.get(connector)
        return 0 if position is None else int(self._first_ms[position])

    def knows(self, connector: str) -> bool:
        """Whether the connector was met."""
        return connector in self._position

    def begin(self, connector: str, clock_ms: int) -> None:
        """Meets a connector of which only what is newer than an instant is to be judged."""
        (at,) = self._positions([connector])
        self._clock_ms[at] = clock_ms

    def note_late(self, connectors: Iterable[str]) -> None:
        """Notes that readings came that were not newer than these connectors' clocks. Each time
        has a number, one more than the last."""
        own = self._positions(list(dict.fromkeys(connectors)))
        self._late[own] = self.newest_late() + 1

    def late(self, after: int) -> dict[str, int]:
        """The connectors of which that was noted after a number, and its newest number."""
        found = np.flatnonzero(self._late > after).tolist()
        return {self.connectors[at]: int(self._late[at]) for at in found}

    def newest_late(self) -> int:
        """The number that was noted last; 0 if there was none."""
        return int(self._late.max(initial=0))

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

        A large batch is shown in portions: a turn is one over PORTION readings at most.
        """
        return observe([(self, len(batch.connectors))], batch, ratings, guard=guard, posts=posts)

    def _count(self, own: np.ndarray, fresh: Batch, starts: np.ndarray, ends: np.ndarray) -> None:
        """Takes in that these runs of readings were judged; run i is of the connector at own[i]."""
        self._clock_ms[own] = fresh.time_ms[ends]
        begins = self._judged[own] == 0
        if begins.any():
            self._first_ms[own[begins]] = fresh.time_ms[starts[begins]]
        self._judged[own] += ends - starts + 1

    def lapse(
        self,
        silence: Silence,
        ratings: Sequence[Ratings],
        *,
        guard: Guard = no_guard,
        posts: Sequence[Post] | None = None,
    ) -> Judgement:
        """Shows the clock to those detectors that state what no reading shows.

        `silence.connectors` have all been met, each once, and `ratings[i]` belongs to the i-th.
        Their clocks stay where they are. The rest is as for `observe`.
        """
        crowd = _Crowd.of([(self, len(silence.connectors))], silence.connectors)
        failed: dict[str, Exception] = {}
        findings: list[Finding] = []
        beside: dict[str, list[Finding]] = {}
        for post in sorted(_posts(crowd, posts), key=lambda each: each.in_force):
            if not isinstance(post.detector, Clocked):
                continue
            work = partial(post.detector.lapse, silence, ratings)
            said = crowd.turn(post.detector, post.key, guard, failed, work, post.watching)
            those = findings if post.in_force else beside.setdefault(post.key, [])
            those += _of_watched(said or [], silence.connectors, post.watching)
        for several in (findings, *beside.values()):
            several.sort(key=lambda each: (each.measured_ms, each.connector, each.condition))
        nothing = Batch.of_one("", [])
        return Judgement(findings, nothing, 0, failed, beside=beside)

    def forget(self, is_gone: Callable[[str], bool]) -> None:
        """Drops the state of those keys, other than the detectors' own, that are gone."""
        own = {*self._absent, *(each.name for each in self._turns())}
        self._states = {
            key: state for key, state in self._states.items() if key in own or not is_gone(key)
        }

    def leave(self, is_gone: Callable[[str], bool]) -> int:
        """Drops all that is known of those connectors; how many they were."""
        stays = [not is_gone(each) for each in self.connectors]
        left = stays.count(False)
        if left:
            self.connectors = list(compress(self.connectors, stays))
            self._position = {each: at for at, each in enumerate(self.connectors)}
            kept = np.array(stays, dtype=np.bool_)
            self._clock_ms, self._judged = self._clock_ms[kept], self._judged[kept]
            self._late, self._first_ms = self._late[kept], self._first_ms[kept]
            self._states = {key: state[kept] for key, state in self._states.items()}
        return left

    def lapsed_ms(self, key: str, connector: str) -> int:
        """When a clock was last what made the detector of this state say something of a connector;
        0 where it never was, or no clock is shown to it."""
        at, state = self._position.get(connector), self._states.get(key)
        if at is None or state is None:
            return 0
        for each in self.detectors:
            if each.name == key.partition("@")[0] and isinstance(each, Clocked):
                return int(each.lapsed_ms(state[at : at + 1])[0])
        return 0

    def beside(self) -> set[str]:
        """The keys of what is known beside the detectors' own: of what is not in force."""
        own = {*self._absent, *(each.name for each in self._turns())}
        return {key for key in self._states if key.partition("@")[0] not in self._absent} - own

    def copy_of(self, connectors: Sequence[str], *, beside: Iterable[str] = ()) -> "Watch":
        """Another watch that knows of these connectors, as far as they were met, what this does.

        Of the keys `beside` that are not known here it knows what they would begin with.
        """
        met = [each for each in connectors if each in self._position]
        copy = Watch(self.detectors)
        own, its = self._positions(met), copy._positions(met)
        copy._clock_ms[its], copy._judged[its] = self._clock_ms[own], self._judged[own]
        for key in {*copy._states, *self.beside(), *beside}:
            known = self._states.get(key, self._states.get(key.partition("@")[0]))
            if known is not None:
                copy._states[key] = np.zeros(len(met), dtype=known.dtype)
                copy._states[key][its] = known[own]
        return copy

    def adopt(
        self, connectors: Sequence[str], other: "Watch", keys: Iterable[str] | None = None
    ) -> None:
        """Takes the records of these connectors, which both have met, from another watch of the
        same detectors: those of these keys, or all that it has. What was noted as late stays, and
        which reading was judged first."""
        own, its = self._positions(connectors), other._positions(connectors)
        self._clock_ms[own], self._judged[own] = other._clock_ms[its], other._judged[its]
        for key in other._states.keys() & (other._states.keys() if keys is None else set(keys)):
            theirs = other._states[key]
            mine = self._states.setdefault(key, np.zeros(len(self._clock_ms), dtype=theirs.dtype))
            mine[own] = theirs[its]

    def _make(self, post: Post) -> None:
        """Makes the records of a post that has none here, or of another shape: its parameters
        have changed."""
        kept, dtype = self._states.get(post.key), post.detector.state_dtype
        if kept is None or not (post.in_force or kept.dtype == dtype):
            born = self._states.get(post.detector.name)
            fits = born is not None and born.dtype == dtype
            fresh = np.zeros(len(self._clock_ms), dtype=dtype)
            self._states[post.key] = born.copy() if born is not None and fits else fresh

    def _turns(self) -> tuple[Detector | Stage, ...]:
        return (*self.stages, *self.detectors)

    def dump(self) -> bytes:
        """Everything that `load` needs, as bytes."""
        versions = [f"{each.name} {each.version}" for each in self._turns()]
        versions += self._absent.values()
        counts = {"judged": self._judged, "first_ms": self._first_ms, "late": self._late}
        return Dumped.of(
            self.connectors, self._clock_ms, versions, self._states, counts=counts
        ).to_bytes()

    @classmethod
    def load(
        cls, dumped: bytes, detectors: Sequence[Detector], *, keep_absent: bool = False
    ) -> "Watch":
        """The watch that `dump` described; empty bytes are an empty watch.

        A detector that is new, or whose record has changed its shape, starts anew; the clock
        and the others go on, and so does what was not in force, of detectors that are here.
        With `keep_absent` the records of those that are not here stay as they are, and are dumped
        again: for who is still on the way.
        """
        watch = cls(detectors)
        if not dumped:
            return watch
        kept = read(dumped)
        watch._positions(kept.connectors)
        watch._clock_ms = kept.clock_ms
        if kept.counts:  # not in what older versions dumped
            watch._judged, watch._late = kept.count("judged"), kept.count("late")
            watch._first_ms = kept.count("first_ms")
        keepers = {each.name: each for each in watch._turns()}
        if keep_absent:
            told = {each.partition(" ")[0]: each for each in kept.versions}
            watch._absent = {name: said for name, said in told.items() if name not in keepers}
        for key in kept.states:
            name = key.partition("@")[0]
            keeper = keepers.get(name)
            if name in watch._absent:
                watch._states[key] = kept.state_as_it_was(key)
            elif keeper is not None and f"{name} {keeper.version}" in kept.versions:
                state = kept.state(key, keeper.state_dtype)
                if state is not None:
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
        if size <= len(self._clock_ms):
            return
        self._clock_ms, self._judged = _grown(self._clock_ms, size), _grown(self._judged, size)
        self._late, self._first_ms = _grown(self._late, size), _grown(self._first_ms, size)
        self._states = {key: _grown(state, size) for key, state in self._states.items()}


def observe(
    watches: Sequence[tuple[Watch, int]],
    batch: Batch,
    ratings: Sequence[Ratings],
    *,
    guard: Guard = no_guard,
    posts: Sequence[Post] | None = None,
) -> Judgement:
    """As `Watch.observe`, of several watches of the same detectors at one go: so many of the
    batch's connectors, in their order, are the first one's, so many the second's.

    Each of them comes to what it would have come to alone. A turn costs something whatever it is
    shown, and here all share it; a detector that raises keeps the state it had in all of them.
    """
    crowd = _Crowd.of(watches, batch.connectors)
    fresh = _newer(batch, crowd.clock_ms())
    runs = Runs.of(fresh.connector)
    turns = _posts(crowd, posts)
    whole = Judgement([], fresh, late=len(batch) - len(fresh))
    known: list[Mapping[str, Floats]] = []
    for piece, among, start in _portions(fresh):
        told = _show(
            piece,
            Rated(ratings[among]),
            crowd.among(among),
            _among(turns, among),
            guard=guard,
            whole=whole,
        )
        ends = _between(runs.ends, start, start + len(piece)) - start
        newest = Columns(told, ends)
        # Cut now where more follows: the portion's memory is for the next one.
        known.append(newest if len(piece) == len(fresh) else dict(newest))
    crowd.count(fresh, runs)
    for several in (whole.findings, *whole.beside.values()):
        several.sort(key=lambda each: (each.measured_ms, each.connector, each.condition))
    return replace(whole, known=known[0] if len(known) == 1 else _Joined(known))


def _show(
    fresh: Batch,
    ratings: Sequence[Ratings],
    crowd: "_Crowd",
    posts: Sequence[Post],
    *,
    guard: Guard,
    whole: Judgement,
) -> Mapping[str, Floats]:
    """Lets all have their turn, and adds what they state to the `whole`; stages' columns."""
    known: dict[str, Floats] = {}
    for stage in crowd.stages:
        work = partial(stage.columns, fresh, ratings)
        known.update(crowd.turn(stage, stage.name, guard, whole.failed, work) or {})
    shown = fresh.with_columns(known)
    doubts = Doubts(shown)
    # First what is not in force: it begins with the state before this batch.
    for post in sorted(posts, key=lambda each: each.in_force):
        watching = post.watching
        its = shown if watching is None else shown.rows(watching[shown.connector])
        work_on = partial(post.detector.observe, its, ratings)
        said = crowd.turn(post.detector, post.key, guard, whole.failed, work_on, watching)
        findings = whole.findings if post.in_force else whole.beside.setdefault(post.key, [])
        findings += doubts.of(said or [])
    return known


@dataclass(frozen=True, slots=True)
class _Part:
    """Of a batch's connectors the `rows` are a watch's, whose records lie at `own` there."""

    watch: Watch
    rows: slice
    own: np.ndarray


@dataclass(frozen=True, slots=True)
class _Crowd:
    """The connectors of a batch, whose records lie in one watch or several."""

    parts: list[_Part]

    @classmethod
    def of(cls, watches: Sequence[tuple[Watch, int]], connectors: Sequence[str]) -> "_Crowd":
        parts: list[_Part] = []
        start = 0
        for watch, size in watches:
            rows = slice(start, start := start + size)
            parts.append(_Part(watch, rows, watch._positions(connectors[rows])))
        return cls(parts)

    @property
    def stages(self) -> tuple[Stage, ...]:
        return self.parts[0].watch.stages

    @property
    def detectors(self) -> tuple[Detector, ...]:
        return self.parts[0].watch.detectors

    def among(self, among: slice) -> "_Crowd":
        """Those of the connectors."""
        if among == slice(None):
            return self
        parts: list[_Part] = []
        for part in self.parts:
            first, end = max(part.rows.start, among.start), min(part.rows.stop, among.stop)
            if first < end:
                rows = slice(first - among.start, end - among.start)
                own = part.own[first - part.rows.start : end - part.rows.start]
                parts.append(_Part(part.watch, rows, own))
        return _Crowd(parts)

    def clock_ms(self) -> Times:
        """Of each connector the newest reading that was judged."""
        return np.concatenate([part.watch._clock_ms[part.own] for part in self.parts])

    def count(self, fresh: Batch, runs: Runs) -> None:
        """Takes in that these readings were judged."""
        for part in self.parts:
            at = slice(*np.searchsorted(runs.owner, (part.rows.start, part.rows.stop)))
            own = part.own[runs.owner[at] - part.rows.start]
            part.watch._count(own, fresh, runs.starts[at], runs.ends[at])

    def turn(
        self,
        each: Detector | Stage,
        key: str,
        guard: Guard,
        failed: dict[str, Exception],
        work: Callable[[State], Said],
        watching: Flags | None = None,
    ) -> Said | None:
        """Lets one work on a copy of its records; kept unless it raises, which is noted.

        Of the records, only those of the connectors that it is `watching` move on.
        """
        holders = [part for part in self.parts if key in part.watch._states]
        if not holders:  # it watches others
            return None
        dtype = holders[0].watch._states[key].dtype
        # Zeros where a watch has no such records: then none of its connectors is watched.
        bare = np.zeros(self.parts[-1].rows.stop, dtype=np.dtype((np.void, dtype.itemsize)))
        for part in holders:
            bare[part.rows] = _bare(part.watch._states[key])[part.own]
        record = bare.getfield(dtype)  # as a view, in a tenth of its time
        try:
            with guard(each):
                said = work(record)
        except Exception as error:
            failed.setdefault(key, error)
            return None
        for part in holders:
            kept, its = _bare(part.watch._states[key]), bare[part.rows]
            if watching is None:
                kept[part.own] = its
            else:
                kept[part.own[watching[part.rows]]] = its[watching[part.rows]]
        return said


def _posts(crowd: _Crowd, posts: Sequence[Post] | None) -> Sequence[Post]:
    """Who has a turn; each has records where it watches anybody."""
    if posts is None:
        return [Post(each.name, each) for each in crowd.detectors]
    for post in posts:
        for part in crowd.parts:
            if post.watching is None or post.watching[part.rows].any():
                part.watch._make(post)
    return posts


def _newer(batch: Batch, clock_ms: Times) -> Batch:
    """The readings past their connector's clock, sorted, the first of each instant."""
    if not len(batch):
        return batch
    order = _in_order(batch)
    connector, time_ms = batch.connector[order], batch.time_ms[order]
    first = np.ones(len(order), dtype=np.bool_)
    first[1:] = (connector[1:] != connector[:-1]) | (time_ms[1:] != time_ms[:-1])
    chosen = order[first & (time_ms > clock_ms[connector])]
    cut = Columns(batch.values, chosen)
    return Batch(
        connectors=batch.connectors,
        connector=batch.connector[chosen],
        time_ms=batch.time_ms[chosen],
        arrived_ms=batch.arrived_ms[chosen],
        # A large batch is cut portion by portion.
        values=dict(cut) if len(chosen) <= PORTION else cut,
    )


def _between(indices: np.ndarray, start: int, stop: int) -> np.ndarray:
    """Those of rising indices that lie from start on and before stop."""
    return indices[slice(*np.searchsorted(indices, (start, stop)))]


def _in_order(batch: Batch) -> np.ndarray:
    """The readings by connector, then time, then arrival, as positions in the batch."""
    connector, time_ms = batch.connector, batch.time_ms
    is_next = connector[1:] > connector[:-1]
    is_next |= (connector[1:] == connector[:-1]) & (time_ms[1:] > time_ms[:-1])
    if is_next.all():
        return np.arange(len(batch))
    return np.lexsort((batch.arrived_ms, time_ms, connector))


def _grown(records: State, size: int) -> np.ndarray:
    """The same records, and as many behind them as make up the size: zeros."""
    grown = np.zeros(size, dtype=records.dtype)
    _bare(grown)[: len(records)] = _bare(records)  # numpy would compare the fields one by one
    return grown


def _bare(records: State) -> np.ndarray:
    """The same memory without the fields' names, to move whole: thirty times as fast."""
    return records.view(np.dtype((np.void, records.dtype.itemsize)))


def _portions(batch: Batch) -> Iterator[tuple[Batch, slice, int]]:
    """The batch, PORTION readings at a time, whose they are among its connectors, and where in the
    batch they begin."""
    if len(batch) <= PORTION:
        yield batch, slice(None), 0
        return
    for start in range(0, len(batch), PORTION):
        rows = slice(start, start + PORTION)
        connector = batch.connector[rows]
        among = slice(int(connector[0]), int(connector[-1]) + 1)
        values = batch.values
        piece = Batch(
            connectors=batch.connectors[among],
            connector=connector - connector[0],
            time_ms=batch.time_ms[rows],
            arrived_ms=batch.arrived_ms[rows],
            values=(
                values.stretch(rows)
                if isinstance(values, Columns)
                else {name: column[rows] for name, column in values.items()}
            ),
        )
        yield piece, among, start


def _among(posts: Sequence[Post], among: slice) -> Sequence[Post]:
    """The posts, told of these connectors."""
    return [
        post if post.watching is None else replace(post, watching=post.watching[among])
        for post in posts
    ]


class _Joined(Mapping[str, Floats]):
    """Columns that all of several portions have; one is put together when it is asked for."""

    def __init__(self, parts: Sequence[Mapping[str, Floats]]) -> None:
        self._parts = parts

    def __getitem__(self, name: str) -> Floats:
        return np.concatenate([part[name] for part in self._parts])

    def __iter__(self) -> Iterator[str]:
        return (name for name in self._parts[0] if all(name in part for part in self._parts))

    def __len__(self) -> int:
        return sum(1 for _name in self)


def _of_watched(
    said: list[Finding], connectors: Sequence[str], watching: Flags | None
) -> list[Finding]:
    if watching is None:
        return said
    chosen = {each for each, its in zip(connectors, watching.tolist(), strict=True) if its}
    return [finding for finding in said if finding.connector in chosen]


def warm_up(detectors: Sequence[Detector]) -> None:
    """Compiles what the detectors and their stages need, so that no turn has to.

    Seconds where nothing was kept on disk, else parts of one. Shows them a few readings of a
    connector that does not exist, in a watch that is thrown away.
    """
    times = np.arange(1, 4, dtype=np.int64) * 1000
    values = {name: np.ones(len(times)) for name in QUANTITIES}
    ratings = Ratings(
        rated_current_a=1.0,
        rated_voltage_v=1.0,
        temperature_limit_c=90.0,
        temperature_rise_limit_k=50.0,
        rated_mating_cycles=1000.0,
    )
    Watch(detectors).observe(Batch.of_one("nobody", times, **values), [ratings])
