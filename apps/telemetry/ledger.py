"""The account's questions and answers: sums of the ledger beside what the store holds."""

from collections.abc import Mapping
from typing import Any

from apps.telemetry.answers import AccountLine
from apps.telemetry.questions import Body, within
from ohmwatch.refusals import Reason

TENANTS_LIMIT = 10_000
_SUMS = ("received", "stored", "duplicate")
_REASONS = tuple(str(reason) for reason in Reason)


def ledger_sums() -> Body:
    """What the ledger says, by tenant."""
    sums = {name: {"sum": {"field": name}} for name in _SUMS}
    reasons = {f"r:{name}": {"sum": {"field": f"quarantined.{name}"}} for name in _REASONS}
    return _by_tenant({**sums, **reasons})


def held_readings() -> Body:
    """How many readings the store holds, by tenant."""
    return _by_tenant({})


def held_quarantined() -> Body:
    """How many readings the quarantine stands for, by tenant and reason."""
    count = {"count": {"sum": {"field": "count"}}}
    return _by_tenant({"reasons": {"terms": {"field": "reason", "size": 100}, "aggs": count}})


def _by_tenant(inner: Body) -> Body:
    terms: Body = {"terms": {"field": "tenant", "size": TENANTS_LIMIT}}
    if inner:
        terms["aggs"] = inner
    return {"size": 0, "track_total_hits": False, "aggs": {"tenants": terms}}


def arrived_within(start_ms: int, end_ms: int) -> Body:
    """start_ms ≤ arrival < end_ms."""
    return within("arrived_at", start_ms, end_ms)


Answer = Mapping[str, Any]


def lines(ledger: Answer, readings: Answer, quarantine: Answer) -> list[AccountLine]:
    """The three answers side by side, a line a tenant, in the tenants' order."""
    said, held, refused = (_buckets(answer) for answer in (ledger, readings, quarantine))
    return [
        _line(tenant, said.get(tenant, {}), held.get(tenant, {}), refused.get(tenant, {}))
        for tenant in sorted(said.keys() | held.keys() | refused.keys())
    ]


def _buckets(answer: Answer) -> dict[str, Any]:
    tenants = answer.get("aggregations", {}).get("tenants", {})
    return {bucket["key"]: bucket for bucket in tenants.get("buckets", ())}


def _line(tenant: str, said: Answer, held: Answer, refused: Answer) -> AccountLine:
    received, stored, duplicate = (_sum(said, name) for name in _SUMS)
    by_reason = {name: _sum(said, f"r:{name}") for name in _REASONS}
    kept = refused.get("reasons", {}).get("buckets", ())
    return AccountLine(
        tenant=tenant,
        received=received,
        stored=stored,
        duplicate=duplicate,
        quarantined={name: number for name, number in by_reason.items() if number},
        held_readings=held.get("doc_count", 0),
        held_quarantined={bucket["key"]: _sum(bucket, "count") for bucket in kept},
    )


def _sum(bucket: Answer, name: str) -> int:
    return int(bucket.get(name, {}).get("value", 0))
