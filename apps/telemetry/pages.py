"""A page of stored readings as records: what detectors want of each document, and nothing else.

A page is some megabytes of JSON. Taken apart into dictionaries it cost more than the store spends
to make it; decoded straight into records of known fields, a third of that.
"""

import re
from collections.abc import Sequence
from functools import lru_cache
from typing import Generic, TypeVar

import msgspec

from ohmwatch.readings import QUANTITIES

Source = TypeVar("Source")

_OWN = re.compile(rb'"(x_[a-z0-9_]{1,32})":')


class Hit(msgspec.Struct, Generic[Source], gc=False):
    """A document, and its place in the order of the pages: undecoded, for only the last is asked.

    Neither this nor what is in it makes the cyclic collector run, which walks through all of
    Django each time.
    """

    source: Source = msgspec.field(name="_source")
    sort: msgspec.Raw


class Hits(msgspec.Struct, Generic[Source], gc=False):
    """The documents of a page."""

    hits: list[Hit[Source]]


class Page(msgspec.Struct, Generic[Source], gc=False):
    """The store's answer to a search at a point in time."""

    timed_out: bool
    hits: Hits[Source]


class Untold(msgspec.Struct, gc=False):
    """A document that nobody looks at."""


class StoredReading(msgspec.Struct, gc=False):
    """A reading as the store gives it; each quantity that it has is an attribute of its name."""

    tenant: str
    connector: str
    measured_ms: int = msgspec.field(name="@timestamp")
    arrived_ms: int = msgspec.field(default=0, name="arrived_at")

    @classmethod
    def quantities(cls) -> Sequence[str]:
        """The names of quantities that a reading of this page may have."""
        return cls.__struct_fields__[len(StoredReading.__struct_fields__) :]


def untold(answer: bytes) -> Page[Untold]:
    """The page of which only the number of documents is asked."""
    return _UNTOLD.decode(answer)


def readings(answer: bytes) -> Page[StoredReading]:
    """The page with all quantities, a customer's own as well; NaN is no value."""
    own = {name.decode() for name in _OWN.findall(answer)} if b'"x_' in answer else ()
    return _decoder(tuple(sorted(own))).decode(answer)


@lru_cache(maxsize=64)
def _decoder(own: tuple[str, ...]) -> "msgspec.json.Decoder[Page[StoredReading]]":
    """Numbers may come as text: the store writes instants so."""
    names = sorted([*QUANTITIES, *own])
    stored = msgspec.defstruct(
        "StoredReading",
        [(name, float | None, float("nan")) for name in names],
        bases=(StoredReading,),
        gc=False,
    )
    return msgspec.json.Decoder(Page[stored], strict=False)  # type: ignore[valid-type]


_UNTOLD = msgspec.json.Decoder(Page[Untold])
