"""CBOR as devices send it: the same three shapes as JSON, with text keys (RFC 8949, strictly).

What CBOR leaves open is decided here, as for JSON: a key that occurs twice refuses the message;
NaN and the infinities are read as infinite, so that only their reading is refused, as out of range;
`undefined` and other simple values are of the wrong type. Undecodable are: any tag but the one that
only says "this is CBOR" (dates, big numbers, decimal fractions, shared references and regular
expressions are doors for bombs, and no reading needs one), strings and containers of indefinite
length, keys that are no text, deep nesting, and bytes behind the document.
"""

import math
import re
from collections.abc import Mapping
from io import BytesIO
from typing import Any, NoReturn

import cbor2

from ohmwatch.codecs.json import Decoded, decoded_of
from ohmwatch.readings import MESSAGE_BYTES_LIMIT
from ohmwatch.refusals import Reason, Refused

SELF_DESCRIBED = b"\xd9\xd9\xf7"
"""Tag 55799 (RFC 8949, 3.4.6): says "this is CBOR" and nothing else."""
DEPTH_LIMIT = 8
"""Map, columns, column, value are 4; the rest is room for unknown fields."""

_MAY_HOLD_NO_NUMBER = re.compile(rb"\xf9[\x7c-\x7f\xfc-\xff]|[\xfa\xfb][\x7f\xff]")
"""The first bytes of each NaN and infinity, in half, single and double precision."""


def decode(payload: bytes) -> Decoded:
    """Bytes to columns; raises `Refused` (and nothing else) for a message that is none."""
    if len(payload) > MESSAGE_BYTES_LIMIT:
        raise Refused(Reason.TOO_LARGE, detail=f"{len(payload)} bytes")
    document = _parse(payload.removeprefix(SELF_DESCRIBED))
    if _MAY_HOLD_NO_NUMBER.search(payload):
        document = _without_nan(document)
    return decoded_of(document)


def looks_like_cbor(payload: bytes) -> bool:
    """Whether the first byte begins a CBOR map (or the tag for CBOR): no JSON text begins so."""
    return 0xA0 <= payload[0] <= 0xBF or payload.startswith(SELF_DESCRIBED) if payload else False


def _parse(payload: bytes) -> Any:
    source = BytesIO(payload)
    try:
        document = cbor2.CBORDecoder(
            source,
            tag_hook=_refuse_tag,
            semantic_decoders=_NO_TAGS,
            object_hook=_with_text_keys,
            max_depth=DEPTH_LIMIT,
            allow_indefinite=False,
            allow_duplicate_keys=False,
            strict_hashable_types=True,
        ).decode()
    except (cbor2.CBORError, RecursionError, MemoryError) as error:
        raise Refused(Reason.UNDECODABLE, detail=_in_a_line(error)) from None
    if behind := len(payload) - source.tell():
        raise Refused(Reason.UNDECODABLE, detail=f"{behind} bytes behind the document")
    return document


def _refuse_tag(tag: Any, _immutable: bool) -> NoReturn:
    raise cbor2.CBORDecodeError(f"tag {getattr(tag, 'tag', '')}".rstrip() + " has no place here")


_NO_TAGS: dict[int, Any] = dict.fromkeys(
    (
        *(0, 1, 2, 3, 4, 5, 25, 28, 29, 30, 35, 36, 37, 52, 54, 100, 256, 258, 260, 261, 1004),
        *(43000, 55799),
    ),
    _refuse_tag,
)
"""The tags that cbor2 knows and would carry out; a test asks it about every one."""


def _with_text_keys(fields: Mapping[Any, Any], _immutable: bool) -> Mapping[Any, Any]:
    for name in fields:
        if type(name) is not str:
            raise cbor2.CBORDecodeError("a key is not a text")
    return fields


def _in_a_line(error: BaseException) -> str:
    said = str(error.__cause__ or error) or type(error).__name__
    return " ".join(said.split())[:200]


def _without_nan(value: Any) -> Any:
    """The same with every NaN as infinity."""
    if type(value) is float:
        return math.inf if math.isnan(value) else value
    if type(value) is list:
        return [_without_nan(each) for each in value]
    if type(value) is dict:
        return {name: _without_nan(each) for name, each in value.items()}
    return value
