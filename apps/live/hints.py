"""An alarm event as a browser gets it, over the socket and over HTTP alike."""

from typing import Any

from django.utils.translation import gettext

from apps.alarms.models import AlarmEvent, Kind, Severity
from apps.alarms.wording import condition_name

Hint = dict[str, Any]


def hint(event: AlarmEvent, *, previous: int) -> Hint:
    """Plain values, no language yet. `previous`: the number before it that this viewer may see."""
    alarm = event.alarm
    vehicle = alarm.connector.vehicle
    return {
        "type": "alarm",
        "number": event.number,
        "previous": previous,
        "alarm": str(alarm.pk),
        "kind": event.kind,
        "severity": event.severity,
        "state": alarm.state,
        "condition": alarm.condition,
        "pole": alarm.pole,
        "connector": str(alarm.connector_id),
        "serial": alarm.connector.serial,
        "vehicle": str(vehicle) if vehicle else "",
        "old_news": event.old_news,
        "measured_at": _milliseconds(event.measured_at),
        "arrived_at": _milliseconds(event.arrived_at),
        "judged_at": _milliseconds(event.judged_at),
    }


def spoken(hint: Hint) -> Hint:
    """The hint with its words in the active language."""
    what, where = condition_name(hint["condition"]), hint["vehicle"] or hint["serial"]
    return {
        **hint,
        "title": gettext("%(what)s: %(where)s") % {"what": what, "where": where},
        "kind_name": str(Kind(hint["kind"]).label),
        "severity_name": str(Severity(hint["severity"]).label),
    }


def _milliseconds(instant: Any) -> int | None:
    return round(instant.timestamp() * 1000) if instant else None
