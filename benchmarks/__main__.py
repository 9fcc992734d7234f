"""What the pure parts of this machine's acquisition and detection can do, one core each.

Best of five rounds: the noise of a shared machine only ever makes a round slower. The way through
broker and stores is slower than this; it is the ceiling of one worker.
"""

import json
import time
from collections.abc import Callable

import numpy as np

from ohmwatch.checks.detectors import EXAMPLE
from ohmwatch.codecs.json import decode
from ohmwatch.detector import Batch
from ohmwatch.detectors.insulation_low import InsulationLow
from ohmwatch.detectors.overtemperature import Overtemperature
from ohmwatch.detectors.pole_imbalance import PoleImbalance
from ohmwatch.detectors.temperature_rise_high import TemperatureRiseHigh
from ohmwatch.watch import Watch

ROUNDS = 5
READINGS = 1000
CONNECTORS = 50
_DETECTORS = (Overtemperature(), TemperatureRiseHigh(), PoleImbalance(), InsulationLow())


def main() -> None:
    print("readings a second on one core, best of five")
    print(f"  decode, a batch by columns  {best(decoding(by_columns())):>12,.0f}")
    print(f"  decode, a batch by rows     {best(decoding(by_rows())):>12,.0f}")
    print(f"  the four detectors          {best(judging, CONNECTORS * READINGS):>12,.0f}")


def best(work: Callable[[], object], readings: int = READINGS) -> float:
    """Readings a second of the fastest round."""
    took_s = []
    for _ in range(ROUNDS):
        started = time.perf_counter()
        work()
        took_s.append(time.perf_counter() - started)
    return readings / min(took_s)


def decoding(payload: bytes) -> Callable[[], object]:
    return lambda: decode(payload)


def by_columns() -> bytes:
    times = {"start": 1_795_420_800_000, "step_ms": 1000}
    return json.dumps({**times, "channel": 0, "columns": _columns(READINGS)}).encode()


def by_rows() -> bytes:
    columns = _columns(READINGS)
    rows = [
        {
            "time": 1_795_420_800_000 + 1000 * n,
            **{name: column[n] for name, column in columns.items()},
        }
        for n in range(READINGS)
    ]
    return json.dumps({"readings": rows}).encode()


def judging() -> object:
    """A second's reading of each connector at a time would be slower; a batch is the usual case."""
    times = np.tile(np.arange(READINGS) * 1000 + 1_795_420_800_000, CONNECTORS)
    count = CONNECTORS * READINGS
    batch = Batch(
        connector=np.repeat(np.arange(CONNECTORS, dtype=np.int32), READINGS),
        connectors=[f"connector-{n}" for n in range(CONNECTORS)],
        time_ms=times,
        arrived_ms=times,
        values={name: np.asarray(column) for name, column in _columns(count).items()},
    )
    return Watch(_DETECTORS).observe(batch, [EXAMPLE] * CONNECTORS)


def _columns(count: int) -> dict[str, list[float]]:
    """A connector that drives: noise around a plausible state, the same each time."""
    random = np.random.default_rng(1)
    middle = {
        "current_a": 120.0,
        "temperature_pos_c": 48.0,
        "temperature_neg_c": 46.5,
        "ambient_c": 22.0,
        "insulation_kohm": 5000.0,
    }
    return {
        name: random.normal(value, 1, count).round(2).tolist() for name, value in middle.items()
    }


if __name__ == "__main__":
    main()
