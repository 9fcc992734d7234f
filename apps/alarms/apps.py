"""What people handle: alarms, every event of their story, and what must be told about it."""

from django.apps import AppConfig
from django.utils.translation import gettext_lazy as _


class AlarmsConfig(AppConfig):
    name = "apps.alarms"
    verbose_name = _("alarms")
