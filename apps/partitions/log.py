"""The partitions' logs: which readings are still to be judged, in the order they were stored.

A partition is a hash of (tenant, connector); its log is a Redis stream. Acquisition appends,
the holder of the partition's lease reads, and trims what a checkpoint has made durable. Redis
may lose all of it at any time: `generation` changes then, and detection reads the readings
again from Elasticsearch.
"""

import secrets
import zlib
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import accumulate, groupby, pairwise
from typing import Any, Self

import msgspec
import numpy as np
import redis
from django.conf import settings
from numpy.typing import NDArray

from apps.partitions.wakeups import PATIENCE_MS, REORDER_WINDOW_MS, send_wakeups, wake_key
from ohmwatch.readings import Sheet, as_stored

GENERATION_KEY = "ow:log:generation"
START = "0-0"
RUN_ID_KEPT = 12
"""Of the server's run id, in the name of a generation."""

_WAIT_MS = REORDER_WINDOW_MS + PATIENCE_MS

# XINFO STREAM answers with the first and the last entry in full, megabytes a second of them.
LAST_ENTRY = """
if redis.call('exists', KEYS[1]) == 0 then return false end
local info = redis.call('xinfo', 'stream', KEYS[1])
for at = 1, #info, 2 do if info[at] == 'last-generated-id' then return info[at + 1] end end
"""

_OLDEST = """
local found = {}
for at = 1, #KEYS do
    local entry = redis.call('xrange', KEYS[at], '-', '+', 'count', 1)[1]
    found[at] = entry and entry[1] or false
end
return {redis.call('time'), found}
"""
"""The ids alone: an entry has the readings of a batch."""

# One command for a batch's entries: as two for each of them they take longer to write and to read
# back than all the rest of appending. Says which of them nobody has been woken for yet.
APPEND = """
local unwoken = {}
for at = 1, #KEYS, 2 do
    redis.call('xadd', KEYS[at], '*', ARGV[1], ARGV[(at + 5) / 2])
    if redis.call('set', KEYS[at + 1], '1', 'NX', 'PX', ARGV[2]) then
        unwoken[#unwoken + 1] = (at - 1) / 2
    end
end
return unwoken
"""


Wake = Callable[[Iterable[int], int], None]
"""Asks for a pass over each of the partitions after so many ms."""


@lru_cache(maxsize=65_536)
def partition_of(tenant: str, connector: str, partitions: int) -> int:
    """The partition of a connector, 0 … partitions − 1: the same in every process, for ever.

    Golden values are pinned by a test: another hash would part checkpoints from their readings.
    """
    return zlib.crc32(f"{tenant}/{connector}".encode()) % partitions


def log_key(partition: int) -> str:
    """The stream's name in Redis."""
    return f"ow:log:{partition}"


@dataclass(frozen=True, slots=True)
class Chunk:
    """Readings of one connector as they were stored together; `arrived_ms` is their arrival.

    `time_ms` int64[n]; `values` float64[n] a quantity, NaN for none. The log carries
    what detectors need: no dimensions; and the values as the store keeps them (`as_stored`).
    """

    tenant: str
    connector: str
    arrived_ms: int
    time_ms: NDArray[np.int64]
    values: Mapping[str, NDArray[np.float64]]


@dataclass(frozen=True, slots=True)
class Rows:
    """Single readings of many connectors side by side: a chunk for each row, without the objects.

    `time_ms` int64[n]; `sheet` has a column for each row.
    """

    tenants: list[str]
    connectors: list[str]
    arrived_ms: int
    time_ms: NDArray[np.int64]
    sheet: Sheet


@dataclass(frozen=True, slots=True)
class Stack:
    """Chunks of the same quantities side by side, as an entry of a log holds them.

    The i-th chunk is of `connectors[i]` of `tenants[i]` and ends before reading `ends[i]`;
    `time_ms` int64[n], `matrix` float64[names, n], NaN for none.
    """

    names: tuple[str, ...]
    tenants: list[str]
    connectors: list[str]
    arrived_ms: list[int]
    ends: list[int]
    time_ms: NDArray[np.int64]
    matrix: NDArray[np.float64]

    def chunks(self) -> Iterator[Chunk]:
        """One after the other, each with the quantities that it has values of."""
        owners = zip(self.tenants, self.connectors, self.arrived_ms, strict=True)
        stretches = pairwise((0, *self.ends))
        for (tenant, connector, arrived_ms), (a, b) in zip(owners, stretches, strict=True):
            columns = zip(self.names, self.matrix[:, a:b], strict=True)
            said = {name: one for name, one in columns if not np.isnan(one).all()}
            yield Chunk(tenant, connector, arrived_ms, self.time_ms[a:b], said)


@dataclass(frozen=True, slots=True)
class Entry:
    """One entry of a log. `stacks` is None where its bytes can't be read."""

    id: str
    stacks: list[Stack] | None

    @property
    def chunks(self) -> list[Chunk] | None:
        """Its readings as they were appended; None where its bytes can't be read."""
        if self.stacks is None:
            return None
        return [chunk for stack in self.stacks for chunk in stack.chunks()]

    @property
    def stored_ms(self) -> int:
        """When it was appended, by Redis's clock."""
        return int(self.id.partition("-")[0])


@dataclass(frozen=True, slots=True)
class Page:
    """Entries of a log, oldest first, and when they were read (ms, by Redis's clock, which names
    them): what was appended until then is among them, unless as many were asked for."""

    now_ms: int
    entries: list[Entry]


@dataclass(frozen=True, slots=True)
class Position:
    """A place in a log: the log's generation, and the id of the last entry that was judged."""

    generation: str = ""
    entry: str = START

    @classmethod
    def parse(cls, text: str) -> Self:
        generation, _slash, entry = text.partition("/")
        return cls(generation, entry) if entry else cls()

    def __str__(self) -> str:
        return f"{self.generation}/{self.entry}"


class _Packed(msgspec.Struct, array_like=True):
    """Chunks of the same quantities side by side. `ends[i]` is where the i-th chunk's readings end;
    `time_ms` is int64[n], `values` float64[names, n], both little-endian."""

    names: tuple[str, ...]
    tenants: list[str]
    connectors: list[str]
    arrived_ms: list[int]
    ends: list[int]
    time_ms: bytes
    values: bytes


_pack = msgspec.msgpack.Encoder().encode
_unpack = msgspec.msgpack.Decoder(list[_Packed]).decode
_FIELD = b"s"
"""Names the form of an entry's bytes: another form gets another name."""


class PartitionLog:
    """All partitions' logs in one Redis database. Safe to use from any thread."""

    def __init__(
        self,
        client: redis.Redis,
        partitions: int | None = None,
        *,
        wake: Wake = send_wakeups,
    ) -> None:
        self._redis = client
        self._append: Callable[..., Any] = client.register_script(APPEND)
        self._wake = wake
        self.partitions = partitions or settings.ENVIRONMENT.partitions

    def append(self, chunks: Iterable[Chunk], rows: Iterable[Rows] = ()) -> None:
        """Appends each chunk and row to its partition's log, then wakes who judges it.

        One entry a partition a call. Raises redis.RedisError where not all is in; appending again
        is harmless, detection's clock drops repeats. A wake-up that can't be sent raises nothing:
        the sweep finds what lies unread.
        """
        entries: defaultdict[int, list[_Packed]] = defaultdict(list)
        for partition, packed in _packed(chunks, self.partitions):
            entries[partition].append(packed)
        for each in rows:
            for partition, packed in _packed_rows(each, self.partitions):
                entries[partition].append(packed)
        if not entries:
            return
        partitions = list(entries)
        unwoken = self._append(
            keys=[key for each in partitions for key in (log_key(each), wake_key(each))],
            args=[_FIELD, _WAIT_MS, *map(_pack, entries.values())],
        )
        self._wake([partitions[place] for place in unwoken], REORDER_WINDOW_MS)

    def wake(self, partition: int) -> None:
        """Asks for a pass, unless one is still to come."""
        if self._redis.set(wake_key(partition), b"1", nx=True, px=_WAIT_MS):
            self.send(partition, REORDER_WINDOW_MS)

    def send(self, partition: int, in_ms: int) -> None:
        """Asks for a pass after so long; for who has seen that none is to come."""
        self._wake([partition], in_ms)

    def read(self, partition: int, after: str, *, count: int) -> Page:
        """Up to `count` entries behind the entry id `after`, oldest first."""
        (page,) = self.read_several([(partition, after)], count=count)
        return page

    def read_several(self, places: Sequence[tuple[int, str]], *, count: int) -> list[Page]:
        """The same of several partitions, at one go."""
        with self._redis.pipeline(transaction=False) as pipeline:
            pipeline.time()  # first: all that was appended until then is read
            for partition, after in places:
                pipeline.xrange(log_key(partition), min=f"({after}", count=count)
            (seconds, microseconds), *found = pipeline.execute()
        now_ms = int(seconds) * 1000 + int(microseconds) // 1000
        return [
            Page(now_ms, [Entry(name.decode(), _stacks(fields)) for name, fields in entries])
            for entries in found
        ]

    def last_entry(self, partition: int) -> str | None:
        """The id of the newest entry ever appended; None where there is no log."""
        last: Any = self._redis.eval(LAST_ENTRY, 1, log_key(partition))
        return last.decode() if last else None

    def unjudged_s(self) -> list[float]:
        """How long the oldest entry that no checkpoint covers has lain in each log; 0: there is
        none. Raises redis.RedisError."""
        keys = [log_key(partition) for partition in range(self.partitions)]
        answer: Any = self._redis.eval(_OLDEST, len(keys), *keys)
        (seconds, microseconds), oldest = answer
        now_ms = int(seconds) * 1000 + int(microseconds) // 1000
        return [
            max(0, now_ms - Entry(name.decode(), None).stored_ms) / 1000 if name else 0.0
            for name in oldest
        ]

    def trim(self, partition: int, judged: str) -> None:
        """Drops all entries up to and including the id `judged`."""
        self.trim_several({partition: judged})

    def trim_several(self, judged: Mapping[int, str]) -> None:
        """The same of several partitions, each with its id, at one go."""
        with self._redis.pipeline(transaction=False) as pipeline:
            for partition, entry in judged.items():
                milliseconds, _dash, number = entry.partition("-")
                pipeline.xtrim(
                    log_key(partition),
                    minid=f"{milliseconds}-{int(number) + 1}",
                    approximate=False,
                )
            pipeline.execute()

    def generation(self) -> str:
        """Names this life of the logs: another one after a flush, a restart or a failover.

        The server's run id tells a restart, which may have lost the newest entries; a key of our
        own tells a flush.
        """
        self._redis.set(GENERATION_KEY, new_generation(), nx=True)
        with self._redis.pipeline(transaction=False) as pipeline:
            pipeline.get(GENERATION_KEY)
            pipeline.info("server")
            mark, server = pipeline.execute()
        return generation_of(mark, server["run_id"])


def generation_of(mark: bytes | None, run_id: str) -> str:
    """The name of the life of the logs with this mark, on the server of this run id."""
    return f"{(mark or b'').decode()}.{run_id[:RUN_ID_KEPT]}"


def new_generation() -> bytes:
    """A name that no other life of the logs has had."""
    return secrets.token_hex(6).encode()


def is_behind(entry: str, other: str) -> bool:
    """Whether the first entry id is older than the second."""
    return _order(entry) < _order(other)


def _order(entry: str) -> tuple[int, int]:
    milliseconds, _dash, number = entry.partition("-")
    return int(milliseconds), int(number or 0)


def _packed(chunks: Iterable[Chunk], partitions: int) -> Iterator[tuple[int, _Packed]]:
    """What goes to each partition: in the chunks' order, but for those of other quantities, which
    stand together."""
    sheets: defaultdict[tuple[str, ...], list[Chunk]] = defaultdict(list)
    for chunk in chunks:
        if len(chunk.time_ms):
            sheets[tuple(chunk.values)].append(chunk)
    for names, same in sheets.items():
        yield from _packed_sheet(names, same, partitions)


def _packed_sheet(
    names: tuple[str, ...], chunks: Sequence[Chunk], partitions: int
) -> Iterator[tuple[int, _Packed]]:
    """Chunks of the same quantities, joined once for all partitions."""
    homes = [partition_of(chunk.tenant, chunk.connector, partitions) for chunk in chunks]
    order = sorted(range(len(chunks)), key=homes.__getitem__)
    chunks = [chunks[place] for place in order]
    times = np.concatenate([chunk.time_ms for chunk in chunks]).astype("<i8", copy=False)
    matrix = np.concatenate([Sheet.of(chunk.values).matrix for chunk in chunks], axis=1)
    matrix = as_stored(names, matrix)
    is_whole = not np.isnan(matrix).any()
    first = end = 0
    for partition, places in groupby(order, key=homes.__getitem__):
        its_chunks = chunks[first : first + len(list(places))]
        first += len(its_chunks)
        ends = list(accumulate(len(chunk.time_ms) for chunk in its_chunks))
        begin, end = end, end + ends[-1]
        its_names, part = _said(names, matrix[:, begin:end], is_whole=is_whole)
        yield (
            partition,
            _Packed(
                names=its_names,
                tenants=[chunk.tenant for chunk in its_chunks],
                connectors=[chunk.connector for chunk in its_chunks],
                arrived_ms=[chunk.arrived_ms for chunk in its_chunks],
                ends=ends,
                time_ms=times[begin:end].tobytes(),
                values=part.astype("<f8", copy=False).tobytes(),
            ),
        )


def _said(
    names: tuple[str, ...], matrix: NDArray[np.float64], *, is_whole: bool
) -> tuple[tuple[str, ...], NDArray[np.float64]]:
    """The quantities that have any value; `is_whole`: each has all of them."""
    if is_whole:
        return names, matrix
    said = np.flatnonzero(~np.isnan(matrix).all(axis=1))
    return tuple(names[row] for row in said.tolist()), matrix[said]


def _packed_rows(rows: Rows, partitions: int) -> Iterator[tuple[int, _Packed]]:
    """What goes to each partition, in the rows' order."""
    homes = np.array(
        [
            partition_of(*owner, partitions)
            for owner in zip(rows.tenants, rows.connectors, strict=True)
        ],
        dtype=np.int64,
    )
    order = np.argsort(homes, kind="stable")
    times = rows.time_ms[order].astype("<i8", copy=False)
    matrix = as_stored(rows.sheet.names, rows.sheet.matrix[:, order])
    is_whole = not np.isnan(matrix).any()
    owners = [(rows.tenants[row], rows.connectors[row]) for row in order.tolist()]
    found, firsts = np.unique(homes[order], return_index=True)
    for partition, (a, b) in zip(
        found.tolist(), pairwise((*firsts.tolist(), len(owners))), strict=True
    ):
        tenants, connectors = zip(*owners[a:b], strict=True)
        names, part = _said(rows.sheet.names, matrix[:, a:b], is_whole=is_whole)
        yield (
            partition,
            _Packed(
                names=names,
                tenants=list(tenants),
                connectors=list(connectors),
                arrived_ms=[rows.arrived_ms] * (b - a),
                ends=list(range(1, b - a + 1)),
                time_ms=times[a:b].tobytes(),
                values=part.astype("<f8", copy=False).tobytes(),
            ),
        )


def _stacks(fields: dict[bytes, bytes]) -> list[Stack] | None:
    try:
        return [_stack(each) for each in _unpack(fields[_FIELD])]
    except (msgspec.MsgspecError, KeyError, ValueError):
        return None


def _stack(packed: _Packed) -> Stack:
    time_ms = np.frombuffer(packed.time_ms, dtype="<i8")
    matrix = np.frombuffer(packed.values, dtype="<f8").reshape(len(packed.names), len(time_ms))
    if packed.ends[-1:] != [len(time_ms)]:
        raise ValueError("readings beyond the last chunk, or missing")
    owners = (packed.tenants, packed.connectors, packed.arrived_ms)
    if any(len(each) != len(packed.ends) for each in owners):
        raise ValueError("chunks without an owner, or owners without a chunk")
    return Stack(packed.names, *owners, packed.ends, time_ms, matrix)
