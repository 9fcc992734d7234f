"""The notice board as Prometheus reads it: what acquisition counted, whether the account closes.

Collected anew at each scrape, in whichever process is asked; where the board can't be read,
`ohmwatch_board_readable` is 0 and the rest is absent rather than old.
"""

from collections.abc import Iterable, Iterator
from typing import Any

import redis
from prometheus_client import REGISTRY
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from apps.telemetry import board
from apps.telemetry.documents import PLATFORM
from apps.tenants.queries import ready_tenants

_PLAIN = ("received", "stored", "duplicate", "late", "events", "status_unreadable")
_BY_REASON = {
    "quarantined": "Readings refused, by reason; a message refused as a whole counts 1",
    "released": "Readings that a replay has taken out of the quarantine",
}
_SLOT_GAUGES = {
    "connected": "Whether the worker has its session at the broker",
    "reading": "Whether it reads its socket: 0 while it holds the broker back",
    "waiting_messages": "Messages held and not acknowledged",
    "waiting_bytes": "Bytes of these",
}


class BoardCollector(Collector):
    """Everything on the board, by tenant's slug or by slot."""

    def collect(self) -> Iterable[Metric]:
        readable = GaugeMetricFamily("ohmwatch_board_readable", "Whether Redis answered")
        try:
            families = [*_counts(), *_account(), *_slots()]
        except redis.RedisError:
            readable.add_metric([], 0)
            yield readable
            return
        readable.add_metric([], 1)
        yield readable
        yield from families

    def describe(self) -> Iterable[Metric]:
        """Nothing: to register it must not ask Redis."""
        return ()


def _counts() -> Iterator[Metric]:
    of = {slug: board.counts(slug) for slug in [PLATFORM, *(t.slug for t in ready_tenants())]}
    for name in _PLAIN:
        family = CounterMetricFamily(
            f"ohmwatch_acquisition_{name}", f"Readings: {name}", labels=["tenant"]
        )
        for slug, numbers in of.items():
            if name in numbers:
                family.add_metric([slug], numbers[name])
        yield family
    for name, what in _BY_REASON.items():
        family = CounterMetricFamily(
            f"ohmwatch_acquisition_{name}", what, labels=["tenant", "reason"]
        )
        for slug, numbers in of.items():
            for key, number in numbers.items():
                kind, _colon, reason = key.partition(":")
                if kind == name:
                    family.add_metric([slug, reason], number)
        yield family


def _account() -> Iterator[Metric]:
    report = board.last_account()
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


def _slots() -> Iterator[Metric]:
    states = board.slots()
    for name, what in _SLOT_GAUGES.items():
        family = GaugeMetricFamily(f"ohmwatch_acquisition_slot_{name}", what, labels=["slot"])
        for slot, state in states.items():
            family.add_metric([str(slot)], _number(state.get(name)))
        yield family


def _number(said: Any) -> float:
    return float(said) if isinstance(said, (int, float)) else 0.0


def register() -> None:
    """Once a process."""
    REGISTRY.register(BoardCollector())
