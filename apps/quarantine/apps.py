"""Replays of what was refused: asked for by an engineer, carried out in the background."""

from django.apps import AppConfig
from django.utils.translation import gettext_lazy as _


class QuarantineConfig(AppConfig):
    name = "apps.quarantine"
    verbose_name = _("quarantine")
