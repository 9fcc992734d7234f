"""A story of readings, as acquisition hands them on, and what detection made of it.

Six connectors of two tenants with equal ids: each gets hot, dries out and recovers, at a time of
its own. One chunk in twenty comes late, one in thirty twice, one in ten a moment out of order.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

import numpy as np
import orjson
from django.conf import settings
from django_tenants.utils import schema_context

from apps.alarms.models import Alarm, AlarmEvent, Kind, State
from apps.partitions.log import Chunk, PartitionLog, partition_of
from apps.partitions.models import Checkpoint
from apps.telemetry.store import the_store
from apps.warning.models import ShadowAlarm
from ohmwatch.detector import Detector
from ohmwatch.watch import Watch
from tests import cast

SECONDS = 900
CHUNK_S = 5
CONNECTORS = [
    (tenant, str(connector))
    for tenant in ("kunlun", "aurora")
    for connector in (cast.BENS_CONNECTOR, cast.BENS_SECOND_CONNECTOR, cast.CLARAS_CONNECTOR)
]


def partitions() -> list[int]:
    """The partitions that the story's connectors are in."""
    count = settings.ENVIRONMENT.partitions
    return sorted({partition_of(tenant, connector, count) for tenant, connector in CONNECTORS})


def story(
    *, seed: int = 1, late: bool = True, repeated: bool = True, ends_ms: int | None = None
) -> list[Chunk]:
    """All chunks in order of arrival; the newest was measured about now, or at `ends_ms`.

    Two stories that are compared end at one moment: what goes on is stated again at round times.
    """
    now_ms = ends_ms or int(datetime.now(UTC).timestamp()) * 1000
    chance = np.random.default_rng(seed)
    chunks: list[Chunk] = []
    for number, (tenant, connector) in enumerate(CONNECTORS):
        for chunk in _of_one(tenant, connector, now_ms - SECONDS * 1000, number):
            fate = chance.random()
            if fate < 0.05 and late:
                delay_ms = int(chance.integers(20_000, 60_000))
                chunks.append(replace(chunk, arrived_ms=chunk.arrived_ms + delay_ms))
                continue
            if fate > 0.9:  # overtaken by the next one, which came 100 ms before
                chunk = replace(chunk, arrived_ms=chunk.arrived_ms + CHUNK_S * 1000 + 100)
            chunks.append(chunk)
            if 0.5 < fate < 0.53 and repeated:
                delay_ms = int(chance.integers(0, 30_000))
                chunks.append(replace(chunk, arrived_ms=chunk.arrived_ms + delay_ms))
    return sorted(chunks, key=lambda chunk: chunk.arrived_ms)


def disturbed(chunks: Sequence[Chunk], *, seed: int = 7) -> list[Chunk]:
    """The same readings, 5 % of them late by up to a day and 1 % twice, in order of arrival."""
    chance = np.random.default_rng(seed)
    found: list[Chunk] = []
    for chunk in chunks:
        fate = chance.random(len(chunk.time_ms))
        found += [_rows(chunk, fate >= 0.05)] if (fate >= 0.05).any() else []
        for at in np.flatnonzero(fate < 0.05):
            delay_ms = int(chance.integers(1_000, 24 * 3_600_000 - SECONDS * 1000))
            late = _rows(chunk, np.arange(len(fate)) == at)
            found.append(replace(late, arrived_ms=chunk.arrived_ms + delay_ms))
        for at in np.flatnonzero(fate > 0.99):
            delay_ms = int(chance.choice([0, 10_000, 3_600_000]))
            again = _rows(chunk, np.arange(len(fate)) == at)
            found.append(replace(again, arrived_ms=chunk.arrived_ms + delay_ms))
    return sorted(found, key=lambda each: each.arrived_ms)


def _rows(chunk: Chunk, chosen: np.ndarray) -> Chunk:
    values = {name: column[chosen] for name, column in chunk.values.items()}
    return replace(chunk, time_ms=chunk.time_ms[chosen], values=values)


def parts(chunks: Sequence[Chunk], *, each_s: int = 60) -> Iterator[list[Chunk]]:
    """The story cut at moments when nothing is on its way out of order."""
    start_ms = chunks[0].arrived_ms // 1000 * 1000
    step_ms = each_s // CHUNK_S * CHUNK_S * 1000
    cuts = range(start_ms - 1000, chunks[-1].arrived_ms + step_ms, step_ms)
    for cut in cuts:
        part = [chunk for chunk in chunks if cut <= chunk.arrived_ms < cut + step_ms]
        if part:
            yield part


def store(chunks: Sequence[Chunk]) -> None:
    """Writes readings as acquisition does: a repeat is answered as a duplicate."""
    lines = [line for chunk in chunks for line in _documents(chunk)]
    if lines:
        answers = the_store().bulk(b"".join(lines))
        assert {answer.status for answer in answers} <= {201, 409}, answers[:3]


def append(chunks: Sequence[Chunk], log: PartitionLog, *, each: int = 40) -> None:
    """Appends to the partitions' logs, a batch of acquisition at a time."""
    for first in range(0, len(chunks), each):
        log.append(chunks[first : first + each])


@dataclass(frozen=True, slots=True)
class Line:
    """An alarm's event, without what differs from run to run (ids, the time of judgement)."""

    tenant: str
    connector: str
    condition: str
    kind: str
    severity: str
    reason: str
    measured_at: datetime | None
    arrived_at: datetime | None
    evidence: str


def events() -> list[Line]:
    """Every event of every alarm, by tenant, connector, condition and order of writing."""
    lines = [line for tenant in ("kunlun", "aurora") for line in _events_of(tenant)]
    return sorted(lines, key=lambda line: (line.tenant, line.connector, line.condition))


def _events_of(tenant: str) -> list[Line]:
    with schema_context(f"t_{tenant}"):
        rows = AlarmEvent.objects.select_related("alarm").order_by("number")
        return [
            Line(
                tenant=tenant,
                connector=str(row.alarm.connector_id),
                condition=row.alarm.condition,
                kind=row.kind,
                severity=row.severity,
                reason=row.reason,
                measured_at=row.measured_at,
                arrived_at=row.arrived_at,
                evidence=orjson.dumps(row.evidence, option=orjson.OPT_SORT_KEYS).decode(),
            )
            for row in rows
        ]


@dataclass(frozen=True, slots=True, order=True)
class Standing:
    """A step of an alarm that nothing has corrected; that one opened once more counts as opened."""

    tenant: str
    connector: str
    condition: str
    measured_at: datetime
    kind: str
    severity: str
    evidence: str


def standing() -> list[Standing]:
    """What is true of all connectors, as the stories tell it: in order of measurement."""
    return sorted(line for tenant in ("kunlun", "aurora") for line in _standing_of(tenant))


def open_alarms() -> list[tuple[str, ...]]:
    """What the open alarms say of now."""
    found: list[tuple[str, ...]] = []
    for tenant in ("kunlun", "aurora"):
        with schema_context(f"t_{tenant}"):
            for row in Alarm.objects.filter(state=State.OPEN):
                about = (row.connector_id, row.condition, row.severity, row.pole, row.since)
                found.append(
                    (tenant, *map(str, about), str(row.last_measured_at), str(row.evidence))
                )
    return sorted(found)


def in_shadow() -> list[tuple[str, ...]]:
    """What rules in shadow have counted."""
    found: list[tuple[str, ...]] = []
    for tenant in ("kunlun", "aurora"):
        with schema_context(f"t_{tenant}"):
            for row in ShadowAlarm.objects.all():
                worst = (row.severity, row.worst_severity, row.pole, row.occurrences)
                times = (row.since, row.last_measured_at, row.ended_at is None)
                about = (row.connector_id, row.condition, *worst, *times, row.evidence)
                found.append((tenant, *map(str, about)))
    return sorted(found)


def _standing_of(tenant: str) -> Iterator[Standing]:
    with schema_context(f"t_{tenant}"):
        rows = AlarmEvent.objects.select_related("alarm").filter(corrected_by=None)
        for row in rows.exclude(kind=Kind.WITHDRAWN):
            if row.measured_at is not None:
                yield Standing(
                    tenant=tenant,
                    connector=str(row.alarm.connector_id),
                    condition=row.alarm.condition,
                    measured_at=row.measured_at,
                    kind="opened" if row.kind == Kind.REOPENED else row.kind,
                    severity=row.severity,
                    evidence=orjson.dumps(row.evidence, option=orjson.OPT_SORT_KEYS).decode(),
                )


def learnt(detectors: Sequence[Detector]) -> dict[str, bytes]:
    """By connector, all that the checkpoints know of it."""
    found: dict[str, bytes] = {}
    for row in Checkpoint.objects.all():
        watch = Watch.load(bytes(row.state), detectors)
        for name in watch.connectors:
            one = watch.copy_of([name])
            records = [one._states[each.name].tobytes() for each in one._turns()]
            records += [one._states[key].tobytes() for key in sorted(one.beside())]
            found[name] = b"".join([str(one.clock_ms(name)).encode(), *records])
    return found


def _of_one(tenant: str, connector: str, start_ms: int, number: int) -> Iterator[Chunk]:
    chance = np.random.default_rng(100 + number)
    step = np.arange(SECONDS)
    hot = ((step > 120 + 20 * number) & (step < 260 + 20 * number)).astype(float)
    wet = (step > 200 + 10 * number) & (step < 400)
    values = {
        "current_a": 120 + 60 * np.sin(step / 40) + chance.normal(0, 2, SECONDS),
        "ambient_c": np.full(SECONDS, 21.0),
        "temperature_pos_c": 32 + 100 * hot + chance.normal(0, 0.5, SECONDS),
        "temperature_neg_c": 32 + 10 * hot + chance.normal(0, 0.5, SECONDS),
        "insulation_kohm": np.where(wet, 300.0, 9_000.0) + chance.normal(0, 5, SECONDS),
    }
    for first in range(0, SECONDS, CHUNK_S):
        here = slice(first, first + CHUNK_S)
        time_ms = start_ms + 1000 * step[here].astype(np.int64)
        yield Chunk(
            tenant=tenant,
            connector=connector,
            arrived_ms=int(time_ms[-1]) + 100,
            time_ms=time_ms,
            values={name: np.round(column[here], 2) for name, column in values.items()},
        )


def _documents(chunk: Chunk) -> Iterator[bytes]:
    shared: dict[str, Any] = {
        "tenant": chunk.tenant,
        "connector": chunk.connector,
        "arrived_at": chunk.arrived_ms,
        "batch_id": 1,
    }
    for at, time_ms in enumerate(chunk.time_ms.tolist()):
        index = the_store().reading_index("30d", time_ms)
        values = {name: float(column[at]) for name, column in chunk.values.items()}
        yield orjson.dumps({"create": {"_index": index}}) + b"\n"
        yield orjson.dumps({"@timestamp": time_ms, **shared, **values}) + b"\n"
