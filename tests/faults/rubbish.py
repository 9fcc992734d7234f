"""Messages as broken and hostile devices send them: mutated good ones, bombs, lies, noise."""

import copy
import json
import random
from collections.abc import Callable
from typing import Any

import cbor2

from ohmwatch.readings import MESSAGE_BYTES_LIMIT

Make = Callable[[random.Random, int], bytes]
_QUANTITIES = ("current_a", "temperature_pos_c", "interlock", "mating_cycles", "x_own")
_ODD: tuple[Any, ...] = (
    *(None, True, -1, 1e308, -0.0, 2**63, -(2**64), 1.5, "", "7", "NaN", [], {}, [[]], "\x00", "١"),
    *({"a": {"a": 1}}, "2026-11-23T08:00:00Z", "2026-02-30T08:00:00Z", 10**15, "x" * 5_000),
)
_TOKENS = (b"NaN", b"-Infinity", b"1e999", b"[[[[", b"}}", b'"time":', b"\\ud800", b"\xff", b"\x00")


def hostile(chance: random.Random, now_ms: int) -> bytes:
    """One of them; the same chance makes the same."""
    return chance.choice(_MAKERS)(chance, now_ms)[: MESSAGE_BYTES_LIMIT + 100]


def hostile_status(chance: random.Random, now_ms: int) -> tuple[bytes, bool]:
    """The same for where a device speaks of itself, and whether it says for all that how it is."""
    if chance.random() < 0.5:
        return hostile(chance, now_ms), False
    online = chance.choice((True, False, *_ODD))
    document = {"online": online, "firmware": chance.choice(_ODD), chance.choice("abc"): 1}
    return json.dumps(document).encode(), isinstance(online, bool)


def good_document(chance: random.Random, now_ms: int) -> dict[str, Any]:
    """One of the three shapes, with readings of the last hour."""
    start, rows = now_ms - chance.randint(1, 3_600_000), chance.randint(1, 20)
    names = chance.sample(_QUANTITIES, chance.randint(1, 4))
    shape = chance.randint(0, 2)
    if shape == 0:
        return {"time": start, "channel": chance.randint(0, 3), **dict.fromkeys(names, 1)}
    if shape == 1:
        each = [{"time": start + row, **dict.fromkeys(names, row % 2)} for row in range(rows)]
        return {"channel": chance.randint(0, 1), "readings": each}
    columns = {name: [row % 2 for row in range(rows)] for name in names}
    return {"start": start, "step_ms": chance.randint(1, 1000), "columns": columns}


def _noise(chance: random.Random, _now_ms: int) -> bytes:
    return chance.randbytes(chance.choice((0, 1, 2, 30, 300, 3_000)))


def _cut(chance: random.Random, now_ms: int) -> bytes:
    whole = _encoded(chance, good_document(chance, now_ms))
    return whole[: chance.randint(0, len(whole))]


def _flipped(chance: random.Random, now_ms: int) -> bytes:
    whole = bytearray(_encoded(chance, good_document(chance, now_ms)))
    for _ in range(chance.randint(1, 8)):
        whole[chance.randrange(len(whole))] ^= 1 << chance.randrange(8)
    return bytes(whole)


def _spliced(chance: random.Random, now_ms: int) -> bytes:
    one, other = (_encoded(chance, good_document(chance, now_ms)) for _ in range(2))
    return one[: chance.randint(0, len(one))] + other[chance.randint(0, len(other)) :]


def _with_tokens(chance: random.Random, now_ms: int) -> bytes:
    whole = _encoded(chance, good_document(chance, now_ms))
    at = chance.randint(0, len(whole))
    return whole[:at] + chance.choice(_TOKENS) * chance.randint(1, 5) + whole[at:]


def _with_odd_values(chance: random.Random, now_ms: int) -> bytes:
    document = good_document(chance, now_ms)
    for _ in range(chance.randint(1, 4)):
        _spoil(chance, document)
    return _encoded(chance, document)


def _spoil(chance: random.Random, document: Any) -> None:
    """Somewhere in it, a value becomes an odd one."""
    while True:
        keys = list(document) if isinstance(document, dict) else list(range(len(document)))
        if not keys:
            return
        key = chance.choice(keys)
        inner = document[key]
        if not isinstance(inner, (dict, list)) or not inner or chance.random() < 0.3:
            document[key] = copy.deepcopy(chance.choice(_ODD))
            return
        document = inner


def _bomb(chance: random.Random, _now_ms: int) -> bytes:
    size = chance.choice((1_000, 20_000, 200_000))
    return chance.choice(
        (
            b"[" * size,
            b'{"a":' * size,
            b'{"readings":[' + b"{}," * (size // 3) + b"{}]}",
            b'{"time":' + b"9" * size + b',"current_a":1}',
            b'{"columns":{' + b'"x":1,' * (size // 6) + b'"y":1}}',
            b"\x81" * size,
            b"\xa1\x61a" * (size // 3),
            b"\x9b\x3f" + b"\xff" * 7,
            b"\xbb\x7f" + b"\xff" * 7 + b"\x61a",
            b"\xc4\x82\x1b\x7f" + b"\xff" * 7 + b"\x01",
            b"\xd8\x1c\x81\xd8\x1d\x00",
            b"\xa1\x67columns\xa1\x69current_a\x9a\x00\x03\x00\x00" + b"\xf7" * size,
            b" " * (MESSAGE_BYTES_LIMIT + 1),
        )
    )


def _twice(_chance: random.Random, now_ms: int) -> bytes:
    return b'{"time":%d,"current_a":1,"current_a":2}' % now_ms


def _encoded(chance: random.Random, document: Any) -> bytes:
    if chance.random() < 0.4:
        return cbor2.dumps(document)
    return json.dumps(document).encode()


_MAKERS: tuple[Make, ...] = (
    *(_noise, _cut, _flipped, _flipped, _spliced, _with_tokens),
    *(_with_odd_values, _with_odd_values, _bomb, _twice),
)
