"""Who is told, over which channel, and whether it was said."""

from django.apps import AppConfig
from django.utils.translation import gettext_lazy as _


class NotificationsConfig(AppConfig):
    name = "apps.notifications"
    verbose_name = _("notifications")

    def ready(self) -> None:
        from apps.notifications import wake

        wake.connect()
