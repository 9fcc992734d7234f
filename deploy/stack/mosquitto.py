"""Mosquitto of one stack: a listener for devices, one for the acquisition slots.

The queue settings are the promise "nothing acknowledged is lost": Mosquitto by default
acknowledges and then drops what goes beyond 1 000 messages waiting for a session.
"""

import socket
from pathlib import Path

from deploy.stack.layout import write_private
from deploy.stack.stack import SLOTS_LIMIT, Stack

# One set of users and rules for both listeners: with per_listener_settings a session whose client
# is away belongs to no listener, and Mosquitto refuses to queue for it.
CONF = """\
per_listener_settings false
allow_anonymous false
password_file {folder}/passwords
acl_file {acl}
pid_file {folder}/mosquitto.pid
log_dest stdout
log_type error
log_type warning
log_type notice
connection_messages false

# Held back, not dropped: no bound by number, one by bytes (1 GiB waiting for a session).
max_queued_messages 0
max_queued_bytes 1073741824
max_inflight_messages 1000
# A slot that is away keeps its session and queue so long.
persistent_client_expiration 7d

# Saved each 1 000 changes: a killed broker loses up to about 1 000 accepted messages.
persistence true
persistence_location {folder}/
autosave_on_changes true
autosave_interval 1000

# The largest message that a device may send is 256 KiB; what is larger but fits here is put in
# quarantine with its reason rather than dropped unseen.
message_size_limit 1048576
max_keepalive 600
set_tcp_nodelay true

# Devices. The client id is the user name, so nobody can take over another's session.
listener {devices} {host}
use_username_as_clientid true

# Acquisition slots, on this machine only.
listener {workers} 127.0.0.1
use_username_as_clientid true
"""
_SLOT = "user {name}\ntopic read ow/v1/#\n"
_PATTERNS = """\
pattern write ow/v1/%u/readings
pattern write ow/v1/%u/status
pattern write ow/v1/%u/events
pattern write ow/v1/%u/replies
pattern read ow/v1/%u/config
pattern read ow/v1/%u/commands
"""


def folder(stack: Stack) -> Path:
    return stack.home.data / "mosquitto"


def slot_names() -> list[str]:
    """Of all there may be: one that joins finds its rule there."""
    return [f"ohmwatch-acq-{slot}" for slot in range(SLOTS_LIMIT)]


def prepare(stack: Stack) -> None:
    """Configuration and rules. Devices' passwords are the product's to write, once it can."""
    stack.owner.make(folder(stack))
    acl = stack.home.etc / "mosquitto.acl"
    rules = "".join(_SLOT.format(name=name) for name in slot_names())
    text = CONF.format(
        folder=folder(stack),
        acl=acl,
        host=stack.host,
        devices=stack.ports.mqtt_devices,
        workers=stack.ports.mqtt_workers,
    )
    for path, content in ((acl, rules + _PATTERNS), (_conf(stack), text)):
        write_private(path, content)
        stack.owner.owns(path)


def command(stack: Stack) -> list[str]:
    return ["/usr/sbin/mosquitto", "-c", str(_conf(stack))]


def check(stack: Stack) -> None:
    """Raises until both listeners take connections."""
    listeners = ((stack.near, stack.ports.mqtt_devices), ("127.0.0.1", stack.ports.mqtt_workers))
    for listener in listeners:
        socket.create_connection(listener, timeout=2).close()


def _conf(stack: Stack) -> Path:
    return stack.home.etc / "mosquitto.conf"
