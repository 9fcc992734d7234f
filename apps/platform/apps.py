"""The operator's portal and what machines ask of a process."""

from django.apps import AppConfig
from django.utils.translation import gettext_lazy as _


class PlatformConfig(AppConfig):
    name = "apps.platform"
    verbose_name = _("Platform")
