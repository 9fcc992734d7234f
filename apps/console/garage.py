"""Vehicles as their owner looks for them: the one in trouble first, found by any of its names."""

from django.db.models import Case, IntegerField, Max, Prefetch, Q, QuerySet, Value, When

from apps.alarms.models import Severity, State
from apps.fleet.models import Connector, Vehicle


def worst_first(vehicles: QuerySet[Vehicle]) -> QuerySet[Vehicle]:
    """By the worst open alarm of any connector (`severity_rank`, 0 to 3), then by name."""
    ranks = [
        When(
            connectors__alarms__state=State.OPEN,
            connectors__alarms__severity=severity.value,
            then=Value(severity.rank),
        )
        for severity in Severity
    ]
    rank = Max(Case(*ranks, default=Value(0), output_field=IntegerField()))
    return vehicles.annotate(severity_rank=rank).order_by("-severity_rank", "label", "plate", "vin")


def named(vehicles: QuerySet[Vehicle], text: str) -> QuerySet[Vehicle]:
    """Those whose label, plate, VIN or a connector's serial number contains the text."""
    text = text.strip()
    if not text:
        return vehicles
    found = (
        Q(label__icontains=text)
        | Q(plate__icontains=text)
        | Q(vin__icontains=text)
        | Q(connectors__serial__icontains=text)
    )
    return vehicles.filter(pk__in=vehicles.filter(found).order_by().values("pk"))


def with_connectors(vehicles: QuerySet[Vehicle]) -> QuerySet[Vehicle]:
    """Loads organisation and connectors in service with their models, in two more queries."""
    serving = Connector.objects.filter(state="in_service").select_related("model")
    return vehicles.select_related("organisation").prefetch_related(
        Prefetch("connectors", queryset=serving, to_attr="serving")
    )
