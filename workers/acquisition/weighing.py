"""What a message will take in memory, told from its bytes before it is decoded.

A thin reading takes nearly as much as a wide one, however few bytes it comes in. So the readings of
a message are counted: exactly, where it has a form that devices send, else never too low (but for
elements among rows that are no rows: they are refused, which takes little). A device must not be
able to make a batch many times as large as a batch is meant to be. So nothing is looked for that
may as well stand in a text: a message is followed from its first byte to where it says how many
readings it holds.
"""

import re

from ohmwatch.codecs.cbor import SELF_DESCRIBED, looks_like_cbor
from ohmwatch.readings import READINGS_LIMIT

READING = 60
"""Bytes of a reading by columns with 12 quantities: no reading weighs less, however thin."""
_NAMED = 3
"""By itself or by rows, a reading brings the names of its quantities along."""


def weight(payload: bytes) -> int:
    """How many bytes by columns, of readings with 12 quantities, a payload is worth."""
    if payload.startswith(b"{"):
        return _weight_of_json(payload)
    if looks_like_cbor(payload):
        return max(len(payload), READING * _readings_of_cbor(payload))
    text = payload.lstrip(b" \t\r\n")
    return _weight_of_json(text) if text.startswith(b"{") else len(payload)


# --- JSON -------------------------------------------------------------------------------------


def _weight_of_json(payload: bytes) -> int:
    if b"[" not in payload:
        return len(payload) // _NAMED
    if b'"columns"' in payload or b"\\" in payload:
        return max(len(payload), READING * _readings_by_columns(payload))
    rows = len(payload.split(b"{"))  # faster than to count them
    return max(len(payload) // _NAMED, READING * rows)


# Groups are atomic, so that no message is looked at twice. `(?:…)*+` would say the same, but in
# Python 3.11 it keeps what its last, failed turn has taken.
_TEXT = rb'"(?>(?:[^"\\]++|\\.)*)"'
_FLAT = rb'(?>(?:[^\[\]{}"]++|' + _TEXT + rb")*)"
"""What is between the brackets of a list or an object that holds no other."""
_VALUE = rb'(?:[^\s,:\[\]{}"]++|' + _TEXT + rb"|\[" + _FLAT + rb"\]|\{" + _FLAT + rb"\})"
_MEMBER = _TEXT + rb"\s*+:\s*+" + _VALUE + rb"\s*+,\s*+"
_TO_FIRST_COLUMN = re.compile(
    rb"\{\s*+(?>(?:" + _MEMBER + rb')*)"columns"\s*+:\s*+\{\s*+' + _TEXT + rb"\s*+:\s*+\[",
    re.DOTALL,
)


def _readings_by_columns(payload: bytes) -> int:
    """As many as the first column has values: all have one length, or the message is refused."""
    found = _TO_FIRST_COLUMN.match(payload)
    if found:
        begin = found.end()
        end = payload.find(b"]", begin)
        if payload.find(b"[", begin, end) < 0 and payload.find(b'"', begin, end) < 0 <= end:
            return payload.count(b",", begin, end) + 1
    return min(payload.count(b",") + 1, READINGS_LIMIT)


# --- CBOR -------------------------------------------------------------------------------------

_BYTES, _STRING, _ARRAY, _MAP, _TAG = range(2, 7)
_MEMBERS_LIMIT = 64
_ITEMS_LIMIT = 64
_INSTANT = b"\x1b"
"""Begins an integer of eight bytes, as each time in milliseconds is one."""


def _readings_of_cbor(payload: bytes) -> int:
    if b"columns" not in payload and b"readings" not in payload:
        return 1
    try:
        announced = _announced(payload)
    except (IndexError, ValueError):
        announced = None
    most = min(len(payload), READINGS_LIMIT)
    return most if announced is None else min(announced, most)


def _announced(payload: bytes) -> int | None:
    """How many values the first column has, or how many rows there are. None where that is not
    found soon. Raises IndexError, ValueError for what is no CBOR of ours."""
    kind, members, at = _head(payload, len(SELF_DESCRIBED) * payload.startswith(SELF_DESCRIBED))
    for _ in range(min(members, _MEMBERS_LIMIT)):
        name, at = _name(payload, at)
        if name == b"columns":
            kind, _columns, at = _head(payload, at)
            if kind != _MAP:
                return None
            _first, at = _name(payload, at)
            return _length(payload, at)
        if name == b"readings" and b"columns" not in payload:  # which would come first
            return _length(payload, at)
        behind = _behind(payload, at)
        if behind is None:
            return None
        at = behind
    return None


def _head(payload: bytes, at: int) -> tuple[int, int, int]:
    """An item's kind, its number (a length, a count or a value), and where it goes on."""
    kind, number = payload[at] >> 5, payload[at] & 31
    if number < 24:
        return kind, number, at + 1
    if number > 27:
        raise ValueError("of indefinite length")
    end = at + 1 + (1 << number - 24)
    return kind, int.from_bytes(payload[at + 1 : end], "big"), end


def _name(payload: bytes, at: int) -> tuple[bytes, int]:
    kind, length, at = _head(payload, at)
    if kind != _STRING:
        raise ValueError("a key is not a text")
    return payload[at : at + length], at + length


def _length(payload: bytes, at: int) -> int | None:
    kind, number, _ = _head(payload, at)
    return number if kind == _ARRAY else None


def _behind(payload: bytes, at: int) -> int | None:
    """Where an item ends; None where it holds too many to walk over."""
    left = 1
    for _ in range(_ITEMS_LIMIT):
        kind, number, at = _head(payload, at)
        left -= 1
        if kind in (_BYTES, _STRING):
            at += number
        elif kind == _TAG:
            return None
        elif kind == _ARRAY and _are_instants(payload, at, number):
            at += 9 * number
        elif kind in (_ARRAY, _MAP):
            left += number * (kind - 3)  # a map has two items for each
        if not left:
            return at
    return None


def _are_instants(payload: bytes, at: int, number: int) -> bool:
    is_few = 0 < number <= READINGS_LIMIT
    return is_few and payload[at : at + 9 * number : 9] == _INSTANT * number
