"""The API's endpoints. Each asks one question of a domain's queries, for who asks."""

from dataclasses import asdict, fields
from datetime import timedelta
from typing import Any, TypeVar
from uuid import UUID

from django.core.exceptions import ValidationError as Refused
from django.db.models import Model, QuerySet
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils import timezone
from drf_spectacular.utils import extend_schema
from rest_framework.exceptions import ValidationError
from rest_framework.generics import ListAPIView, RetrieveAPIView
from rest_framework.permissions import AllowAny
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.serializers import Serializer
from rest_framework.utils.urls import replace_query_param
from rest_framework.views import APIView

from apps.accounts.models import User
from apps.alarms import queries as alarms
from apps.alarms import truth
from apps.alarms.models import Alarm
from apps.api import filters, serializers
from apps.api.models import ApiKey, Scope
from apps.catalog import queries as catalog
from apps.catalog.models import ConnectorModel
from apps.fleet import queries as fleet
from apps.fleet.models import Connector, Vehicle
from apps.telemetry.answers import GroupPage, GroupRow, Outlook, State
from apps.telemetry.questions import FleetFilter, StateFilter
from apps.telemetry.slices import from_ms
from apps.telemetry.tenant import TenantTelemetry
from apps.tenants.queries import current_tenant
from apps.warning import queries as warning
from apps.warning.models import Rule

Row = TypeVar("Row", bound=Model)


def asker(request: Request) -> User:
    """The person, or whom the key stands for; MayRead has let nobody else through."""
    if not isinstance(request.user, User):
        raise Http404
    return request.user


def telemetry() -> TenantTelemetry:
    """The readings of the tenant whose host was asked."""
    tenant = current_tenant()
    return TenantTelemetry(tenant.slug, retention=tenant.retention)


def asked(form: type[Serializer[Any]], request: Request) -> dict[str, Any]:
    """The query string as the form reads it; raises ValidationError."""
    question = form(data=request.query_params.dict())
    question.is_valid(raise_exception=True)
    return dict(question.validated_data)


class Listing(ListAPIView[Row]):
    """Rows that the asker may see. For the API's description there are none."""

    def rows(self, user: User) -> QuerySet[Row]:
        raise NotImplementedError

    def get_queryset(self) -> QuerySet[Row]:
        if getattr(self, "swagger_fake_view", False):
            return super().get_queryset()
        return self.rows(asker(self.request))


# --- fleet ----------------------------------------------------------------------------------------


class VehicleList(Listing[Vehicle]):
    """Vehicles, newest first."""

    scope = Scope.FLEET
    serializer_class = serializers.VehicleSerializer
    queryset = Vehicle.objects.none()
    filterset_class = filters.VehicleFilter

    def rows(self, user: User) -> QuerySet[Vehicle]:
        return fleet.vehicles(for_user=user)


class VehicleDetail(RetrieveAPIView[Vehicle]):
    """One vehicle."""

    scope = Scope.FLEET
    serializer_class = serializers.VehicleSerializer

    def get_object(self) -> Vehicle:
        return fleet.vehicle_for(user=asker(self.request), pk=self.kwargs["id"])


class ConnectorList(Listing[Connector]):
    """Connectors, newest first."""

    scope = Scope.FLEET
    serializer_class = serializers.ConnectorSerializer
    queryset = Connector.objects.none()
    filterset_class = filters.ConnectorFilter

    def rows(self, user: User) -> QuerySet[Connector]:
        return fleet.connectors(for_user=user)


class ConnectorDetail(RetrieveAPIView[Connector]):
    """One connector."""

    scope = Scope.FLEET
    serializer_class = serializers.ConnectorSerializer

    def get_object(self) -> Connector:
        return fleet.connector_for(user=asker(self.request), pk=self.kwargs["id"])


class ModelList(Listing[ConnectorModel]):
    """Connector models with their ratings; for customers those in their vehicles."""

    scope = Scope.FLEET
    serializer_class = serializers.ModelSerializer
    queryset = ConnectorModel.objects.none()

    def rows(self, user: User) -> QuerySet[ConnectorModel]:
        return catalog.models(for_user=user)


class ModelDetail(RetrieveAPIView[ConnectorModel]):
    """One connector model."""

    scope = Scope.FLEET
    serializer_class = serializers.ModelSerializer

    def get_object(self) -> ConnectorModel:
        return catalog.model_for(user=asker(self.request), pk=self.kwargs["id"])


# --- readings -------------------------------------------------------------------------------------


class ConnectorStateDetail(APIView):
    """A connector now: its newest values, its health, its margin to the limits."""

    scope = Scope.READINGS

    @extend_schema(responses=serializers.StateSerializer)
    def get(self, request: Request, id: UUID) -> Response:
        connector = fleet.connector_for(user=asker(request), pk=id)
        state = telemetry().latest([connector.pk]).get(str(connector.pk))
        return Response(serializers.StateSerializer(_state(connector, state)).data)


def _state(connector: Connector, state: State | None) -> dict[str, Any]:
    if state is None:
        state = State(str(connector.pk), {}, None, None, None, "unknown", None, 0, "", {}, {})
    times = {"measured": state.measured_ms, "arrived": state.arrived_ms, "judged": state.judged_ms}
    return {
        "connector": connector.pk,
        "health": state.health,
        "margin_k": state.margin_k,
        **_outlook(state.outlook),
        "open_alarms": state.open_alarms,
        "worst_condition": state.worst_condition,
        "last": state.last,
        **{f"{name}_at": None if ms is None else from_ms(ms) for name, ms in times.items()},
    }


def _outlook(known: Outlook) -> dict[str, Any]:
    of_margin = ("margin_from_k", "margin_to_k", "headroom_k", "mating_step_pos", "mating_step_neg")
    return {
        **{name: getattr(known, name) for name in of_margin},
        "time_left_s": known.left_s,
        "time_left_from_s": known.left_from_s,
        "time_left_to_s": known.left_to_s,
        "time_left_unknown": known.left_unknown,
        "learnt_at": known.learnt_at,
        "base_since": known.base_at,
    }


class ReadingList(APIView):
    """A connector's readings as they came, in order of measurement, page by page."""

    scope = Scope.READINGS

    @extend_schema(
        parameters=[serializers.ReadingsQuestion], responses=serializers.ReadingPageSerializer
    )
    def get(self, request: Request, id: UUID) -> Response:
        connector = fleet.connector_for(user=asker(request), pk=id)
        question = asked(serializers.ReadingsQuestion, request)
        page = telemetry().readings(
            connector.pk,
            start=question["start"],
            end=question["end"],
            after=question.get("after"),
            size=question["page_size"],
        )
        following = None if page.after is None else _next_page(request, question, page.after)
        found = {"connector": connector.pk, "results": page.readings, "next": following}
        return Response(serializers.ReadingPageSerializer(found).data)


def _next_page(request: Request, question: dict[str, Any], after: int) -> str:
    """The same stretch from `after` on: its ends are fixed, also where they were left out."""
    url = request.build_absolute_uri()
    for name in ("start", "end"):
        url = replace_query_param(url, name, question[name].isoformat())
    return replace_query_param(url, "after", str(after))


class SeriesDetail(APIView):
    """A connector's quantities over time, in at most so many buckets as asked for."""

    scope = Scope.READINGS

    @extend_schema(parameters=[serializers.SeriesQuestion], responses=serializers.SeriesSerializer)
    def get(self, request: Request, id: UUID) -> Response:
        connector = fleet.connector_for(user=asker(request), pk=id)
        question = asked(serializers.SeriesQuestion, request)
        series = telemetry().series(
            connector.pk,
            question["quantities"],
            start=question["start"],
            end=question["end"],
            points=question["points"],
            with_last=True,
        )
        found = {
            "connector": connector.pk,
            "start": question["start"],
            "end": question["end"],
            "interval_s": series.interval_ms / 1000,
            "buckets": [
                {"start": from_ms(each.start_ms), "count": each.count, "values": each.values}
                for each in series.buckets
            ],
        }
        return Response(serializers.SeriesSerializer(found).data)


class Statistics(APIView):
    """A quantity over a fleet: count, extremes, mean and percentiles, by groups; or who leads."""

    scope = Scope.READINGS

    @extend_schema(
        parameters=[serializers.StatisticsQuestion], responses=serializers.StatisticsSerializer
    )
    def get(self, request: Request) -> Response:
        question = asked(serializers.StatisticsQuestion, request)
        page = _groups(question, _seen_by(asker(request), question))
        found = {
            **{name: question[name] for name in ("quantity", "start", "end")},
            **{name: getattr(page, name) for name in ("total", "settled", "cut")},
            "results": [_group(row) for row in page.rows],
        }
        return Response(serializers.StatisticsSerializer(found).data)


class StatisticsNow(APIView):
    """A quantity of connectors by their last values: which groups lead, and by what."""

    scope = Scope.READINGS

    @extend_schema(
        parameters=[serializers.StatisticsNowQuestion],
        responses=serializers.StatisticsNowSerializer,
    )
    def get(self, request: Request) -> Response:
        question = asked(serializers.StatisticsNowQuestion, request)
        page = telemetry().top_now(
            question["quantity"],
            by=question["by"],
            statistic=question["statistic"],
            lowest=question["lowest"],
            now=timezone.now(),
            filters=StateFilter(**asdict(_seen_by(asker(request), question))),
            page=question["page"],
            size=question["page_size"],
        )
        found = {
            "quantity": question["quantity"],
            "results": [_group(row) for row in page.rows],
            "total": page.total,
            "cut": page.cut,
        }
        return Response(serializers.StatisticsNowSerializer(found).data)


EVERY = {"": None, "hour": timedelta(hours=1), "day": timedelta(days=1)}


def _seen_by(user: User, question: dict[str, Any]) -> FleetFilter:
    """What was asked for, of what the asker may see: a customer's are its organisation's readings,
    by whose the vehicle was when they were measured. Raises Http404 for another's."""
    names = [each.name for each in fields(FleetFilter)]
    chosen = {name: str(question[name]) for name in names if name in question}
    own = str(user.organisation_id)
    if not user.is_staff_of_tenant and chosen.setdefault("organisation", own) != own:
        raise Http404
    return FleetFilter(**chosen)


def _groups(question: dict[str, Any], filters: FleetFilter) -> GroupPage:
    paged = {"page": question["page"], "size": question["page_size"]}
    span = {"start": question["start"], "end": question["end"], "filters": filters}
    if question["leading"]:
        return telemetry().top(
            question["quantity"],
            by=question["by"],
            statistic=question["leading"],
            **span,
            **paged,
        )
    by = [question["by"]] if question["by"] else []
    return telemetry().percentiles(
        question["quantity"], by=by, every=EVERY[question["every"]], **span, **paged
    )


def _group(row: GroupRow) -> dict[str, Any]:
    start_ms = row.group.start_ms
    return {
        "group": row.group.values[0] if row.group.values else "",
        "start": None if start_ms is None else from_ms(start_ms),
        **{name: getattr(row, name) for name in ("count", "minimum", "maximum", "mean")},
        "percentiles": {f"{percent:g}": value for percent, value in row.percentiles.items()},
    }


# --- alarms ---------------------------------------------------------------------------------------


class AlarmList(Listing[Alarm]):
    """Alarms, newest first."""

    scope = Scope.ALARMS
    serializer_class = serializers.AlarmSerializer
    queryset = Alarm.objects.none()
    filterset_class = filters.AlarmFilter

    def rows(self, user: User) -> QuerySet[Alarm]:
        return alarms.alarms(for_user=user)


class AlarmDetail(RetrieveAPIView[Alarm]):
    """One alarm as it stands."""

    scope = Scope.ALARMS
    serializer_class = serializers.AlarmSerializer

    def get_object(self) -> Alarm:
        return alarms.alarm_for(user=asker(self.request), pk=self.kwargs["id"])


class AlarmReadingList(APIView):
    """The few readings that show an alarm: the one that opened it, and its neighbours."""

    scope = Scope.READINGS

    @extend_schema(responses=serializers.AlarmReadingsSerializer)
    def get(self, request: Request, id: UUID) -> Response:
        alarm = alarms.alarm_for(user=asker(request), pk=id)
        shown = alarms.shown_by(alarm, telemetry=telemetry())
        found = {
            "alarm": alarm.pk,
            "connector": alarm.connector_id,
            "opened_by": shown.opened_at,
            "results": shown.readings,
        }
        return Response(serializers.AlarmReadingsSerializer(found).data)


class AlarmEventList(APIView):
    """An alarm's story, in order."""

    scope = Scope.ALARMS

    @extend_schema(
        parameters=[serializers.EventsQuestion], responses=serializers.EventPageSerializer
    )
    def get(self, request: Request, id: UUID) -> Response:
        alarm = alarms.alarm_for(user=asker(request), pk=id)
        question = asked(serializers.EventsQuestion, request)
        events = alarms.events_after(for_user=asker(request), number=question["after"])
        return Response(_event_page(events.filter(alarm=alarm), question))


class InspectionList(APIView):
    """What was found about an alarm, newest first; POST adds to it, and to the alarm's story."""

    @property
    def scope(self) -> str:
        """Reading goes with alarms; entering needs a scope of its own."""
        is_entry = self.request is not None and self.request.method == "POST"
        return Scope.INSPECTIONS if is_entry else Scope.ALARMS

    @extend_schema(responses=serializers.InspectionListSerializer)
    def get(self, request: Request, id: UUID) -> Response:
        alarm = alarms.alarm_for(user=asker(request), pk=id)
        found = {"results": truth.inspections_of(for_user=asker(request), alarm=alarm)}
        return Response(serializers.InspectionListSerializer(found).data)

    @extend_schema(
        request=serializers.InspectionEntry, responses={201: serializers.InspectionSerializer}
    )
    def post(self, request: Request, id: UUID) -> Response:
        alarm = alarms.alarm_for(user=asker(request), pk=id)
        entry = serializers.InspectionEntry(data=request.data)
        entry.is_valid(raise_exception=True)
        now = timezone.now()
        found = truth.Found(**{"found_at": now, **entry.validated_data})
        try:
            row = truth.record(user=asker(request), alarm=alarm, found=found, now=now)
        except Refused as refusal:
            raise ValidationError(refusal.message_dict) from refusal
        return Response(serializers.InspectionSerializer(row).data, status=201)


class EventList(APIView):
    """All alarm events after a number, in order: what a system polls to miss nothing."""

    scope = Scope.ALARMS

    @extend_schema(
        parameters=[serializers.EventsQuestion], responses=serializers.EventPageSerializer
    )
    def get(self, request: Request) -> Response:
        question = asked(serializers.EventsQuestion, request)
        events = alarms.events_after(for_user=asker(request), number=question["after"])
        return Response(_event_page(events, question))


def _event_page(events: QuerySet[Any], question: dict[str, Any]) -> dict[str, Any]:
    size = question["page_size"]
    found = list(events[: size + 1])
    page = {
        "results": found[:size],
        "after": found[:size][-1].number if found else question["after"],
        "more": len(found) > size,
    }
    return dict(serializers.EventPageSerializer(page).data)


class RuleList(Listing[Rule]):
    """The rules that are not removed, for the tenant's staff; a customer has none."""

    scope = Scope.RULES
    serializer_class = serializers.RuleSerializer
    queryset = Rule.objects.none()

    def rows(self, user: User) -> QuerySet[Rule]:
        return warning.rules(for_user=user)


# --- the caller, the documents, and what is not there ---------------------------------------------


class Me(APIView):
    """Who asks, at which tenant, with which scopes."""

    @extend_schema(responses=serializers.MeSerializer)
    def get(self, request: Request) -> Response:
        user, key = asker(request), request.auth
        is_key = isinstance(key, ApiKey)
        found = {
            "tenant": current_tenant().slug,
            "kind": "key" if is_key else "person",
            "name": key.name if isinstance(key, ApiKey) else user.get_username(),
            "organisation": user.organisation,
            "scopes": key.scopes if isinstance(key, ApiKey) else Scope.values,
            "expires_at": key.expires_at if isinstance(key, ApiKey) else None,
        }
        return Response(serializers.MeSerializer(found).data)


class NotThere(APIView):
    """Any other path under the API: the same answer as for a thing that is not there."""

    permission_classes = [AllowAny]
    authentication_classes = ()
    throttle_classes = ()
    schema = None

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        raise Http404


def documentation(request: HttpRequest) -> HttpResponse:
    """Swagger UI from our own static files, over the served description."""
    return render(request, "api/documentation.html")
