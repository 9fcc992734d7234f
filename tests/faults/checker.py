"""Compares sets: what was acknowledged, what is held, what the account says. See SECURITY's method.

A history is what the devices know; an outcome is what the stores hold once all is healed. What is
wrong is told in words, an empty list is a pass. tests/unit/faults shows it catching mutants.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from apps.telemetry.answers import AccountLine

Key = tuple[str, str, int]
"""Tenant, connector, instant of measurement in ms."""
Refused = tuple[str, str]
"""Tenant, and the text of a message that can't become a reading."""
_SHOWN = 3


SINGLE_PRECISION = 1e-4
"""The store keeps no more of a quantity; neighbours differ by 0.02 at least."""


def value_of(key: Key) -> float:
    """The value that belongs to a reading and to no neighbour: what is mixed up is seen."""
    tenant, connector, time_ms = key
    mark = sum(map(ord, tenant + connector))
    return 20.0 + (time_ms // 7 * 31 + time_ms + mark * 17) % 3001 / 50


@dataclass
class History:
    """What devices sent. `acknowledged`: PUBACK 0x00; `sent` holds what nobody answered, too.

    `rubbish` are acknowledged messages that can't become readings, by a text of their own.
    """

    seed: int
    sent: set[Key] = field(default_factory=set)
    acknowledged: set[Key] = field(default_factory=set)
    rubbish: set[Refused] = field(default_factory=set)


@dataclass
class Outcome:
    """What is held, as each tenant sees it through its own door.

    `readings`: (tenant whose door it is, connector, time_ms, value) for each document that comes
    out there; `quarantined` likewise.
    """

    readings: list[tuple[str, str, int, float]]
    quarantined: list[Refused]
    lines: Sequence[AccountLine]
    miscounted: Sequence[str] = ()
    """Tenants whose counters are not the ledger's sums."""
    memory_mb: float = 0.0
    memory_limit_mb: float = 250.0


@dataclass
class Judged:
    """What detection left. `expected` and `alarms`: (tenant, connector, instant that opened it);
    `clocks`: for each reading that counted as judged, in order of judgement, its key."""

    seed: int
    accepted: set[Key]
    expected: set[Key]
    alarms: list[Key]
    clocks: list[Key]


def detection_violations(judged: Judged) -> list[str]:
    """The same for what follows: each reading judged once and in order, each alarm there once."""
    times = Counter(judged.clocks)
    alarms = Counter(judged.alarms)
    found = [
        _told("accepted and never judged", judged.accepted - times.keys()),
        _told("judged twice", [key for key, number in times.items() if number > 1]),
        _told("judged behind its clock", _backward(judged.clocks)),
        _told("alarm missing", judged.expected - alarms.keys()),
        _told("alarm that nothing called for", alarms.keys() - judged.expected),
        _told("alarm opened twice", [key for key, number in alarms.items() if number > 1]),
    ]
    return [f"seed {judged.seed}: {line}" for line in found if line]


def _backward(clocks: Sequence[Key]) -> Iterable[Key]:
    newest: dict[tuple[str, str], int] = {}
    for tenant, connector, time_ms in clocks:
        if time_ms < newest.get((tenant, connector), time_ms):
            yield tenant, connector, time_ms
        newest[tenant, connector] = max(time_ms, newest.get((tenant, connector), time_ms))


def violations(history: History, outcome: Outcome) -> list[str]:
    """Everything that is wrong, a line each, with the seed to do it again."""
    held = Counter((tenant, connector, time) for tenant, connector, time, _ in outcome.readings)
    wrong_values = [
        (tenant, connector, time)
        for tenant, connector, time, value in outcome.readings
        if abs(value - value_of((tenant, connector, time))) > SINGLE_PRECISION
    ]
    found = [
        _told("acknowledged and lost", history.acknowledged - held.keys()),
        _told("held twice", [key for key, times in held.items() if times > 1]),
        _told("held and never sent", held.keys() - history.sent),
        _told("held with another's value", wrong_values),
        _told("seen through another tenant's door", _leaks(history, outcome)),
        _told("rubbish acknowledged and lost", history.rubbish - set(outcome.quarantined)),
        _told("quarantined and never sent", set(outcome.quarantined) - history.rubbish),
        *_account(history, held, outcome),
        *(f"counters of {each}" for each in outcome.miscounted),
    ]
    if outcome.memory_mb > outcome.memory_limit_mb:
        found.append(f"memory: {outcome.memory_mb:.0f} MB of {outcome.memory_limit_mb:.0f}")
    return [f"seed {history.seed}: {line}" for line in found if line]


def _leaks(history: History, outcome: Outcome) -> Iterable[Key | Refused]:
    """What comes out at a tenant's door and bears another's mark. Connectors and instants are the
    same in all tenants; so the value tells whose a reading is, and the text whose a message."""
    tenants = {tenant for tenant, _, _ in history.sent}
    for door, connector, time_ms, value in outcome.readings:
        for other in tenants - {door}:
            if abs(value - value_of((other, connector, time_ms))) <= SINGLE_PRECISION:
                yield other, connector, time_ms
    for door, text in outcome.quarantined:
        for other in tenants - {door}:
            if (other, text) in history.rubbish:
                yield other, text


def _account(history: History, held: Counter[Key], outcome: Outcome) -> Iterable[str]:
    documents = Counter(tenant for tenant, _, _ in held.elements())
    lines = {line.tenant: line for line in outcome.lines}
    for line in outcome.lines:
        if not line.is_closed:
            yield f"account of {line.tenant} open by {line.apart}"
    for tenant, number in documents.items():
        line = lines.get(tenant, AccountLine(tenant))
        if line.stored != number:
            yield f"account of {tenant}: {line.stored} stored, {number} documents"
        accepted = sum(1 for key in history.acknowledged if key[0] == tenant)
        if line.received < accepted:
            yield f"account of {tenant}: {line.received} received, {accepted} were acknowledged"


def _told(what: str, which: Iterable[object]) -> str:
    several = sorted(map(str, which))
    if not several:
        return ""
    more = f" and {len(several) - _SHOWN} more" if len(several) > _SHOWN else ""
    return f"{what}: {', '.join(several[:_SHOWN])}{more}"
