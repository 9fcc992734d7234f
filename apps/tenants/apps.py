"""Manufacturers, their hosts and plans."""

from django.apps import AppConfig
from django.utils.translation import gettext_lazy as _


class TenantsConfig(AppConfig):
    name = "apps.tenants"
    verbose_name = _("Tenants")

    def ready(self) -> None:
        """Load the Celery application, so that web processes send to our broker, not a default."""
        import config.celery  # noqa: F401
