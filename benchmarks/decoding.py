"""Decoding and checking of messages on one core, readings a second, by columns and by rows.

Best of some rounds: the noise of a shared machine only ever makes a round slower. The yardstick is
what no decoder can beat: msgspec turning the same bytes into objects, and checking nothing.
"""

import json
import time
from collections.abc import Callable

import msgspec
import numpy as np

from benchmarks.harness import Measure, finish
from ohmwatch.codecs.json import decode

ROUND_S = 0.1
_MIDDLE = {
    "current_a": (120.0, 1),
    "voltage_v": (640.0, 1),
    "temperature_pos_c": (48.0, 1),
    "temperature_neg_c": (46.5, 1),
    "ambient_c": (22.0, 1),
    "drop_pos_mv": (21.6, 2),
    "drop_neg_mv": (20.9, 2),
    "insulation_kohm": (5000.0, 0),
    "interlock": (1.0, 0),
    "humidity_pct": (55.0, 0),
    "vibration_g": (1.4, 2),
    "mated": (1.0, 0),
}
"""A connector that drives: a plausible value and its device's decimals, for 12 quantities."""
_STATES = ("interlock", "mated")
_parse = msgspec.json.Decoder().decode


def main(quick: bool) -> int:
    rounds = 5 if quick else 30
    measures = [
        _measured(f"{readings} a message, {shape}", payload, readings, rounds)
        for readings in (50, 10)
        for shape, payload in (
            ("by columns", by_columns(readings)),
            ("by rows", by_rows(readings)),
        )
    ]
    finish("decoding", [*measures, _measured("one a message", one(), 1, rounds)], quick)
    return 0


def _measured(name: str, payload: bytes, readings: int, rounds: int) -> Measure:
    parsed = checked = 0.0
    for _ in range(rounds):
        parsed = max(parsed, rate(lambda: _parse(payload)))
        checked = max(checked, rate(lambda: decode(payload)))
    ours, yardstick = checked * readings, parsed * readings
    return Measure(name, ours, "readings/s", yardstick, ours / yardstick)


def rate(work: Callable[[], object]) -> float:
    """How often a second, over about ROUND_S."""
    times, began = 0, time.perf_counter()
    while (took_s := time.perf_counter() - began) < ROUND_S:
        for _ in range(20):
            work()
        times += 20
    return times / took_s


def by_columns(readings: int) -> bytes:
    """One message, 12 quantities, the times as start and step."""
    times = {"start": 1_795_420_800_000, "step_ms": 1000}
    return json.dumps({**times, "channel": 0, "columns": columns(readings)}).encode()


def by_rows(readings: int) -> bytes:
    """The same as rows."""
    return json.dumps({"readings": _rows(readings)}).encode()


def one() -> bytes:
    """A message with a single reading."""
    return json.dumps(_rows(1)[0]).encode()


def _rows(readings: int) -> list[dict[str, float]]:
    wanted = columns(readings)
    return [
        {"time": 1_795_420_800_000 + 1000 * n, **{name: wanted[name][n] for name in wanted}}
        for n in range(readings)
    ]


def columns(readings: int) -> dict[str, list[float]]:
    """Noise around a plausible state, in the resolution of sensors; the same each time."""
    random = np.random.default_rng(1)
    noisy: dict[str, list[float]] = {}
    for name, (middle, decimals) in _MIDDLE.items():
        values = random.normal(middle, 0 if name in _STATES else abs(middle) / 100, readings)
        noisy[name] = values.round(decimals).tolist()
    return noisy
