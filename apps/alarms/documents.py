"""An alarm event as the search index holds it: everything people slice alarms by, in one document.

Registered without signals: a signal fires inside the transaction, and a rollback would leave a
ghost. Upkeep feeds it from the outbox.
"""

from datetime import datetime
from typing import Any

from django.conf import settings
from django_elasticsearch_dsl import Document
from django_elasticsearch_dsl.registries import registry

from apps.alarms.models import AlarmEvent, Severity
from apps.fleet.models import Connector
from apps.telemetry.documents import EVENTS_INDEX
from apps.tenants.queries import current_tenant


@registry.register_document
class AlarmEventDocument(Document):
    """The shape is `apps.telemetry.documents.Event`; here is how a row fills it."""

    class Index:
        name = f"{settings.ENVIRONMENT.elasticsearch_prefix}{EVENTS_INDEX}"

    class Django:
        model = AlarmEvent
        ignore_signals = True
        auto_refresh = False

    @classmethod
    def generate_id(cls, instance: AlarmEvent) -> str:
        """`<tenant>:<pk>`: no tenant can overwrite another's document."""
        return f"{current_tenant().slug}:{instance.pk}"

    def prepare(self, instance: AlarmEvent) -> dict[str, Any]:
        return event_document(instance, tenant=current_tenant().slug)


def event_document(event: AlarmEvent, *, tenant: str) -> dict[str, Any]:
    """The document of an event whose alarm, connector, vehicle and organisation are loaded."""
    alarm = event.alarm
    return {
        "tenant": tenant,
        "event": str(event.pk),
        "number": event.number,
        "alarm": str(alarm.pk),
        "connector": str(alarm.connector_id),
        "kind": event.kind,
        "condition": alarm.condition,
        "pole": alarm.pole,
        "severity": event.severity,
        "severity_rank": Severity(event.severity).rank,
        "reason": event.reason,
        "actor": str(event.actor_id) if event.actor_id else None,
        "note": event.note or None,
        "old_news": event.old_news,
        "measured_at": _milliseconds(event.measured_at),
        "arrived_at": _milliseconds(event.arrived_at),
        "judged_at": _milliseconds(event.judged_at),
        "time_left_s": alarm.time_left_s,
        "evidence": event.evidence,
        **_dimensions(alarm.connector),
    }


def _dimensions(connector: Connector) -> dict[str, Any]:
    model, vehicle = connector.model, connector.vehicle
    return {
        "model": model.code,
        "model_code": model.code,
        "model_name": model.name,
        "batch": connector.batch,
        "position": connector.position,
        "serial": connector.serial,
        "vehicle": str(vehicle.pk) if vehicle else None,
        "vehicle_label": vehicle.label if vehicle else None,
        "vin": vehicle.vin if vehicle else None,
        "plate": vehicle.plate if vehicle else None,
        "organisation": str(vehicle.organisation_id) if vehicle else None,
        "organisation_name": vehicle.organisation.name if vehicle else None,
    }


def _milliseconds(instant: datetime | None) -> int | None:
    return round(instant.timestamp() * 1000) if instant else None
