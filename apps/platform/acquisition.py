"""How acquisition is: what its workers put on the notice board in Redis, also as metrics.

Workers write the keys (workers/acquisition/board.py says which); everything there can be lost and
comes again within a second, but for the counts, which begin anew: the account is in Elasticsearch.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import redis
from django.conf import settings
from django.utils import timezone
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from apps.platform.health import plugins
from apps.telemetry.board import (
    LAG_KEY,
    RETIRED_KEY,
    UNHEARD,
    counts_of_all,
    fullest,
    last_account,
    late_counts,
    rollup_lag,
)
from apps.telemetry.slices import to_ms
from ohmwatch.refusals import Reason

OUTCOMES = ("received", "stored", "duplicate", "late")
_SLOTS = "ow:acquisition:"


@dataclass(frozen=True)
class SlotState:
    """What a slot said of itself a moment ago. `holding`: since when (ms) which store is away."""

    number: int
    connected: bool
    reading: bool
    waiting_messages: int
    waiting_bytes: int
    lag_s: float
    directory_age_s: float | None
    """None before it has read the devices for the first time."""
    holding: dict[str, int] = field(default_factory=dict)

    @property
    def stores(self) -> str:
        """What it waits for, in a line."""
        return ", ".join(sorted(self.holding))


@dataclass(frozen=True)
class Counts:
    """One tenant's readings since the counts began."""

    tenant: str
    outcomes: dict[str, int]
    quarantined: dict[str, int]
    released: dict[str, int]
    """What a replay has taken out of the quarantine, by the reason for which it was there."""
    unheard: dict[tuple[str, str], int] = field(default_factory=dict)
    """What came beside readings and was dropped, by what it was and why."""
    lag_s: float | None = None
    """From measured to arrived, of the newest reading that came last; None before the first."""

    @property
    def refused(self) -> int:
        """All that went to the quarantine."""
        return sum(self.quarantined.values())


@dataclass(frozen=True)
class Board:
    """All that is put up now."""

    slots: list[SlotState]
    counts: list[Counts]
    retired: list[int] = field(default_factory=list)
    """Slots that were given up within the last ten minutes."""


def notice_board() -> redis.Redis:
    """A connection to where workers put up how they are, for who doesn't wait long."""
    return redis.Redis.from_url(settings.REDIS_LOG_URL, socket_timeout=1, socket_connect_timeout=1)


def board(*, now: datetime) -> Board:
    """What is put up; nothing where Redis is away."""
    with notice_board() as client:
        try:
            return Board(slots(client, now_ms=to_ms(now)), counts(client), _retired(client))
        except redis.RedisError:
            return Board([], [])


def slots(client: redis.Redis, *, now_ms: int) -> list[SlotState]:
    """The slots that are not silent, by number. Raises redis.RedisError."""
    keys = sorted(client.scan_iter(f"{_SLOTS}*"))
    said = client.mget(keys) if keys else []
    found = [
        _slot(key.decode().removeprefix(_SLOTS), json.loads(text), now_ms)
        for key, text in zip(keys, said, strict=True)
        if text
    ]
    return sorted(found, key=lambda slot: slot.number)


def _slot(number: str, said: dict[str, Any], now_ms: int) -> SlotState:
    oldest_ms, age_s = said.get("oldest_ms"), said.get("directory_age_s")
    return SlotState(
        number=int(number),
        connected=bool(said.get("connected")),
        reading=bool(said.get("reading")),
        waiting_messages=int(said.get("waiting_messages", 0)),
        waiting_bytes=int(said.get("waiting_bytes", 0)),
        lag_s=max(0, now_ms - oldest_ms) / 1000 if oldest_ms else 0.0,
        directory_age_s=None if age_s is None else float(age_s),
        holding={str(store): int(since) for store, since in (said.get("holding") or {}).items()},
    )


def _retired(client: redis.Redis) -> list[int]:
    keys = client.scan_iter(f"{RETIRED_KEY}*")
    return sorted(int(key.decode().removeprefix(RETIRED_KEY)) for key in keys)


def counts(client: redis.Redis) -> list[Counts]:
    """Every tenant's counts, by slug. Raises redis.RedisError."""
    found = counts_of_all(client)
    lags = client.hmget(LAG_KEY, list(found)) if found else []
    return [
        _counts(tenant, numbers, None if lag_ms is None else int(lag_ms) / 1000)
        for (tenant, numbers), lag_ms in zip(found.items(), lags, strict=True)
    ]


def _counts(tenant: str, numbers: dict[str, int], lag_s: float | None) -> Counts:
    return Counts(
        tenant=tenant,
        outcomes={name: numbers.get(name, 0) for name in OUTCOMES},
        quarantined=_by_reason(numbers, "quarantined:"),
        released=_by_reason(numbers, "released:"),
        unheard=_unheard(numbers),
        lag_s=lag_s,
    )


def _by_reason(numbers: dict[str, int], kind: str) -> dict[str, int]:
    return {
        name.removeprefix(kind): number for name, number in numbers.items() if name.startswith(kind)
    }


def _unheard(numbers: dict[str, int]) -> dict[tuple[str, str], int]:
    found: dict[tuple[str, str], int] = {}
    for name, number in _by_reason(numbers, UNHEARD).items():
        kind, _, reason = name.partition(":")
        found[kind, reason] = number
    if unreadable := numbers.get("status_unreadable"):
        found["status", Reason.UNDECODABLE] = unreadable
    return found


class AcquisitionCollector(Collector):
    """The board as metrics, read when Prometheus asks. Without Redis it has none."""

    def collect(self) -> Iterator[Metric]:
        now = timezone.now()
        found = board(now=now)
        if found.slots or found.counts:
            yield from _tenant_metrics(found.counts)
            yield from _slot_metrics(found.slots, now_ms=to_ms(now))
        yield _retired_metrics(found.retired)
        yield from _account_metrics()
        yield from _rollup_metrics()
        yield from _late_metrics()
        yield _shard_metrics()
        yield from _plugin_metrics()


def _tenant_metrics(tenants: list[Counts]) -> Iterator[Metric]:
    readings = CounterMetricFamily(
        "ohmwatch_readings", "Readings by what became of them", labels=["tenant", "outcome"]
    )
    quarantined = CounterMetricFamily(
        "ohmwatch_readings_quarantined", "Readings refused", labels=["tenant", "reason"]
    )
    released = CounterMetricFamily(
        "ohmwatch_readings_released",
        "Readings that a replay has taken out of the quarantine",
        labels=["tenant", "reason"],
    )
    unheard = CounterMetricFamily(
        "ohmwatch_messages_unheard",
        "Messages beside readings, status and events, that count for nothing",
        labels=["tenant", "kind", "reason"],
    )
    lag = GaugeMetricFamily(
        "ohmwatch_readings_lag_seconds",
        "From measured to arrived, of the newest reading that came last",
        labels=["tenant"],
    )
    for each in tenants:
        if each.lag_s is not None:
            lag.add_metric([each.tenant], each.lag_s)
        for outcome, number in each.outcomes.items():
            readings.add_metric([each.tenant, outcome], number)
        for reason, number in sorted(each.quarantined.items()):
            quarantined.add_metric([each.tenant, reason], number)
        for reason, number in sorted(each.released.items()):
            released.add_metric([each.tenant, reason], number)
        for (kind, reason), number in sorted(each.unheard.items()):
            unheard.add_metric([each.tenant, kind, reason], number)
    yield from (readings, quarantined, released, unheard, lag)


def _account_metrics() -> Iterator[Metric]:
    report = last_account()
    if report is None:
        return
    checked = "When the account was closed last, seconds since 1970"
    yield GaugeMetricFamily("ohmwatch_account_checked_seconds", checked, report.at_ms / 1000)
    apart = GaugeMetricFamily(
        "ohmwatch_account_apart",
        "Readings by which the account of the last day is open; 0 is closed",
        labels=["tenant"],
    )
    apart.add_metric(["total"], report.apart)
    for tenant, number in report.open.items():
        apart.add_metric([tenant], number)
    yield apart


def _rollup_metrics() -> Iterator[Metric]:
    lag = rollup_lag()
    if lag is None:
        return
    for name, about, numbers in (
        ("waiting", "Documents that a level of rollups has not taken in yet", lag.documents),
        ("lag_seconds", "By how much a level of rollups is behind", lag.seconds),
    ):
        gauge = GaugeMetricFamily(f"ohmwatch_rollups_{name}", about, labels=["level"])
        for level, number in numbers.items():
            gauge.add_metric([level], number)
        yield gauge


def _late_metrics() -> Iterator[Metric]:
    about = "What became of readings that came late, and of their connectors"
    counter = CounterMetricFamily("ohmwatch_late", about, labels=["what"])
    for what, number in sorted(late_counts().items()):
        counter.add_metric([what], number)
    yield counter


def _shard_metrics() -> Metric:
    gauge = GaugeMetricFamily(
        "ohmwatch_shard_fullness",
        "What an index's fullest shard holds, as a share of what one should",
        labels=["index"],
    )
    for index, used in fullest().items():
        gauge.add_metric([index], used)
    return gauge


def _plugin_metrics() -> Iterator[Metric]:
    gauge = GaugeMetricFamily(
        "ohmwatch_plugin_ready",
        "1 while the plug-in judges, 0 while it fails, was switched off or was refused",
        labels=["plugin"],
    )
    for each in plugins():
        gauge.add_metric([each.plugin], float(each.state == "ready"))
    yield gauge


def _retired_metrics(slots: list[int]) -> Metric:
    gauge = GaugeMetricFamily(
        "ohmwatch_acquisition_retired",
        "1 for ten minutes after the slot was drained: it is silent on purpose",
        labels=["slot"],
    )
    for slot in slots:
        gauge.add_metric([str(slot)], 1)
    return gauge


def _slot_metrics(found: list[SlotState], *, now_ms: int) -> Iterator[Metric]:
    for name, about, value in (
        ("connected", "1 while every broker has accepted the slot", lambda s: s.connected),
        ("reading", "1 while it reads, 0 while it holds the broker back", lambda s: s.reading),
        ("waiting_messages", "Messages not acknowledged yet", lambda s: s.waiting_messages),
        ("waiting_bytes", "Memory that they take, about", lambda s: s.waiting_bytes),
        ("lag_seconds", "Age of the oldest batch that waits", lambda s: s.lag_s),
        ("directory_age_seconds", "Since all devices were read last", lambda s: s.directory_age_s),
    ):
        gauge = GaugeMetricFamily(f"ohmwatch_acquisition_{name}", about, labels=["slot"])
        for slot in found:
            if (told := value(slot)) is not None:
                gauge.add_metric([str(slot.number)], float(told))
        yield gauge
    holding = GaugeMetricFamily(
        "ohmwatch_acquisition_holding_seconds",
        "How long the slot has waited for a store that is away or refuses",
        labels=["slot", "store"],
    )
    for slot in found:
        for store, since_ms in slot.holding.items():
            holding.add_metric([str(slot.number), store], max(0, now_ms - since_ms) / 1000)
    yield holding
