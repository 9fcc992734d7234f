"""What a watch keeps between readings, as bytes and back: names, clocks, records.

A partition's checkpoint is written every few seconds, however little it holds, so writing one has
to cost little: records go as the memory that they are, and their shape is text that is made once.
Reading runs no code: what has not the shape that is asked for is left alone.
"""

from ast import literal_eval
from collections.abc import Mapping
from functools import lru_cache
from io import BytesIO
from typing import Any

import msgspec
import numpy as np

from ohmwatch.detector import State


class _Records(msgspec.Struct, array_like=True):
    form: str
    memory: memoryview


class Dumped(msgspec.Struct, array_like=True):
    """`versions`: name and version of each who keeps records; `states`: by key, a record for each
    of the `connectors`; `clocks`: int64 of each, little-endian, and so are `counts`, by name."""

    connectors: list[str]
    versions: list[str]
    clocks: memoryview
    states: dict[str, _Records]
    counts: dict[str, memoryview] = {}

    @classmethod
    def of(
        cls,
        connectors: list[str],
        clock_ms: np.ndarray,
        versions: list[str],
        states: dict[str, State],
        *,
        counts: Mapping[str, np.ndarray] | None = None,
    ) -> "Dumped":
        """All of it, without a copy. Raises ValueError for records that hold Python objects."""
        return cls(
            connectors,
            versions,
            _memory(clock_ms.astype("<i8", copy=False)),
            {key: _Records(_form(state.dtype), _memory(state)) for key, state in states.items()},
            {
                name: _memory(each.astype("<i8", copy=False))
                for name, each in (counts or {}).items()
            },
        )

    def to_bytes(self) -> bytes:
        return _encode(self)

    @property
    def clock_ms(self) -> np.ndarray:
        """int64[connectors]."""
        return np.frombuffer(self.clocks, dtype="<i8").astype(np.int64)

    def count(self, name: str) -> np.ndarray:
        """int64[connectors]. Raises KeyError."""
        return np.frombuffer(self.counts[name], dtype="<i8").astype(np.int64)

    def state(self, key: str, dtype: np.dtype[Any]) -> State | None:
        """The records of this key, to be written to; None where they have another shape.

        Raises ValueError where they are more or fewer than the connectors.
        """
        kept = self.states[key]
        if kept.form != _form(dtype):
            return None
        return self._records(kept, dtype)

    def state_as_it_was(self, key: str) -> State:
        """The records of one who isn't here to say what shape they have. Raises as `state`."""
        kept = self.states[key]
        return self._records(kept, np.lib.format.descr_to_dtype(literal_eval(kept.form)))

    def _records(self, kept: _Records, dtype: np.dtype[Any]) -> State:
        records = np.zeros(len(self.connectors), dtype=dtype)
        _memory(records)[:] = kept.memory
        return records


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Dumped).decode


def read(dumped: bytes) -> Dumped:
    """Raises ValueError or msgspec.DecodeError for what is no dump."""
    return _of_archive(dumped) if dumped.startswith(_ARCHIVE) else _decode(dumped)


def _memory(array: np.ndarray) -> memoryview:
    return np.ascontiguousarray(array).view(np.uint8).data


@lru_cache(maxsize=4_096)
def _form(dtype: np.dtype[Any]) -> str:
    if dtype.hasobject:
        raise ValueError("records of Python objects can't be kept")
    return repr(np.lib.format.dtype_to_descr(dtype))


_ARCHIVE = b"PK"
"""A dump was an archive of numpy's: what was kept as one is read, so that nobody begins anew."""


def _of_archive(dumped: bytes) -> Dumped:
    with np.load(BytesIO(dumped), allow_pickle=False) as stored:
        return Dumped.of(
            [str(each) for each in stored["connectors"]],
            stored["clock_ms"],
            stored["versions"].tolist(),
            {
                entry.removeprefix("state."): stored[entry]
                for entry in stored.files
                if entry.startswith("state.")
            },
        )
