"""What the platform's own host answers: the operator's portal, health, metrics."""

from django.urls import URLPattern, URLResolver

urlpatterns: list[URLPattern | URLResolver] = []
