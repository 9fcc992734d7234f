"""Below `/live/` on a tenant's host."""

from django.urls import path

from apps.live import views

app_name = "live"
urlpatterns = [path("events.json", views.events_after, name="events")]
