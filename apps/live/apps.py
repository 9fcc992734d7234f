"""Websockets: numbered alarm events and live readings, pushed as hints to open browsers."""

from django.apps import AppConfig
from django.utils.translation import gettext_lazy as _


class LiveConfig(AppConfig):
    name = "apps.live"
    verbose_name = _("live")

    def ready(self) -> None:
        from apps.live import relay

        relay.connect()
