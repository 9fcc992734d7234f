"""The API of a tenant's host, under /api/v1/."""

from django.urls import path, re_path
from drf_spectacular.views import SpectacularJSONAPIView

from apps.api import views

app_name = "api"

urlpatterns = [
    path("me", views.Me.as_view(), name="me"),
    path("models", views.ModelList.as_view(), name="models"),
    path("models/<uuid:id>", views.ModelDetail.as_view(), name="model"),
    path("vehicles", views.VehicleList.as_view(), name="vehicles"),
    path("vehicles/<uuid:id>", views.VehicleDetail.as_view(), name="vehicle"),
    path("connectors", views.ConnectorList.as_view(), name="connectors"),
    path("connectors/<uuid:id>", views.ConnectorDetail.as_view(), name="connector"),
    path("connectors/<uuid:id>/state", views.ConnectorStateDetail.as_view(), name="state"),
    path("connectors/<uuid:id>/readings", views.ReadingList.as_view(), name="readings"),
    path("connectors/<uuid:id>/series", views.SeriesDetail.as_view(), name="series"),
    path("statistics", views.Statistics.as_view(), name="statistics"),
    path("statistics/now", views.StatisticsNow.as_view(), name="statistics-now"),
    path("alarms", views.AlarmList.as_view(), name="alarms"),
    path("alarms/<uuid:id>", views.AlarmDetail.as_view(), name="alarm"),
    path("alarms/<uuid:id>/readings", views.AlarmReadingList.as_view(), name="alarm-readings"),
    path("alarms/<uuid:id>/events", views.AlarmEventList.as_view(), name="alarm-events"),
    path("alarms/<uuid:id>/inspections", views.InspectionList.as_view(), name="inspections"),
    path("rules", views.RuleList.as_view(), name="rules"),
    path("events", views.EventList.as_view(), name="events"),
    path(
        "openapi.json",
        SpectacularJSONAPIView.as_view(
            authentication_classes=(), permission_classes=(), throttle_classes=()
        ),
        name="openapi",
    ),
    path("docs", views.documentation, name="docs"),
    re_path(r"", views.NotThere.as_view(), name="not-there"),
]
