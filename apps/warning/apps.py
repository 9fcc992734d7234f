"""Which detectors watch which connectors, with which parameters."""

from django.apps import AppConfig
from django.utils.translation import gettext_lazy as _


class WarningConfig(AppConfig):
    name = "apps.warning"
    verbose_name = _("warning rules")
