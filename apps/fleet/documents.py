"""A connector's state as the search index holds it: what it is and whose, to ask across them all.

Registered without signals: a signal fires inside the transaction, and a rollback would leave a
ghost. Upkeep writes it when the fleet changes. What detection and alarms add, and the whole shape,
is `apps.telemetry.documents.State`.
"""

from typing import Any

from django.conf import settings
from django_elasticsearch_dsl import Document
from django_elasticsearch_dsl.registries import registry

from apps.fleet.models import Connector
from apps.telemetry.documents import STATE_INDEX
from apps.telemetry.slices import to_ms
from apps.tenants.queries import current_tenant


@registry.register_document
class ConnectorDocument(Document):
    """How a row fills its part of the state."""

    class Index:
        name = f"{settings.ELASTICSEARCH_PREFIX}{STATE_INDEX}"

    class Django:
        model = Connector
        ignore_signals = True
        auto_refresh = False

    @classmethod
    def generate_id(cls, instance: Connector) -> str:
        """`<tenant>:<pk>`: no tenant can overwrite another's document."""
        return f"{current_tenant().slug}:{instance.pk}"

    def prepare(self, instance: Connector) -> dict[str, Any]:
        return connector_document(instance, tenant=current_tenant().slug)


def connector_document(connector: Connector, *, tenant: str) -> dict[str, Any]:
    """The part of the state that the fleet knows; model, vehicle and organisation are loaded.

    What is empty is written as null, so that a connector that left its vehicle leaves no trace.
    """
    model, vehicle = connector.model, connector.vehicle
    organisation = vehicle.organisation if vehicle else None
    return {
        "tenant": tenant,
        "connector": str(connector.pk),
        "serial": connector.serial,
        "batch": connector.batch or None,
        "position": connector.position,
        "service": connector.state,
        "installed_at": to_ms(connector.installed_at) if connector.installed_at else None,
        "model": model.code,
        "model_code": model.code,
        "model_name": model.name,
        "vehicle": str(vehicle.pk) if vehicle else None,
        "vehicle_label": (vehicle.label or None) if vehicle else None,
        "vin": vehicle.vin if vehicle else None,
        "plate": (vehicle.plate or None) if vehicle else None,
        "organisation": str(organisation.pk) if organisation else None,
        "organisation_name": organisation.name if organisation else None,
    }
