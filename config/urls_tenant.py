"""What a tenant's host answers: console, portal, API, sign-in."""

from django.urls import URLPattern, URLResolver, include, path

urlpatterns: list[URLPattern | URLResolver] = [
    path("", include("config.urls_account")),
    path("live/", include("apps.live.urls")),
    path("api/v1/", include("apps.api.urls")),
    path("portal/", include("apps.portal.urls")),
    path("", include("apps.console.urls")),
]

handler403 = "config.errors.forbidden"
handler404 = "config.errors.not_found"
handler500 = "config.errors.broken"
