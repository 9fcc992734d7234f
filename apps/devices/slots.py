"""The MQTT users of the acquisition workers, by slot."""

import re

SLOTS = 16
"""How many slots the broker knows: more acquisition workers than one machine ever runs."""


def slot_user(slot: int) -> str:
    """User name and client id of a slot."""
    return f"ohmwatch-acq-{slot}"


def is_slot(username: str) -> bool:
    """Whether this is a slot's name. No device's is: theirs have a dot."""
    return re.fullmatch(r"ohmwatch-acq-\d{1,4}", username) is not None
