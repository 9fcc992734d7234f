"""A detector's parameters: its numeric dataclass fields, with unit, bounds and the reason why.

What may be set is what the detector declares: name and default by the field, the unit by the
ending of the name, the reason by the docstring's section "Parameters", the bounds by the field's
metadata (`minimum`, `maximum`) or else by its unit. Forms, files and back-tests stand on this.
"""

import dataclasses
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any, Protocol, Self, TypeVar, cast, runtime_checkable

from ohmwatch.detector import Detector

Number = float | int | bool
D = TypeVar("D", bound=Detector)

_DAY_S = 86_400.0
BOUNDS: Mapping[str, tuple[str, float, float]] = {
    "_share": ("", 0.0, 10.0),
    "_uohm": ("µΩ", 0.0, 1e6),
    "_kohm": ("kΩ", 0.0, 1e6),
    "_mv": ("mV", 0.0, 2000.0),
    "_pct": ("%", 0.0, 100.0),
    "_ms": ("ms", 0.0, 31 * _DAY_S * 1000),
    "_days": ("d", 0.0, 3650.0),
    "_h": ("h", 0.0, 8760.0),
    "_a": ("A", 0.0, 2000.0),
    "_v": ("V", 0.0, 1500.0),
    "_c": ("°C", -60.0, 400.0),
    "_k": ("K", 0.0, 300.0),
    "_g": ("g", 0.0, 100.0),
    "_s": ("s", 0.0, 31 * _DAY_S),
}
"""By the ending of a name: unit, least and largest value that makes sense for any connector."""

_KINDS: Mapping[str, type[Number]] = {"float": float, "int": int, "bool": bool}
_ENTRY = re.compile(r"^ {8}(\w+(?:, \w+)*): (.*)$")


@dataclass(frozen=True, slots=True)
class Parameter:
    """One number that a rule may set. `minimum` and `maximum` are allowed themselves."""

    name: str
    kind: type[Number]
    default: Number
    unit: str
    minimum: float
    maximum: float
    reason: str


@runtime_checkable
class Declares(Protocol):
    """A detector that stands for one in another process: what may be set of it, it was told."""

    @property
    def declared(self) -> tuple[Parameter, ...]: ...
    @property
    def settings(self) -> Mapping[str, Number]:
        """What was set of this one."""
        ...

    def varied(self, settings: Mapping[str, Number]) -> Self:
        """The same with these settings, which have been checked."""
        ...


@dataclass(frozen=True, slots=True)
class Fault:
    """What is wrong with one parameter, as a code: `unknown`, `wrong_type`, `out_of_range`."""

    code: str
    parameter: str
    value: object
    minimum: float | None = None
    maximum: float | None = None

    def __str__(self) -> str:
        if self.code == "unknown":
            return f"{self.parameter}: the detector has no such parameter"
        if self.code == "wrong_type":
            return f"{self.parameter}: {self.value!r} is not a number of the right kind"
        allowed = f"{self.minimum:.10g} to {self.maximum:.10g}"
        return f"{self.parameter}: {self.value} is not within {allowed}"


class ParametersRefused(ValueError):
    """Some parameters can't be set; `faults` says which and why."""

    def __init__(self, faults: tuple[Fault, ...]) -> None:
        super().__init__("; ".join(map(str, faults)))
        self.faults = faults


def parameters_of(detector: Detector) -> tuple[Parameter, ...]:
    """What may be set of a detector, in the order of its fields; none for a foreign class."""
    return detector.declared if isinstance(detector, Declares) else _parameters_of(type(detector))


@cache
def _parameters_of(detector: type) -> tuple[Parameter, ...]:
    if not dataclasses.is_dataclass(detector):
        return ()
    reasons = _reasons(detector.__doc__ or "")
    return tuple(
        _parameter(field, kind, reasons.get(field.name, ""))
        for field in dataclasses.fields(detector)
        if (kind := _kind(field)) is not None
    )


def faults_in(detector: Detector, values: Mapping[str, object]) -> tuple[Fault, ...]:
    """What is wrong with these parameters, in their order; empty where they can be set."""
    known = {each.name: each for each in parameters_of(detector)}
    found = (
        _fault(known[name], value) if name in known else Fault("unknown", name, value)
        for name, value in values.items()
    )
    return tuple(fault for fault in found if fault is not None)


def with_parameters(detector: D, values: Mapping[str, object]) -> D:
    """The same detector with some parameters of its own. Raises ParametersRefused.

    >>> from ohmwatch.detectors.overtemperature import Overtemperature
    >>> with_parameters(Overtemperature(), {"margin_k": 15}).margin_k
    15.0
    >>> with_parameters(Overtemperature(), {"margin_k": -1, "colour": 3})
    Traceback (most recent call last):
    ohmwatch.parameters.ParametersRefused: margin_k: -1 is not within 0 to 300; colour: the \
detector has no such parameter
    """
    if faults := faults_in(detector, values):
        raise ParametersRefused(faults)
    if not values:
        return detector
    kinds = {each.name: each.kind for each in parameters_of(detector)}
    typed = {name: kinds[name](cast(Any, value)) for name, value in values.items()}
    return cast(D, _varied(detector, typed))


def _varied(detector: Detector, settings: Mapping[str, Number]) -> Detector:
    if isinstance(detector, Declares):
        return detector.varied({**detector.settings, **settings})
    return cast(Detector, dataclasses.replace(cast(Any, detector), **settings))


def variant_of(detector: Detector) -> str:
    """The detector and what was set of it, as one word: two variants of one detector differ."""
    own = [
        f"{each.name}={value:g}"
        for each in parameters_of(detector)
        if (value := _set_of(detector, each)) != each.default
    ]
    return f"{detector.name}({','.join(own)})" if own else detector.name


def _set_of(detector: Detector, parameter: Parameter) -> Number:
    if isinstance(detector, Declares):
        return detector.settings.get(parameter.name, parameter.default)
    return cast(Number, getattr(detector, parameter.name))


def _kind(field: "dataclasses.Field[Any]") -> type[Number] | None:
    named = field.type if isinstance(field.type, str) else getattr(field.type, "__name__", "")
    has_default = field.default is not dataclasses.MISSING
    return _KINDS.get(named) if field.init and has_default else None


def _parameter(field: "dataclasses.Field[Any]", kind: type[Number], reason: str) -> Parameter:
    unit, minimum, maximum = next(
        (bounds for ending, bounds in BOUNDS.items() if field.name.endswith(ending)),
        ("", 0.0, 1000.0),
    )
    default = cast(Number, field.default)
    minimum, maximum = min(minimum, default), max(maximum, default)
    if kind is bool:
        minimum, maximum = 0.0, 1.0
    return Parameter(
        name=field.name,
        kind=kind,
        default=default,
        unit=str(field.metadata.get("unit", unit)),
        minimum=float(field.metadata.get("minimum", minimum)),
        maximum=float(field.metadata.get("maximum", maximum)),
        reason=reason,
    )


def _fault(parameter: Parameter, value: object) -> Fault | None:
    if not _fits(parameter.kind, value):
        return Fault("wrong_type", parameter.name, value)
    number = float(cast(float, value))
    if math.isfinite(number) and parameter.minimum <= number <= parameter.maximum:
        return None
    return Fault("out_of_range", parameter.name, value, parameter.minimum, parameter.maximum)


def _fits(kind: type[Number], value: object) -> bool:
    if kind is bool or isinstance(value, bool):
        return kind is bool and isinstance(value, bool)
    if kind is int:
        return isinstance(value, int) or (isinstance(value, float) and value.is_integer())
    return isinstance(value, (int, float))


def _reasons(docstring: str) -> dict[str, str]:
    """What a docstring's section "Parameters" says of each name; several may share a line."""
    found: dict[str, str] = {}
    names: list[str] = []
    inside = False
    for line in docstring.splitlines():
        if line.strip() == "Parameters:":
            inside = True
        elif inside and (entry := _ENTRY.match(line)):
            names = entry[1].split(", ")
            found |= dict.fromkeys(names, entry[2].strip())
        elif inside and line.startswith(" " * 12) and names:
            found |= {name: f"{found[name]} {line.strip()}" for name in names}
        elif inside and line.strip():
            break
    return found
