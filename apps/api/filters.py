"""What lists can be narrowed by. Ids are compared, never looked up: others' don't exist here."""

from django_filters import rest_framework as filters

from apps.alarms.models import Alarm, Severity, State
from apps.fleet.models import Connector, ConnectorState, Vehicle


class VehicleFilter(filters.FilterSet):
    organisation = filters.UUIDFilter(field_name="organisation_id")
    vin = filters.CharFilter(max_length=17)

    class Meta:
        model = Vehicle
        fields: list[str] = []


class ConnectorFilter(filters.FilterSet):
    vehicle = filters.UUIDFilter(field_name="vehicle_id")
    model = filters.UUIDFilter(field_name="model_id")
    organisation = filters.UUIDFilter(field_name="vehicle__organisation_id")
    batch = filters.CharFilter(max_length=64)
    serial = filters.CharFilter(max_length=64)
    position = filters.CharFilter(max_length=32)
    state = filters.ChoiceFilter(choices=ConnectorState.choices)

    class Meta:
        model = Connector
        fields: list[str] = []


class AlarmFilter(filters.FilterSet):
    connector = filters.UUIDFilter(field_name="connector_id")
    vehicle = filters.UUIDFilter(field_name="connector__vehicle_id")
    condition = filters.CharFilter(max_length=80)
    severity = filters.ChoiceFilter(choices=Severity.choices)
    state = filters.ChoiceFilter(choices=State.choices)
    opened_after = filters.IsoDateTimeFilter(field_name="opened_at", lookup_expr="gte")
    opened_before = filters.IsoDateTimeFilter(field_name="opened_at", lookup_expr="lt")

    class Meta:
        model = Alarm
        fields: list[str] = []
