"""What machines ask, on any host and without a session."""

from django.urls import path

from apps.devices.views import authenticate
from apps.platform.machines import healthz, metrics, readyz

urlpatterns = [
    path("healthz", healthz, name="healthz"),
    path("readyz", readyz, name="readyz"),
    path("metrics", metrics, name="metrics"),
    path("broker/authenticate", authenticate, name="broker-authenticate"),
]
