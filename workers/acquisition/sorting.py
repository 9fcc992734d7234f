"""From messages to readings of connectors: decode ▸ check ▸ resolve. No store is asked here.

What can't become a reading leaves with its reason; the good readings of a message go on.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import NamedTuple

import msgspec
import numpy as np
import structlog
from numpy.typing import NDArray

from apps.devices.directory import DeviceEntry, Directory
from apps.telemetry.documents import PLATFORM
from apps.telemetry.slices import DEFAULT_CLASS, Retention
from ohmwatch.codecs import cbor, json
from ohmwatch.codecs.json import Decoded
from ohmwatch.codecs.together import decode_together, tables_of_singles
from ohmwatch.readings import MESSAGE_BYTES_LIMIT, Columns
from ohmwatch.refusals import Reason, Refused, RowRefusal
from workers.acquisition.batches import Batch, Message
from workers.acquisition.parcels import ConnectorReadings, Parcel, Singles, chosen

log = structlog.get_logger(__name__)

_CODECS: dict[str, Callable[[bytes], Decoded]] = {
    "json": json.decode,
    "application/json": json.decode,
    "cbor": cbor.decode,
    "application/cbor": cbor.decode,
}
_ROWS_NAMED = 20


@dataclass(frozen=True)
class Refusal:
    """Readings of one message that were refused for one reason; `count` of them."""

    tenant: str
    identity: str
    reason: Reason
    message_number: int
    message: Message
    count: int = 1
    field: str = ""
    detail: str = ""
    rows: tuple[int, ...] = ()
    """Which readings of the message; empty where the message was refused as a whole."""
    messages: int = 1
    dropped_bytes: int = 0
    """Bytes that are not kept, of a device that floods: see sampling.py."""


@dataclass(frozen=True)
class Note:
    """What a device said beside readings: its status, or an event it noticed."""

    tenant: str
    device: str
    kind: str
    online: bool | None = None
    firmware: str = ""


class Unheard(NamedTuple):
    """What something other than readings counts as that came from nobody, or from a device that
    must not report: whose, `status` or `events`, and why."""

    tenant: str
    kind: str
    reason: Reason


@dataclass
class UnknownFields:
    """Of one tenant: how often each name that is no field occurred, which device sent it last, and
    one payload with some."""

    times: Counter[str] = field(default_factory=Counter)
    devices: dict[str, str] = field(default_factory=dict)
    sample: bytes = b""
    sample_device: str = ""

    def take(self, parcel: Parcel) -> None:
        """Those of a message."""
        names, device = parcel.decoded.unknown_fields, parcel.device.identifier
        self.times.update(names)
        self.devices.update(dict.fromkeys(names, device))
        self.sample, self.sample_device = parcel.message.payload, device


@dataclass
class Sorted:
    """A batch, taken apart."""

    parcels: list[Parcel] = field(default_factory=list)
    singles: list[Singles] = field(default_factory=list)
    readings: list[ConnectorReadings] = field(default_factory=list)
    refused: list[Refusal] = field(default_factory=list)
    notes: list[Note] = field(default_factory=list)
    unheard: Counter[Unheard] = field(default_factory=Counter)
    unknown_fields: dict[str, UnknownFields] = field(default_factory=dict)
    """By tenant, of those that sent some."""
    newest: dict[tuple[str, str], int] = field(default_factory=dict)
    """(tenant, device) → the newest instant that it spoke of, in ms: see clocks.py."""


# --- decode -----------------------------------------------------------------------------------


def decode(batch: Batch, *, directory: Directory, in_tables: bool = False) -> Sorted:
    """Whose message it is, by its topic alone, and what it says.

    `in_tables`: single readings of one form become singles rather than parcels.
    """
    work = Sorted()
    known: list[_Known] = []
    senders: dict[str, tuple[str, str, DeviceEntry | Refused]] = {}
    for number, message in enumerate(batch.messages):
        sender = senders.get(message.topic)
        if sender is None:
            sender = senders[message.topic] = _sender(message.topic, directory)
        identity, kind, device = sender
        if isinstance(device, Refused):
            if kind == "readings":
                work.refused.append(_whole(number, message, identity, device, directory))
            else:
                work.unheard[Unheard(_tenant_of(identity, directory), kind, device.reason)] += 1
        elif kind == "readings":
            known.append((number, message, identity, device))
        else:
            work.notes.append(_noted(device, kind, message.payload))
    if in_tables:
        known = _take_singles(work, known, directory)
    _decode_parcels(work, known, directory)
    _count_unknown_fields(work)
    return work


_Known = tuple[int, Message, str, DeviceEntry]
"""A message's number in the batch, itself, its identity and the device that it belongs to."""


def _take_singles(work: Sorted, known: list[_Known], directory: Directory) -> list[_Known]:
    """Tables of single readings go to `work`; the messages that are in none remain."""
    places = [place for place, (_, message, _, device) in enumerate(known)
              if _CODECS.get(_codec_of(message, device)) is json.decode]  # fmt: skip
    try:
        tables = tables_of_singles([known[place][1].payload for place in places])
    except Exception:  # a fault of ours in the fast way must not refuse what the plain way reads
        log.exception("no_tables_of_singles", messages=len(places))
        return known
    for table in tables:
        mine = [places[place] for place in table.places]
        numbers, messages, identities, devices = zip(*[known[p] for p in mine], strict=True)
        tenants = {device.tenant for device in devices}
        work.singles.append(
            Singles(
                list(numbers),
                list(messages),
                list(identities),
                list(devices),
                table.columns,
                {tenant: _retention(tenant, directory) for tenant in tenants},
                table.texts,
            )
        )
    taken = {places[place] for table in tables for place in table.places}
    return [each for place, each in enumerate(known) if place not in taken] if taken else known


def _decode_parcels(work: Sorted, known: list[_Known], directory: Directory) -> None:
    answers = _decoded_all([(message, device) for _, message, _, device in known])
    for (number, message, identity, device), answer in zip(known, answers, strict=True):
        if isinstance(answer, Refused):
            work.refused.append(_whole(number, message, identity, answer, directory))
        else:
            kept_for = _retention(device.tenant, directory)
            work.parcels.append(Parcel(number, message, identity, device, kept_for, answer))


def _sender(topic: str, directory: Directory) -> tuple[str, str, DeviceEntry | Refused]:
    """Identity, kind, and the device or why it is none."""
    identity, kind = _parts(topic)
    return identity, kind, _known(identity, directory)


def _parts(topic: str) -> tuple[str, str]:
    """Identity and kind in `ow/v1/<identity>/<kind>`; a topic of no such form is nobody's."""
    parts = topic.split("/")
    return (parts[2], parts[3]) if len(parts) == 4 else ("", "readings")


def _tenant_of(identity: str, directory: Directory) -> str:
    tenant = identity.partition(".")[0]
    return tenant if directory.knows_tenant(tenant) else PLATFORM


def _retention(tenant: str, directory: Directory) -> Retention:
    found = directory.tenant(tenant)
    return found.retention if found else Retention(DEFAULT_CLASS)


def _known(identity: str, directory: Directory) -> DeviceEntry | Refused:
    device = directory.entry(identity)
    if device is None:
        known = _tenant_of(identity, directory) != PLATFORM
        return Refused(Reason.UNKNOWN_DEVICE if known else Reason.UNKNOWN_TENANT)
    return device if device.enabled else Refused(Reason.DEVICE_DISABLED)


def _decoded_all(known: Sequence[tuple[Message, DeviceEntry]]) -> list[Decoded | Refused]:
    """An answer for each message; JSON is decoded together, which is several times faster."""
    names = [_codec_of(message, device) for message, device in known]
    together = [place for place, name in enumerate(names) if _CODECS.get(name) is json.decode]
    try:
        found = decode_together([known[place][0].payload for place in together])
    except Exception:  # a fault of ours in the fast way must not refuse what the plain way reads
        log.exception("not_decoded_together", messages=len(together))
        together, found = [], []
    quick = dict(zip(together, found, strict=True))
    return [
        answer if (answer := quick.get(place)) is not None else _decoded(message, names[place])
        for place, (message, _device) in enumerate(known)
    ]


def _codec_of(message: Message, device: DeviceEntry) -> str:
    """The device's record names the codec, else the content type, else the first byte."""
    if device.codec:
        return device.codec
    if message.content_type:
        named = message.content_type.partition(";")[0].strip().lower()
        if named:
            return named
    if message.payload.startswith(b"{"):
        return "json"
    return "cbor" if cbor.looks_like_cbor(message.payload) else "json"


def _decoded(message: Message, name: str) -> Decoded | Refused:
    if len(message.payload) > MESSAGE_BYTES_LIMIT:
        return Refused(Reason.TOO_LARGE, detail=f"{len(message.payload)} bytes")
    codec = _CODECS.get(name)
    if codec is None:
        return Refused(Reason.UNDECODABLE, detail=f"no codec for {name[:80]!r}")
    try:
        return codec(message.payload)
    except Refused as refused:
        return refused.as_answer()
    except Exception as error:
        log.exception("codec_failed", codec=name)
        return Refused(Reason.CODEC_FAILED, detail=f"{type(error).__name__}: {error}"[:300])


def _whole(
    number: int, message: Message, identity: str, refused: Refused, directory: Directory
) -> Refusal:
    return Refusal(
        tenant=_tenant_of(identity, directory),
        identity=identity,
        reason=refused.reason,
        message_number=number,
        message=message,
        field=refused.field,
        detail=refused.detail,
    )


def _noted(device: DeviceEntry, kind: str, payload: bytes) -> Note:
    if kind != "status":
        return Note(device.tenant, device.identifier, kind)
    try:
        said = msgspec.json.decode(payload)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
        said = None
    if not isinstance(said, dict) or type(said.get("online")) is not bool:
        return Note(device.tenant, device.identifier, "status_unreadable")
    firmware = said.get("firmware")
    firmware = firmware[:60] if isinstance(firmware, str) else ""
    return Note(device.tenant, device.identifier, kind, said["online"], firmware)


def _count_unknown_fields(work: Sorted) -> None:
    for parcel in work.parcels:
        if parcel.decoded.unknown_fields:
            work.unknown_fields.setdefault(parcel.device.tenant, UnknownFields()).take(parcel)


# --- check ------------------------------------------------------------------------------------


def check(work: Sorted, *, open_range_ms: tuple[int, int]) -> Sorted:
    """Refuse what was measured before the oldest open slice or too far ahead of our clock."""
    oldest_ms, newest_ms = open_range_ms
    work.singles = [_kept_singles(work, singles, open_range_ms) for singles in work.singles]
    if _all_within([parcel.decoded.columns for parcel in work.parcels], oldest_ms, newest_ms):
        return work
    for parcel in work.parcels:
        times = parcel.decoded.columns.time_ms
        if len(times) and (times.min() < oldest_ms or times.max() > newest_ms):
            _refuse_where(parcel, times < oldest_ms, Reason.TIME_TOO_OLD, "time")
            times = parcel.decoded.columns.time_ms
            _refuse_where(parcel, times > newest_ms, Reason.TIME_IN_FUTURE, "time")
    return work


def _kept_singles(work: Sorted, singles: Singles, open_range_ms: tuple[int, int]) -> Singles:
    """Those within the range; the others go on as parcels."""
    times = singles.columns.time_ms
    within = (times >= open_range_ms[0]) & (times <= open_range_ms[1])
    if within.all():
        return singles
    kept, others = singles.parted(within)
    work.parcels.extend(others)
    return kept


def _all_within(columns: Sequence[Columns], oldest_ms: int, newest_ms: int) -> bool:
    """The usual case, asked once for a whole batch."""
    times = np.concatenate([each.time_ms for each in columns]) if columns else np.empty(0)
    return not len(times) or bool(times.min() >= oldest_ms and times.max() <= newest_ms)


def _refuse_where(parcel: Parcel, bad: NDArray[np.bool_], reason: Reason, name: str) -> None:
    if bad.any():
        decoded = parcel.decoded
        decoded.refused.extend(RowRefusal(row, reason, name) for row in decoded.rows[bad].tolist())
        decoded.columns, decoded.rows = chosen(decoded.columns, ~bad), decoded.rows[~bad]


# --- resolve ----------------------------------------------------------------------------------


def resolve(work: Sorted) -> Sorted:
    """Each channel's readings go to the connector it watches, or are refused."""
    work.singles = [_resolved(work, singles) for singles in work.singles]
    for parcel in work.parcels:
        channels = parcel.decoded.columns.channel
        if len(channels):
            only = _only_channel(parcel.decoded)
            if only is not None:
                _resolve_channel(work, parcel, only, None)
            else:
                for channel in np.unique(channels).tolist():
                    _resolve_channel(work, parcel, channel, channels == channel)
        if parcel.decoded.refused:
            work.refused.extend(grouped(parcel, parcel.decoded.refused))
    return work


def _only_channel(decoded: Decoded) -> int | None:
    """Of all its readings, of which there are some; None where they have several."""
    channels, first = decoded.columns.channel, int(decoded.columns.channel[0])
    is_only = decoded.channel == first or len(channels) == 1 or (channels == first).all()
    return first if is_only else None


def _resolved(work: Sorted, singles: Singles) -> Singles:
    """Those whose channel has a connector in service; the others go on as parcels."""
    channels = singles.columns.channel.tolist()
    found = [d.connector_on(c) for d, c in zip(singles.devices, channels, strict=True)]
    connectors = [each for each in found if each is not None and each.in_service]
    if len(connectors) < len(found):
        these = np.array([each is not None and each.in_service for each in found])
        singles, others = singles.parted(these)
        work.parcels.extend(others)
    singles.connectors = connectors
    return singles


def _resolve_channel(
    work: Sorted, parcel: Parcel, channel: int, mask: NDArray[np.bool_] | None
) -> None:
    columns, rows = parcel.decoded.columns, parcel.decoded.rows
    if mask is not None:
        columns, rows = chosen(columns, mask), rows[mask]
    connector = parcel.device.connector_on(channel)
    if connector is not None and connector.in_service:
        work.readings.append(ConnectorReadings(parcel, connector, columns, rows))
        return
    reason = Reason.UNKNOWN_CHANNEL if connector is None else Reason.CONNECTOR_RETIRED
    detail = f"channel {channel}"
    parcel.decoded.refused.extend(
        RowRefusal(row, reason, "channel", detail) for row in rows.tolist()
    )


def grouped(parcel: Parcel, refusals: list[RowRefusal]) -> list[Refusal]:
    """One refusal for each reason, however many of the message's readings it concerns."""
    by_reason: dict[Reason, list[RowRefusal]] = {}
    for refusal in refusals:
        by_reason.setdefault(refusal.reason, []).append(refusal)
    return [_group(parcel, reason, rows) for reason, rows in by_reason.items()]


def one_each(refused: list[Refusal]) -> list[Refusal]:
    """One refusal for each message and reason, as the quarantine's ids want it.

    The store refuses by connector, and a message may hold several.
    """
    together: dict[tuple[int, Reason], Refusal] = {}
    for one in refused:
        key = (one.message_number, one.reason)
        known = together.get(key)
        if known is not None:
            rows = tuple(sorted(known.rows + one.rows))
            one = replace(known, count=known.count + one.count, rows=rows)
        together[key] = one
    return list(together.values())


def _group(parcel: Parcel, reason: Reason, refusals: list[RowRefusal]) -> Refusal:
    fields = sorted({refusal.field for refusal in refusals if refusal.field})
    detail = refusals[0].detail
    if len(refusals) > 1:
        named = ", ".join(str(refusal.row) for refusal in refusals[:_ROWS_NAMED])
        more = ", …" if len(refusals) > _ROWS_NAMED else ""
        detail = f"rows {named}{more}" + (f"; {detail}" if detail else "")
    return Refusal(
        tenant=parcel.device.tenant,
        identity=parcel.identity,
        reason=reason,
        message_number=parcel.number,
        message=parcel.message,
        count=len(refusals),
        field=", ".join(fields)[:128],
        detail=detail,
        rows=tuple(refusal.row for refusal in refusals),
    )
