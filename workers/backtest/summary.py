"""What a back-test comes to: alarms a day, messages by channel, failures caught, false alarms."""

from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from apps.alarms.truth import CAUGHT_WITHIN, Failure, failures_at, month_of, nothings_at
from apps.notifications.forecast import News, messages_by_channel
from apps.warning import queries
from apps.warning.models import BackTest
from ohmwatch.backtest.sides import Side
from workers.backtest.alarms import Alarms, Row

DAYS_A_YEAR = 365.25
_LISTED = 200
_LATER_MS = round(CAUGHT_WITHIN.total_seconds() * 1000)


def summarise(row: BackTest) -> dict[str, Any]:
    """The result of a back-test that is through: both sides, and what the workshops found."""
    alarms = Alarms.of(row.result)
    connectors = list(queries.judged_by(row).values_list("pk", flat=True))
    month = row.truth.get("month", "")
    failures = [
        each
        for each in failures_at(connectors, since=row.start, until=row.end + CAUGHT_WITHIN)
        if month in ("", month_of(each.found_at))
    ]
    nothings = nothings_at(connectors, month=month) if row.truth else set()
    days = (row.end - row.start).total_seconds() / 86_400
    summary: dict[str, Any] = {"days": days, "seen": alarms.seen, "failures": len(failures)}
    summary["nothings"] = len(nothings)
    for side in Side:
        rows, dropped = alarms.rows[side.value], alarms.dropped[side.value]
        summary[side.value] = {
            **_side(rows, dropped, failures, days=days, seen=alarms.seen),
            "at_peace": len(nothings - {UUID(each["connector"]) for each in rows if _warns(each)}),
        }
    return {"summary": summary, "after": row.result.get("after", "")}


def _side(
    rows: Sequence[Row], dropped: int, failures: Sequence[Failure], *, days: float, seen: int
) -> dict[str, Any]:
    announced = [(each, _caught(each, rows)) for each in failures]
    caught = [found for _, found in announced if found is not None]
    missed = [_named(each) for each, found in announced if found is None]
    false = [each for each in rows if _warns(each) and not _proved(each, failures)]
    years = seen * days / DAYS_A_YEAR
    total = len(rows) + dropped
    return {
        "alarms": total,
        "dropped": dropped,
        "alarms_a_day": total / days,
        "connectors": len({each["connector"] for each in rows}),
        "by_severity": dict(Counter(each["severity"] for each in rows)),
        "by_day": dict(sorted(Counter(_day(each["since_ms"]) for each in rows).items())),
        "messages": messages_by_channel(
            [_news(each, told) for each in rows for told in each["told"]]
        ),
        "caught": caught,
        "missed": len(missed),
        "missed_at": missed,
        "false": len(false),
        "false_a_connector_year": len(false) / years if years else None,
        "rows": [
            {name: value for name, value in each.items() if name != "told"}
            for each in sorted(rows, key=lambda each: -each["opened_ms"])[:_LISTED]
        ],
    }


def _caught(failure: Failure, rows: Sequence[Row]) -> dict[str, Any] | None:
    """The first alarm that announced the failure, and how many days before."""
    named = _named(failure)
    found_ms = named["found_ms"]
    before = [
        each["opened_ms"]
        for each in rows
        if each["connector"] == str(failure.connector)
        and 0 <= found_ms - each["opened_ms"] <= _LATER_MS
    ]
    if not before:
        return None
    days = (found_ms - min(before)) / 86_400_000
    return {**named, "days_ahead": days}


def _named(failure: Failure) -> dict[str, Any]:
    found_ms = round(failure.found_at.timestamp() * 1000)
    return {"connector": str(failure.connector), "found_ms": found_ms}


def _warns(row: Row) -> bool:
    return bool(row["severity"] != "notice")


def _proved(row: Row, failures: Sequence[Failure]) -> bool:
    """Whether a fault was found at the alarm's connector, not too long after."""
    return any(
        row["connector"] == str(each.connector)
        and 0 <= each.found_at.timestamp() * 1000 - row["opened_ms"] <= _LATER_MS
        for each in failures
    )


def _news(row: Row, told: Sequence[Any]) -> News:
    arrived_ms, kind, severity = told
    at = datetime.fromtimestamp(arrived_ms / 1000, UTC)
    return News(connector=row["connector"], kind=kind, severity=severity, at=at)


def _day(since_ms: int) -> str:
    return datetime.fromtimestamp(since_ms / 1000, UTC).date().isoformat()
