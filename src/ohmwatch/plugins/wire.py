"""What goes between a worker and a plug-in's process: length, then msgpack. No pickles: an answer
is data, never code."""

import socket
import struct
import time
from collections.abc import Mapping
from typing import Any

import msgspec
import numpy as np

from ohmwatch.detector import Batch, Ratings, State
from ohmwatch.findings import Finding
from ohmwatch.parameters import Number, Parameter

MESSAGE_LIMIT = 512 * 1024 * 1024
_LENGTH = struct.Struct("<Q")


_KINDS: dict[str, type[Number]] = {"float": float, "int": int, "bool": bool}
REASON_LIMIT = 500


class Declared(msgspec.Struct, frozen=True):
    """A parameter of a plug-in's detector. `kind` is float, int or bool."""

    name: str
    kind: str
    default: float | int | bool
    unit: str
    minimum: float
    maximum: float
    reason: str = ""

    @classmethod
    def of(cls, parameter: Parameter) -> "Declared":
        return cls(
            name=parameter.name,
            kind=parameter.kind.__name__,
            default=parameter.default,
            unit=parameter.unit,
            minimum=parameter.minimum,
            maximum=parameter.maximum,
            reason=parameter.reason[:REASON_LIMIT],
        )

    def parameter(self) -> Parameter:
        """Raises KeyError for a kind that is none."""
        kind = _KINDS[self.kind]
        limits = (self.unit, self.minimum, self.maximum, self.reason)
        return Parameter(self.name, kind, kind(self.default), *limits)


class Hello(msgspec.Struct):
    """The first word of a plug-in's process: what it is, or why it can't be."""

    name: str = ""
    version: str = ""
    condition: str = ""
    needs: list[str] = []
    state: list[Any] = []
    refused: str = ""
    about: str = ""
    parameters: list[Declared] = []


class Question(msgspec.Struct):
    """A batch, its ratings and the connectors' records; columns as little-endian bytes.

    `settings` are the parameters of the rule that asks, by name.
    """

    connectors: list[str]
    connector: bytes
    time_ms: bytes
    arrived_ms: bytes
    values: dict[str, bytes]
    ratings: list[Ratings]
    state: bytes
    settings: dict[str, float | int | bool] = {}

    @classmethod
    def of(
        cls,
        batch: Batch,
        ratings: list[Ratings],
        state: State,
        settings: Mapping[str, Number] | None = None,
    ) -> "Question":
        return cls(
            connectors=list(batch.connectors),
            connector=batch.connector.astype("<i4").tobytes(),
            time_ms=batch.time_ms.astype("<i8").tobytes(),
            arrived_ms=batch.arrived_ms.astype("<i8").tobytes(),
            values={name: each.astype("<f8").tobytes() for name, each in batch.values.items()},
            ratings=ratings,
            state=state.tobytes(),
            settings=dict(settings or {}),
        )

    def batch(self) -> Batch:
        return Batch(
            connectors=self.connectors,
            connector=np.frombuffer(self.connector, dtype="<i4"),
            time_ms=np.frombuffer(self.time_ms, dtype="<i8"),
            arrived_ms=np.frombuffer(self.arrived_ms, dtype="<i8"),
            values={name: np.frombuffer(each, dtype="<f8") for name, each in self.values.items()},
        )


class Answer(msgspec.Struct):
    """The findings and the records as they are now, or the error that ended the turn."""

    findings: list[Finding] = []
    state: bytes = b""
    error: str = ""


def send(line: socket.socket, message: Hello | Question | Answer) -> None:
    """Raises TimeoutError after the socket's own limit, OSError where the other side is gone."""
    body = msgspec.msgpack.encode(message)
    line.sendall(_LENGTH.pack(len(body)) + body)


def receive(line: socket.socket, *, within_s: float | None = None) -> bytes:
    """One message's bytes. Raises TimeoutError, and EOFError where the other side is gone."""
    deadline = None if within_s is None else time.monotonic() + within_s
    (length,) = _LENGTH.unpack(_exactly(line, _LENGTH.size, deadline))
    if length > MESSAGE_LIMIT:
        raise EOFError("a message beyond all bounds")
    return _exactly(line, length, deadline)


def _exactly(line: socket.socket, size: int, deadline: float | None) -> bytes:
    parts = bytearray()
    while len(parts) < size:
        if deadline is not None:
            line.settimeout(max(deadline - time.monotonic(), 0.001))
        part = line.recv(min(size - len(parts), 1 << 20))
        if not part:
            raise EOFError("the other side is gone")
        parts += part
    return bytes(parts)
