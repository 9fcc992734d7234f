"""What the API says of each thing: fields by name, with units in the names."""

from datetime import UTC, datetime, timedelta
from typing import Any

from django.utils import timezone
from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from apps.accounts.models import Organisation
from apps.alarms.models import Alarm, AlarmEvent, Cause, Inspection, Outcome, Pole
from apps.api.models import Scope
from apps.catalog.models import ConnectorModel
from apps.fleet.models import Connector, Vehicle
from apps.telemetry.bins import BINS
from apps.telemetry.documents import DIMENSIONS
from apps.telemetry.fleet import BY, LEADING
from apps.telemetry.fleet_questions import AGE, NOW
from apps.telemetry.questions import MARGIN
from apps.warning.models import Rule
from ohmwatch.findings import UNFORESEEN
from ohmwatch.readings import QUANTITIES

EARLIEST = datetime(2000, 1, 1, tzinfo=UTC)
LATEST = datetime(2200, 1, 1, tzinfo=UTC)

_NUMBERS = {"type": "object", "additionalProperties": {"type": "number"}}


@extend_schema_field(_NUMBERS)
class QuantitiesField(serializers.DictField):
    """Quantity → number; a state such as `mated` is 0 or 1."""

    child = serializers.FloatField()


@extend_schema_field({"type": "object", "additionalProperties": {"type": ["number", "string"]}})
class EvidenceField(serializers.DictField):
    """The numbers that a finding rests on."""


class OrganisationSerializer(serializers.ModelSerializer[Organisation]):
    class Meta:
        model = Organisation
        fields = ["id", "name"]


class ModelSerializer(serializers.ModelSerializer[ConnectorModel]):
    """A connector model with its ratings."""

    class Meta:
        model = ConnectorModel
        fields = [
            "id",
            "code",
            "name",
            "position",
            "rated_current_a",
            "rated_voltage_v",
            "temperature_limit_c",
            "derating",
            "temperature_rise_rated_k",
            "temperature_rise_limit_k",
            "contact_resistance_new_uohm",
            "contact_resistance_end_uohm",
            "thermal_resistance_k_per_w",
            "thermal_time_constants_s",
            "insulation_minimum_kohm",
            "rated_mating_cycles",
            "interval_s",
        ]

    derating = serializers.ListField(
        child=serializers.ListField(child=serializers.FloatField(), min_length=2, max_length=2),
        help_text="Pairs of ambient temperature in °C and allowed current in A.",
    )
    thermal_time_constants_s = serializers.ListField(child=serializers.FloatField())


class ModelNameSerializer(serializers.ModelSerializer[ConnectorModel]):
    class Meta:
        model = ConnectorModel
        fields = ["id", "code", "name"]


class VehicleSerializer(serializers.ModelSerializer[Vehicle]):
    organisation = OrganisationSerializer()

    class Meta:
        model = Vehicle
        fields = ["id", "vin", "plate", "label", "organisation", "created_at"]


class ConnectorSerializer(serializers.ModelSerializer[Connector]):
    model = ModelNameSerializer()
    vehicle = serializers.UUIDField(source="vehicle_id", allow_null=True)

    class Meta:
        model = Connector
        fields = ["id", "serial", "batch", "model", "vehicle", "position", "installed_at", "state"]


class AlarmSerializer(serializers.ModelSerializer[Alarm]):
    connector = serializers.UUIDField(source="connector_id")
    vehicle = serializers.UUIDField(source="connector.vehicle_id", allow_null=True)
    evidence = EvidenceField()
    rule = serializers.UUIDField(source="rule_id", allow_null=True)

    class Meta:
        model = Alarm
        fields = [
            "id",
            "connector",
            "vehicle",
            "condition",
            "pole",
            "severity",
            "state",
            "since",
            "last_measured_at",
            "opened_at",
            "acknowledged_at",
            "cleared_at",
            "time_left_s",
            "occurrences",
            "evidence",
            "detector",
            "detector_version",
            "rule",
            "rule_version",
        ]


class AlarmEventSerializer(serializers.ModelSerializer[AlarmEvent]):
    alarm = serializers.UUIDField(source="alarm_id")
    connector = serializers.UUIDField(source="alarm.connector_id")
    condition = serializers.CharField(source="alarm.condition")
    evidence = EvidenceField()
    rule = serializers.UUIDField(source="rule_id", allow_null=True)
    corrects = serializers.UUIDField(
        source="corrects_id",
        allow_null=True,
        help_text="The event in whose place this one stands, or that it withdraws: readings that "
        "came late have shown that it was otherwise.",
    )

    class Meta:
        model = AlarmEvent
        fields = [
            "number",
            "id",
            "alarm",
            "connector",
            "condition",
            "kind",
            "severity",
            "reason",
            "measured_at",
            "arrived_at",
            "judged_at",
            "old_news",
            "evidence",
            "detector",
            "detector_version",
            "rule",
            "rule_version",
            "corrects",
        ]


class EventPageSerializer(serializers.Serializer[dict[str, Any]]):
    """Events in order of their numbers; ask again with `after` for what follows."""

    results = AlarmEventSerializer(many=True)
    after = serializers.IntegerField(help_text="The number to ask after next time.")
    more = serializers.BooleanField(help_text="Whether there is more right now.")


class InspectionSerializer(serializers.ModelSerializer[Inspection]):
    """What was found about an alarm; of several the newest counts."""

    alarm = serializers.UUIDField(source="alarm_id")
    connector = serializers.UUIDField(source="connector_id")

    class Meta:
        model = Inspection
        fields = [
            "id",
            "alarm",
            "connector",
            "outcome",
            "cause",
            "pole",
            "resistance_uohm",
            "text",
            "found_at",
            "entered_at",
        ]


class InspectionListSerializer(serializers.Serializer[Any]):
    results = InspectionSerializer(many=True)


class InspectionEntry(serializers.Serializer[Any]):
    """What a workshop found."""

    outcome = serializers.ChoiceField(choices=Outcome.choices)
    cause = serializers.ChoiceField(choices=Cause.choices, required=False, default="")
    pole = serializers.ChoiceField(choices=Pole.choices, required=False, default="")
    resistance_uohm = serializers.FloatField(required=False, allow_null=True, default=None)
    text = serializers.CharField(required=False, default="", max_length=2000, allow_blank=True)
    found_at = serializers.DateTimeField(
        required=False, default_timezone=UTC, help_text="Now, where it is left out."
    )


@extend_schema_field(
    {"type": "object", "additionalProperties": {"type": "array", "items": {"type": "string"}}}
)
class SelectionField(serializers.DictField):
    """Dimension → values."""


@extend_schema_field({"type": "object", "additionalProperties": {"type": ["number", "boolean"]}})
class ParametersField(serializers.DictField):
    """Parameter → number; what is left out has the detector's default."""


@extend_schema_field({"type": "object", "additionalProperties": {"type": "string"}})
class SeveritiesField(serializers.DictField):
    """Severity that the detector states → the one that is meant, or `none`."""


@extend_schema_field({"type": "object", "additionalProperties": {"type": "number"}})
class PercentilesField(serializers.DictField):
    """Per cent → the value below which so many of the readings lie."""


class RuleSerializer(serializers.ModelSerializer[Rule]):
    """A rule as it stands; `mode` says whether it is in force."""

    selection = SelectionField()
    parameters = ParametersField()
    severities = SeveritiesField()

    class Meta:
        model = Rule
        fields = [
            "id",
            "name",
            "detector",
            "mode",
            "share_pct",
            "selection",
            "parameters",
            "severities",
            "version",
        ]


class StateSerializer(serializers.Serializer[Any]):
    """A connector now. Null or empty where it has never reported."""

    connector = serializers.UUIDField()
    health = serializers.ChoiceField(choices=["ok", "notice", "warning", "critical", "unknown"])
    margin_k = serializers.FloatField(
        allow_null=True,
        help_text="K to the temperature limit, at rated current and 40 °C; null while unknown.",
    )
    margin_from_k = serializers.FloatField(allow_null=True, help_text="Its 80 % interval.")
    margin_to_k = serializers.FloatField(allow_null=True)
    headroom_k = serializers.FloatField(
        allow_null=True, help_text="K to the temperature limit now, whatever the load."
    )
    time_left_s = serializers.FloatField(
        allow_null=True, help_text="To the limit at its usual load, as it is going."
    )
    time_left_from_s = serializers.FloatField(allow_null=True, help_text="Its 80 % interval.")
    time_left_to_s = serializers.FloatField(allow_null=True)
    time_left_unknown = serializers.ChoiceField(
        choices=[each for each in UNFORESEEN if each],
        allow_blank=True,
        help_text="Why no time left is told.",
    )
    learnt_at = serializers.DateTimeField(
        allow_null=True, help_text="When a load last taught something of its contacts."
    )
    base_since = serializers.DateTimeField(
        allow_null=True, help_text="Since when the contacts are compared with themselves."
    )
    mating_step_pos = serializers.FloatField(
        allow_null=True,
        help_text="By which the last mating changed its heating; -0.12: less by 12 %.",
    )
    mating_step_neg = serializers.FloatField(allow_null=True)
    open_alarms = serializers.IntegerField()
    worst_condition = serializers.CharField(allow_blank=True)
    measured_at = serializers.DateTimeField(allow_null=True)
    arrived_at = serializers.DateTimeField(allow_null=True)
    judged_at = serializers.DateTimeField(allow_null=True)
    last = QuantitiesField(help_text="The newest value of each quantity.")


class ReadingSerializer(serializers.Serializer[Any]):
    measured_at = serializers.DateTimeField()
    arrived_at = serializers.DateTimeField()
    values = QuantitiesField()


class ReadingPageSerializer(serializers.Serializer[Any]):
    connector = serializers.UUIDField()
    results = ReadingSerializer(many=True)
    next = serializers.URLField(allow_null=True)


class AlarmReadingsSerializer(serializers.Serializer[Any]):
    """In order of measurement; none where they are no longer kept."""

    alarm = serializers.UUIDField()
    connector = serializers.UUIDField()
    opened_by = serializers.DateTimeField(help_text="When the one that opened it was measured.")
    results = ReadingSerializer(many=True)


class EnvelopeSerializer(serializers.Serializer[Any]):
    """A quantity within a bucket; a spike is in `maximum`, however wide the bucket."""

    minimum = serializers.FloatField()
    maximum = serializers.FloatField()
    mean = serializers.FloatField()
    last = serializers.FloatField(allow_null=True)
    count = serializers.IntegerField()


class BucketSerializer(serializers.Serializer[Any]):
    start = serializers.DateTimeField()
    count = serializers.IntegerField()
    values = serializers.DictField(child=EnvelopeSerializer())


class SeriesSerializer(serializers.Serializer[Any]):
    """Quantities over time; a bucket without readings is left out, so gaps stay gaps."""

    connector = serializers.UUIDField()
    start = serializers.DateTimeField()
    end = serializers.DateTimeField()
    interval_s = serializers.FloatField()
    buckets = BucketSerializer(many=True)


class GroupSerializer(serializers.Serializer[Any]):
    """What a group's readings come to."""

    group = serializers.CharField(
        allow_blank=True, help_text="Its value of `by`; empty for all, and for what has none."
    )
    start = serializers.DateTimeField(
        allow_null=True, help_text="Of its stretch of time, where `every` was given."
    )
    count = serializers.IntegerField()
    minimum = serializers.FloatField()
    maximum = serializers.FloatField()
    mean = serializers.FloatField()
    percentiles = PercentilesField(help_text="Empty where the leading groups were asked for.")


class NowGroupSerializer(serializers.Serializer[Any]):
    """What the last values of a group's connectors come to."""

    group = serializers.CharField(help_text="Its value of `by`.")
    count = serializers.IntegerField(help_text="Connectors that have the quantity.")
    minimum = serializers.FloatField()
    maximum = serializers.FloatField()
    mean = serializers.FloatField()
    percentiles = PercentilesField()


class StatisticsNowSerializer(serializers.Serializer[Any]):
    """A quantity of connectors now, by groups, those that lead first."""

    quantity = serializers.CharField()
    results = NowGroupSerializer(many=True)
    total = serializers.IntegerField(help_text="Groups on all pages.")
    cut = serializers.BooleanField(help_text="Whether `total` are the leading ones of more.")


class StatisticsSerializer(serializers.Serializer[Any]):
    """A quantity over a fleet and a stretch of time, by groups."""

    quantity = serializers.CharField()
    start = serializers.DateTimeField()
    end = serializers.DateTimeField()
    results = GroupSerializer(many=True)
    total = serializers.IntegerField(help_text="Groups on all pages.")
    settled = serializers.BooleanField(
        help_text="False while very many late readings are not counted yet."
    )
    cut = serializers.BooleanField(help_text="Whether `total` are the leading ones of more.")


class MeSerializer(serializers.Serializer[Any]):
    """Who asks, as the API sees it."""

    tenant = serializers.CharField()
    kind = serializers.ChoiceField(choices=["person", "key"])
    name = serializers.CharField()
    organisation = OrganisationSerializer(allow_null=True)
    scopes = serializers.ListField(child=serializers.ChoiceField(choices=Scope.choices))
    expires_at = serializers.DateTimeField(allow_null=True)


# --- what is asked --------------------------------------------------------------------------------


class SpanSerializer(serializers.Serializer[Any]):
    """A stretch of measured time, start ≤ t < end; the last hour where nothing is said."""

    start = serializers.DateTimeField(required=False, default_timezone=UTC)
    end = serializers.DateTimeField(required=False, default_timezone=UTC)

    def validate(self, asked: dict[str, Any]) -> dict[str, Any]:
        end = asked.setdefault("end", timezone.now())
        start = asked.setdefault("start", end - timedelta(hours=1))
        if not EARLIEST <= start < end <= LATEST:
            raise serializers.ValidationError({"start": "start lies before end, after 2000."})
        return asked


class ReadingsQuestion(SpanSerializer):
    """A page of readings as they came."""

    after = serializers.IntegerField(
        required=False,
        min_value=0,
        max_value=10**13,
        help_text="From the page before, ms since 1970 UTC; better follow `next`.",
    )
    page_size = serializers.IntegerField(
        required=False, default=100, min_value=1, max_value=500, help_text="1 to 500."
    )


class SeriesQuestion(SpanSerializer):
    """Quantities in buckets."""

    quantities = serializers.CharField(
        required=False,
        max_length=600,
        default="temperature_pos_c,temperature_neg_c,current_a,ambient_c",
        help_text=f"Up to 16, with commas: {', '.join(QUANTITIES)}, or x_… of your own.",
    )
    points = serializers.IntegerField(
        required=False, default=500, min_value=1, max_value=2000, help_text="Buckets at most."
    )

    def validate_quantities(self, asked: str) -> list[str]:
        return [name.strip() for name in asked.split(",") if name.strip()]


class EventsQuestion(serializers.Serializer[Any]):
    """Events after one that is known."""

    after = serializers.IntegerField(required=False, default=0, min_value=0, max_value=2**63 - 1)
    page_size = serializers.IntegerField(required=False, default=100, min_value=1, max_value=500)


class OfWhich(serializers.Serializer[Any]):
    """Of which connectors, and which page of the groups."""

    connector = serializers.UUIDField(required=False)
    vehicle = serializers.UUIDField(required=False)
    organisation = serializers.UUIDField(required=False)
    model = serializers.CharField(required=False, max_length=40, help_text="Its code.")
    batch = serializers.CharField(required=False, max_length=64)
    position = serializers.CharField(required=False, max_length=32)
    page = serializers.IntegerField(required=False, default=1, min_value=1, max_value=10_000)
    page_size = serializers.IntegerField(required=False, default=100, min_value=1, max_value=500)


class StatisticsNowQuestion(OfWhich):
    """A quantity of connectors now; of which, how they are grouped, and who leads."""

    quantity = serializers.CharField(
        required=False,
        default=MARGIN,
        max_length=64,
        help_text=f"{MARGIN}, {', '.join(QUANTITIES)}, or x_… of your own.",
    )
    by = serializers.ChoiceField(
        choices=[*DIMENSIONS, AGE],
        required=False,
        default="model",
        help_text="What groups have in common.",
    )
    statistic = serializers.ChoiceField(
        choices=[*NOW], required=False, default="p50", help_text="What groups are ranked by."
    )
    lowest = serializers.BooleanField(
        required=False, default=False, help_text="The lowest first, instead of the highest."
    )


class StatisticsQuestion(SpanSerializer, OfWhich):
    """A quantity over a fleet; of which connectors, and how they are grouped."""

    quantity = serializers.ChoiceField(choices=list(BINS), default="temperature_pos_c")
    by = serializers.ChoiceField(
        choices=["", *BY, AGE],
        required=False,
        default="",
        allow_blank=True,
        help_text="What groups have in common; nothing: all is one group.",
    )
    every = serializers.ChoiceField(
        choices=["", "hour", "day"],
        required=False,
        default="",
        allow_blank=True,
        help_text="Tell stretches of time apart, UTC.",
    )
    leading = serializers.ChoiceField(
        choices=["", *LEADING],
        required=False,
        default="",
        allow_blank=True,
        help_text="The groups with the highest maximum or the lowest minimum first; needs `by`.",
    )

    def validate(self, asked: dict[str, Any]) -> dict[str, Any]:
        if asked["leading"] and (not asked["by"] or asked["every"]):
            raise serializers.ValidationError({"leading": "leading needs by, and no every."})
        return super().validate(asked)
