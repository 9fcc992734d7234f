"""The channels there are: our folders, and plug-ins by the entry point `ohmwatch.channels`."""

import pkgutil
from functools import cache
from importlib import import_module
from importlib.metadata import entry_points

import structlog

from apps.notifications import channels as folder
from apps.notifications.channel import Channel

log = structlog.get_logger(__name__)
ENTRY_POINTS = "ohmwatch.channels"


@cache
def channels() -> dict[str, Channel]:
    """All channels by kind. A plug-in that can't be loaded is reported and left out."""
    found: dict[str, Channel] = {}
    for module in pkgutil.iter_modules(folder.__path__):
        channel: Channel = import_module(f"{folder.__name__}.{module.name}.channel").CHANNEL
        found[channel.kind] = channel
    for entry in entry_points(group=ENTRY_POINTS):
        try:
            plugin: Channel = entry.load()
            found.setdefault(plugin.kind, plugin)
        except Exception:
            log.exception("channel_not_loaded", entry_point=entry.name)
    return found
