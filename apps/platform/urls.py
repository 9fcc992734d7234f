"""The platform's own host."""

from django.urls import path

from apps.platform import unclaimed, views

urlpatterns = [
    path("", views.tenant_list, name="tenant-list"),
    path("tenants/new/", views.tenant_create, name="tenant-create"),
    path("tenants/<uuid:pk>/sms/", views.tenant_countries, name="tenant-countries"),
    path("tenants/<uuid:pk>/retry", views.tenant_retry, name="tenant-retry"),
    path("readiness/", views.readiness, name="readiness"),
    path("unclaimed/", unclaimed.message_list, name="unclaimed"),
    path("unclaimed/download", unclaimed.download, name="unclaimed-download"),
    path("unclaimed/replay", unclaimed.replay, name="unclaimed-replay"),
    path("unclaimed/<str:pk>/", unclaimed.message_page, name="unclaimed-message"),
    path("unclaimed/<str:pk>/bytes", unclaimed.message_bytes, name="unclaimed-bytes"),
]
