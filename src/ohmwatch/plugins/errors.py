"""What a plug-in can do to us, and is kept from doing.

PluginError
├── PluginRefused      it doesn't keep the protocol: never starts
├── PluginFailed       it raised
├── PluginTimedOut     it hung, and was killed
├── PluginDied         its process ended: out of memory, a crash in a compiled library
├── PluginNonsense     its answer can't be true, and was thrown away
└── PluginSwitchedOff  too many of the above: it isn't asked any more
"""


class PluginError(Exception):
    """`plugin` is the entry point's name; the message says what happened."""

    code = "plugin_error"

    def __init__(self, plugin: str, what: str) -> None:
        super().__init__(f"{plugin}: {what}")
        self.plugin = plugin
        self.what = what


class PluginRefused(PluginError):
    code = "plugin_refused"


class PluginFailed(PluginError):
    code = "plugin_failed"


class PluginTimedOut(PluginError):
    code = "plugin_timed_out"


class PluginDied(PluginError):
    code = "plugin_died"


class PluginNonsense(PluginError):
    code = "plugin_nonsense"


class PluginStarting(PluginError):
    code = "plugin_starting"


class PluginSwitchedOff(PluginError):
    code = "plugin_switched_off"
