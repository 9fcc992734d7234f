"""What can go wrong with a simulated connector, and what that does to it."""

from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

AGED_FACTOR = 6.5
"""Contact resistance against new at the end of a shown ageing."""


class FaultKind(StrEnum):
    """What `demo fault KIND` can start."""

    LOOSE = "loose"
    AGEING = "ageing"
    COOLING = "cooling"
    INSULATION = "insulation"
    SENSOR_STUCK = "sensor_stuck"
    SENSOR_DRIFTING = "sensor_drifting"
    INTERLOCK = "interlock"
    OVERCURRENT = "overcurrent"
    OVERVOLTAGE = "overvoltage"
    SILENT = "silent"


class Pole(StrEnum):
    POS = "pos"
    NEG = "neg"


@dataclass(frozen=True)
class Fault:
    """A fault of one connector since an instant; `over_s` is how long it takes to be whole."""

    kind: FaultKind
    connector: str
    began_ms: int
    pole: Pole = Pole.POS
    over_s: float = 120.0

    def grown(self, now_ms: int) -> float:
        """0 when it begins, 1 when it is whole."""
        return float(np.clip((now_ms - self.began_ms) / 1000 / self.over_s, 0.0, 1.0))

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def of(cls, known: dict[str, Any]) -> "Fault":
        return cls(**(known | {"kind": FaultKind(known["kind"]), "pole": Pole(known["pole"])}))


@dataclass
class Effects:
    """What all present faults do to n connectors, in the plant's order."""

    resistance_factor: Floats
    cooling_factor: Floats
    insulation_factor: Floats
    load_factor: Floats
    voltage_factor: Floats
    drift_k: Floats
    interlock: Floats
    stuck: NDArray[np.bool_]
    silent: NDArray[np.bool_]

    @classmethod
    def none(cls, n: int) -> "Effects":
        return cls(
            resistance_factor=np.ones((n, 2)),
            cooling_factor=np.ones(n),
            insulation_factor=np.ones(n),
            load_factor=np.ones(n),
            voltage_factor=np.ones(n),
            drift_k=np.zeros((n, 2)),
            interlock=np.ones(n),
            stuck=np.zeros((n, 2), dtype=bool),
            silent=np.zeros(n, dtype=bool),
        )


def effects_of(
    faults: Iterable[Fault],
    *,
    index: dict[str, int],
    now_ms: int,
    rng: np.random.Generator,
) -> Effects:
    """What these faults do at this instant; `index` finds a connector in the arrays."""
    effects = Effects.none(len(index))
    for fault in faults:
        if fault.connector in index and now_ms >= fault.began_ms:
            _APPLY[fault.kind](effects, index[fault.connector], fault, now_ms, rng)
    return effects


Apply = Callable[[Effects, int, Fault, int, np.random.Generator], None]


def _column(fault: Fault) -> int:
    return 0 if fault.pole is Pole.POS else 1


def _loose(e: Effects, i: int, fault: Fault, now_ms: int, rng: np.random.Generator) -> None:
    # A loose contact makes and breaks with each shake: never twice the same resistance.
    e.resistance_factor[i, _column(fault)] *= 14.0 * float(np.exp(rng.normal(0.0, 0.3)))


def _ageing(e: Effects, i: int, fault: Fault, now_ms: int, rng: np.random.Generator) -> None:
    e.resistance_factor[i, _column(fault)] *= AGED_FACTOR ** fault.grown(now_ms)


def _cooling(e: Effects, i: int, fault: Fault, now_ms: int, rng: np.random.Generator) -> None:
    e.cooling_factor[i] *= 2.8


def _insulation(e: Effects, i: int, fault: Fault, now_ms: int, rng: np.random.Generator) -> None:
    e.insulation_factor[i] *= 10.0 ** (-3.0 * min(1.0, 4 * fault.grown(now_ms)))


def _stuck(e: Effects, i: int, fault: Fault, now_ms: int, rng: np.random.Generator) -> None:
    e.stuck[i, _column(fault)] = True


def _drifting(e: Effects, i: int, fault: Fault, now_ms: int, rng: np.random.Generator) -> None:
    e.drift_k[i, _column(fault)] += 25.0 * fault.grown(now_ms)


def _interlock(e: Effects, i: int, fault: Fault, now_ms: int, rng: np.random.Generator) -> None:
    e.interlock[i] = 0.0


def _overcurrent(e: Effects, i: int, fault: Fault, now_ms: int, rng: np.random.Generator) -> None:
    e.load_factor[i] *= 1.55


def _overvoltage(e: Effects, i: int, fault: Fault, now_ms: int, rng: np.random.Generator) -> None:
    e.voltage_factor[i] *= 1.3


def _silent(e: Effects, i: int, fault: Fault, now_ms: int, rng: np.random.Generator) -> None:
    e.silent[i] = True


_APPLY: dict[FaultKind, Apply] = {
    FaultKind.LOOSE: _loose,
    FaultKind.AGEING: _ageing,
    FaultKind.COOLING: _cooling,
    FaultKind.INSULATION: _insulation,
    FaultKind.SENSOR_STUCK: _stuck,
    FaultKind.SENSOR_DRIFTING: _drifting,
    FaultKind.INTERLOCK: _interlock,
    FaultKind.OVERCURRENT: _overcurrent,
    FaultKind.OVERVOLTAGE: _overvoltage,
    FaultKind.SILENT: _silent,
}
