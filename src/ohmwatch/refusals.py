"""Why a message or a reading can't be taken: the reasons that the quarantine is sorted by.

A codec raises `Refused` for a whole message and returns a `RowRefusal` for each bad reading, so
that the good readings of the same message are kept.
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import Self


class Reason(StrEnum):
    """Stable codes: in the quarantine, in metrics, in the account, translated for people."""

    UNKNOWN_TENANT = "unknown_tenant"
    UNKNOWN_DEVICE = "unknown_device"
    UNKNOWN_CHANNEL = "unknown_channel"
    DEVICE_DISABLED = "device_disabled"
    CONNECTOR_RETIRED = "connector_retired"
    UNDECODABLE = "undecodable"
    WRONG_SHAPE = "wrong_shape"
    TOO_LARGE = "too_large"
    TOO_MANY_READINGS = "too_many_readings"
    TIME_MISSING = "time_missing"
    TIME_INVALID = "time_invalid"
    TIME_IN_FUTURE = "time_in_future"
    TIME_TOO_OLD = "time_too_old"
    WRONG_TYPE = "wrong_type"
    OUT_OF_RANGE = "out_of_range"
    NO_QUANTITY = "no_quantity"
    CODEC_FAILED = "codec_failed"
    STORE_REFUSED = "store_refused"


class Refused(Exception):
    """A whole message is refused. `field` names the culprit where there is one, `detail` is for
    an engineer's eyes (English, no secrets, at most a line)."""

    def __init__(self, reason: Reason, field: str = "", detail: str = "") -> None:
        super().__init__(f"{reason}: {field} {detail}".strip())
        self.reason = reason
        self.field = field
        self.detail = detail

    def as_answer(self) -> Self:
        """Itself, as a value to keep: without the frames it came through, and with them the
        message's parts, which would hold each other until the cyclic collector comes by."""
        self.__traceback__ = self.__context__ = self.__cause__ = None
        return self


@dataclass(frozen=True, slots=True)
class RowRefusal:
    """One reading of a message is refused; `row` counts from 0 in the order of the message."""

    row: int
    reason: Reason
    field: str = ""
    detail: str = ""
