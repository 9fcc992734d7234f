"""What the store answers with: plain values in the units of READINGS, ms since 1970 UTC."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import NamedTuple

import msgspec

from apps.telemetry.slices import from_ms

SHOWN_BYTES = 64 * 1024
"""So much of a refused message a page shows; the rest is in the download."""


class ItemResult(NamedTuple):
    """What a bulk request did with one document: 201 stored, 409 a duplicate, else refused."""

    status: int
    error_type: str = ""
    error_reason: str = ""

    @property
    def is_stored(self) -> bool:
        return self.status < 300

    @property
    def is_duplicate(self) -> bool:
        return self.status == 409

    @property
    def is_worth_retrying(self) -> bool:
        """Busy, shut for a while, or its slice is not there yet: the document may pass later."""
        return self.status in (429, 502, 503, 504) or self.error_type in (
            "index_not_found_exception",
            "cluster_block_exception",
        )


STORED = ItemResult(201)
"""The usual answer: one object, so that a whole request's are compared at once."""


@dataclass(frozen=True)
class Reading:
    """The state of one connector at one instant."""

    connector: str
    measured_ms: int
    arrived_ms: int
    values: dict[str, float]
    dimensions: dict[str, str] = field(default_factory=dict)

    @property
    def measured_at(self) -> datetime:
        return from_ms(self.measured_ms)

    @property
    def arrived_at(self) -> datetime:
        return from_ms(self.arrived_ms)


@dataclass(frozen=True)
class ReadingPage:
    """Readings in order of measurement, and the `after` that asks for the next page."""

    readings: list[Reading]
    after: int | None


class Envelope(msgspec.Struct, frozen=True):
    """A quantity within one bucket. A spike is in `maximum`, however wide the bucket.

    `last` is filled where it was asked for and the bucket's newest reading has the quantity.
    """

    minimum: float
    maximum: float
    mean: float
    last: float | None
    count: int

    def with_last(self, last: float) -> "Envelope":
        return msgspec.structs.replace(self, last=last)


@dataclass(frozen=True)
class Bucket:
    """From `start_ms` for one interval; quantities without a value in it are left out.

    `newest_ms` is the instant of its newest reading, and `level` what that was read from.
    """

    start_ms: int
    count: int
    values: dict[str, Envelope]
    newest_ms: int = -1
    level: str = "raw"


@dataclass(frozen=True)
class Series:
    """A connector's quantities over time. Buckets without readings are left out: gaps stay gaps."""

    connector: str
    start_ms: int
    end_ms: int
    interval_ms: int
    buckets: list[Bucket]

    def with_gaps(self, gap_ms: int) -> Iterator[Bucket | None]:
        """The buckets, with None wherever two are further apart than gap_ms (≥ the interval)."""
        before: Bucket | None = None
        for bucket in self.buckets:
            if before and bucket.start_ms - before.start_ms > max(gap_ms, self.interval_ms):
                yield None
            yield bucket
            before = bucket


class Group(NamedTuple):
    """A part of a fleet: its value of each dimension asked for, and a stretch's beginning."""

    values: tuple[str, ...]
    start_ms: int | None = None


@dataclass(frozen=True)
class GroupRow:
    """What a group's readings come to; `percentiles` by per cent, where they were asked for."""

    group: Group
    count: int
    minimum: float
    maximum: float
    mean: float
    percentiles: dict[float, float] = field(default_factory=dict)


@dataclass(frozen=True)
class GroupPage:
    """One page of groups, and how many there are in all.

    `settled` is False where very many late readings wait for their rollups, and are not in it yet.
    `cut` is True where `total` are the leading ones of more.
    """

    rows: list[GroupRow]
    total: int
    settled: bool = True
    cut: bool = False


@dataclass(frozen=True)
class Distribution:
    """How often a quantity lay in which bin, for each stretch of time.

    `edges` has one more than each row's counts; what lies beyond is in the outermost bins.
    `groups` tells the same stretches by count, extremes, mean and percentiles. `settled` as in
    GroupPage.
    """

    quantity: str
    edges: list[float]
    rows: list[tuple[int, list[int]]]
    groups: list[GroupRow]
    settled: bool = True


@dataclass(frozen=True)
class Alike:
    """A connector that lives like another: `apart` is 0 for the same duty, 1 a deviation away."""

    connector: str
    apart: float
    duty: dict[str, float]


@dataclass(frozen=True)
class AlarmCount:
    """Alarms of a group's connectors within a month that begins at `month_ms`, UTC."""

    value: str
    month_ms: int
    alarms: int
    connectors: int


HEALTH_RANKS = {"ok": 0, "notice": 1, "warning": 2, "critical": 3}


@dataclass(frozen=True)
class Outlook:
    """What is known of a connector's contacts beside its margin at rated load; None: nothing is.

    The margin's 80 % interval and the headroom of the last reading in K; the time to the limit and
    its interval in s, else why it is `unknown`; the newest mating's change of each pole's heating,
    as a share. `learnt_ms` is when a load last taught any of it, `base_ms` since when the contact
    is compared with itself.
    """

    margin_from_k: float | None = None
    margin_to_k: float | None = None
    headroom_k: float | None = None
    left_s: float | None = None
    left_from_s: float | None = None
    left_to_s: float | None = None
    left_unknown: str = ""
    mating_step_pos: float | None = None
    mating_step_neg: float | None = None
    learnt_ms: int | None = None
    base_ms: int | None = None

    @property
    def learnt_at(self) -> datetime | None:
        return None if self.learnt_ms is None else from_ms(self.learnt_ms)

    @property
    def base_at(self) -> datetime | None:
        return None if self.base_ms is None else from_ms(self.base_ms)


@dataclass(frozen=True)
class State:
    """A connector now. What was never reported is None; dimensions that are empty are ""."""

    connector: str
    last: dict[str, float]
    measured_ms: int | None
    arrived_ms: int | None
    judged_ms: int | None
    health: str  # ok, notice, warning, critical; unknown where it never reported
    margin_k: float | None
    open_alarms: int
    worst_condition: str
    dimensions: dict[str, str]  # ids: model, batch, organisation, vehicle, position, device
    names: dict[str, str]  # serial, model_code, model_name, vehicle_label, vin, plate, …
    outlook: Outlook = field(default_factory=Outlook)

    @property
    def measured_at(self) -> datetime | None:
        return None if self.measured_ms is None else from_ms(self.measured_ms)


@dataclass(frozen=True)
class Aged:
    """How far a connector's contact has come from its own base, as the state holds it.

    `change` and its standard deviation are parts of the model's typical rise; the times are ms.
    `learnt_ms` is when a load last taught something of it, 0 where that is not known.
    """

    connector: str
    model: str
    batch: str
    change: float
    change_sd: float
    base_ms: int
    measured_ms: int
    arrived_ms: int
    learnt_ms: int = 0


@dataclass(frozen=True)
class StatePage:
    """One page of connectors, how many there are in all, and counts by facet: value → how many.

    `cut` are the facets of which only the most frequent values are counted.
    """

    states: list[State]
    total: int
    facets: dict[str, dict[str, int]]
    cut: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Event:
    """An alarm event as the search knows it; Postgres holds the truth."""

    event: str
    number: int
    alarm: str
    connector: str
    kind: str
    condition: str
    severity: str
    reason: str
    measured_ms: int | None
    arrived_ms: int | None
    judged_ms: int
    dimensions: dict[str, str]
    names: dict[str, str]
    evidence: dict[str, object]


@dataclass(frozen=True)
class EventPage:
    """Events, newest first, how many match, and counts by facet; `cut` as in StatePage."""

    events: list[Event]
    total: int
    facets: dict[str, dict[str, int]]
    cut: frozenset[str] = frozenset()


@dataclass(frozen=True)
class QuarantinedMessage:
    """A refused message or row. `payload` is filled where one message is asked for."""

    id: str
    reason: str
    field: str
    detail: str
    identity: str
    device: str
    topic: str
    row: int | None
    count: int
    payload_bytes: int
    arrived_ms: int
    payload: bytes = b""
    content_type: str = ""
    codec: str = ""
    rows: tuple[int, ...] = ()
    """Which readings of the message it stands for; empty: the message as a whole."""
    messages: int = 1
    dropped_bytes: int = 0
    """What was not kept of a flood; without its bytes nothing can be replayed."""
    replay_state: str = ""
    """claimed (being replayed), replayed (nothing is left), partly, refused (again), or never."""
    replayed: int = 0
    replayed_ms: int | None = None
    replay_detail: str = ""
    position: str = ""
    """Where it stands in its order: the `after` of what comes behind it."""

    @property
    def arrived_at(self) -> datetime:
        return from_ms(self.arrived_ms)

    @property
    def replayed_at(self) -> datetime | None:
        return None if self.replayed_ms is None else from_ms(self.replayed_ms)

    @property
    def can_be_replayed(self) -> bool:
        """Whether something is left of it, with its bytes."""
        return self.count > 0 and self.payload_bytes > 0 and self.replay_state != "claimed"

    @property
    def shown(self) -> str:
        """Its beginning, as a page shows it."""
        return shown(self.payload)


def shown(payload: bytes) -> str:
    """The beginning of a message: as text, else offset, 16 bytes and what of them is printable."""
    payload = payload[:SHOWN_BYTES]
    try:
        return payload.decode()
    except UnicodeDecodeError:
        rows = range(0, len(payload), 16)
        return "\n".join(_dump_row(at, payload[at : at + 16]) for at in rows)


def _dump_row(at: int, row: bytes) -> str:
    printable = "".join(chr(byte) if 32 <= byte < 127 else "." for byte in row)
    return f"{at:06x}  {row.hex(' '):<47}  {printable}"


@dataclass(frozen=True)
class QuarantinePage:
    """Newest first; `after` asks for the next page; `reasons` counts all that match by reason."""

    messages: list[QuarantinedMessage]
    total: int
    after: str
    reasons: dict[str, int]


@dataclass(frozen=True)
class LedgerEntry:
    """What became of one batch for one tenant, as acquisition enters it before its PUBACK.

    `arrived_ms` is the batch's one time of arrival: every reading and every quarantined message of
    it carries the same, so that any stretch of time closes.
    """

    tenant: str
    batch_id: int
    arrived_ms: int
    stored: int
    duplicate: int
    quarantined: dict[str, int]
    reconciled: bool = False

    @property
    def received(self) -> int:
        return self.stored + self.duplicate + sum(self.quarantined.values())


@dataclass(frozen=True)
class AccountLine:
    """A tenant's account over a stretch of arrival: what the ledger says, what the store holds.

    `expired` are those of `quarantined` whose messages came before the quarantine's time: they are
    entered, and nothing is held that they could be compared with.
    """

    tenant: str
    received: int = 0
    stored: int = 0
    duplicate: int = 0
    quarantined: dict[str, int] = field(default_factory=dict)
    held_readings: int = 0
    held_quarantined: dict[str, int] = field(default_factory=dict)
    expired: dict[str, int] = field(default_factory=dict)

    @property
    def quarantined_total(self) -> int:
        return sum(self.quarantined.values())

    @property
    def apart(self) -> int:
        """How many readings are unaccounted for; 0 is a closed account."""
        expected = {
            reason: number - self.expired.get(reason, 0)
            for reason, number in self.quarantined.items()
        }
        reasons = expected.keys() | self.held_quarantined.keys()
        return (
            abs(self.received - self.stored - self.duplicate - self.quarantined_total)
            + abs(self.stored - self.held_readings)
            + sum(
                abs(expected.get(reason, 0) - self.held_quarantined.get(reason, 0))
                for reason in reasons
            )
        )

    @property
    def is_closed(self) -> bool:
        return self.apart == 0


def total_of(lines: Sequence[AccountLine], tenant: str = "total") -> AccountLine:
    """The lines together, as one: of all tenants, or a tenant's over several stretches."""
    return AccountLine(
        tenant=tenant,
        received=sum(line.received for line in lines),
        stored=sum(line.stored for line in lines),
        duplicate=sum(line.duplicate for line in lines),
        quarantined=_added(line.quarantined for line in lines),
        held_readings=sum(line.held_readings for line in lines),
        held_quarantined=_added(line.held_quarantined for line in lines),
        expired=_added(line.expired for line in lines),
    )


def _added(counts: Iterable[dict[str, int]]) -> dict[str, int]:
    total: dict[str, int] = {}
    for one in counts:
        for reason, number in one.items():
            total[reason] = total.get(reason, 0) + number
    return total
