"""REST for vehicle makers' systems: what a person sees in the browser, for machines."""

from django.apps import AppConfig
from django.utils.translation import gettext_lazy as _


class ApiConfig(AppConfig):
    name = "apps.api"
    verbose_name = _("API")

    def ready(self) -> None:
        from apps.api import description  # noqa: F401  drf-spectacular finds its extensions so
