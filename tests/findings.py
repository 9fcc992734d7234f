"""Findings as detectors state them, for stories about alarms."""

from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from ohmwatch.findings import Finding, Severity
from tests import cast

NOTICE, WARNING, CRITICAL = Severity.NOTICE, Severity.WARNING, Severity.CRITICAL
OVER = None


def finding(
    severity: Severity | None,
    *,
    at: datetime,
    connector: UUID = cast.BENS_CONNECTOR,
    condition: str = "overtemperature",
    arrived: datetime | None = None,
    since: datetime | None = None,
    **more: Any,
) -> Finding:
    """What a detector says about a reading measured `at`; it arrived a second later."""
    return Finding(
        connector=str(connector),
        condition=condition,
        severity=severity,
        since_ms=_ms(since or at),
        measured_ms=_ms(at),
        arrived_ms=_ms(arrived or at + timedelta(seconds=1)),
        **{
            "detector": "overtemperature",
            "detector_version": "1",
            "evidence": {"temperature_pos_c": 131.0, "limit_c": 125.0},
            **more,
        },
    )


def _ms(instant: datetime) -> int:
    return round(instant.timestamp() * 1000)
