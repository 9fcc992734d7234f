"""A batch in portions, each small enough for one request to the store.

What a request takes in memory is several times its body: the text is made, filled and encoded. So
the text of a run is made when it is its turn, and gone before the next one's is. The usual batch is
one run, and nothing of it is copied.
"""

import gc
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

import structlog

from apps.telemetry.answers import ItemResult
from apps.telemetry.errors import StoreRefused
from ohmwatch.readings import Sheet
from workers.acquisition.parcels import ConnectorReadings, Singles
from workers.acquisition.sorting import Sorted

RUN_READINGS = 8_000
RUN_BYTES = 4 * 1024 * 1024
"""Of documents, about; twice the usual batch."""
_CONTENT = (400, 413)
"""Answers to a request that may pass in parts."""
_ABOUT_READING = 400
"""Bytes of a document beside its quantities, with the line before it, about."""
_ABOUT_VALUE = 12
"""Bytes of a value with the marks around it and its name, about."""

log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class Run:
    """Readings of a batch that are stored by one request."""

    singles: Sequence[Singles]
    readings: Sequence[ConnectorReadings]


def runs(work: Sorted) -> Iterator[Run]:
    """All readings of a batch, in their order; one run, though it be empty, at least."""
    if _is_one_run(work):
        yield Run(work.singles, work.readings)
        return
    singles: Sequence[Singles] = work.singles
    several: list[ConnectorReadings] = []
    count, size = sum(map(len, singles)), sum(map(_bytes, singles))
    for whole in work.readings:
        for one in _cut(whole):
            if count + len(one) > RUN_READINGS or size + _bytes(one) > RUN_BYTES:
                if count:
                    yield Run(singles, several)
                singles, several, count, size = (), [], 0, 0
            several.append(one)
            count, size = count + len(one), size + _bytes(one)
    yield Run(singles, several)


def _is_one_run(work: Sorted) -> bool:
    """The usual case, asked once for a whole batch."""
    both: list[Singles | ConnectorReadings] = [*work.singles, *work.readings]
    count = sum([len(one) for one in both])
    widest = max([_document_bytes(names) for names in {_names(one) for one in both}], default=0)
    return count <= RUN_READINGS and count * widest <= RUN_BYTES


def _cut(one: ConnectorReadings) -> Iterator[ConnectorReadings]:
    most = min(RUN_READINGS, RUN_BYTES // _document_bytes(_names(one)))
    if len(one) <= most:
        yield one
        return
    for first in range(0, len(one), most):
        yield one.part(slice(first, first + most))


def _bytes(one: Singles | ConnectorReadings) -> int:
    return len(one) * _document_bytes(_names(one))


def _names(one: Singles | ConnectorReadings) -> tuple[str, ...]:
    return Sheet.of(one.columns.values).names


@lru_cache(maxsize=1024)
def _document_bytes(names: tuple[str, ...]) -> int:
    return _ABOUT_READING + sum(_ABOUT_VALUE + len(name) for name in names)


def portions(texts: Iterable[bytes]) -> Iterator[list[bytes]]:
    """Texts of documents, as many together as one request may have, and one at least."""
    several: list[bytes] = []
    size = 0
    for text in texts:
        if several and size + len(text) > RUN_BYTES:
            yield several
            several, size = [], 0
        several.append(text)
        size += len(text)
    if several:
        yield several


# --- what is refused as a whole -----------------------------------------------------------------


class WholeRefusal(NamedTuple):
    """The answer to a request as a whole, where parts of it may pass."""

    status: int
    reason: str


def for_its_content(refused: StoreRefused) -> WholeRefusal | None:
    """What was answered, where it may be for what is in the request; None where it is not."""
    status = int(str(refused.data["status"]))
    return WholeRefusal(status, str(refused.data["reason"])) if status in _CONTENT else None


def in_halves(
    body: bytes, send: Callable[[bytes], list[ItemResult] | WholeRefusal]
) -> list[ItemResult]:
    """The answer to each document. A request that is refused for what is in it goes again in
    halves, down to the document that is to blame: its answer is the refusal."""
    answer = send(body)
    if isinstance(answer, list):
        return answer
    gc.collect()  # as after each failed request: see `Patience.hold`
    number = body.count(b"\n") // 2
    if number == 1:
        return [ItemResult(answer.status, f"status {answer.status}", answer.reason)]
    log.warning("request_refused", documents=number, status=answer.status)
    half = number // 2
    return [
        *in_halves(lines_of(body, range(half)), send),
        *in_halves(lines_of(body, range(half, number)), send),
    ]


def lines_of(body: bytes, items: Sequence[int]) -> bytes:
    """Those documents' actions and sources, out of a whole body."""
    lines = body.split(b"\n")
    return b"".join(b"%b\n%b\n" % (lines[2 * item], lines[2 * item + 1]) for item in items)
