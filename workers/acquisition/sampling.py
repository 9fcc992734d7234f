"""A device that floods with rubbish is counted exactly, and only sampled in bytes.

Each device may have BURST refusals kept whole, and BURST more each PER_S seconds. What comes beyond
is put together: one document for each batch, device and reason, which says how many readings and
messages it stands for and keeps no bytes. The account is the same either way; what has no bytes
can't be replayed.
"""

import threading
from collections.abc import Sequence
from dataclasses import dataclass, replace

from apps.telemetry.documents import PLATFORM
from ohmwatch.refusals import Reason
from workers.acquisition.sorting import Refusal

BURST = 300
PER_S = 60.0
DEVICES_LIMIT = 20_000
"""Allowances remembered; a device whose allowance is whole again needs none."""

Key = tuple[str, str]


@dataclass
class _Allowance:
    """A bucket that fills by BURST in PER_S."""

    left: float
    at_ms: int

    def refill(self, at_ms: int) -> None:
        gone_ms = max(0, at_ms - self.at_ms)
        self.left = min(float(BURST), self.left + gone_ms * BURST / (PER_S * 1000))
        self.at_ms = max(self.at_ms, at_ms)


class Allowances:
    """How many whole refusals each device has left. Threads may share one."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._of: dict[Key, _Allowance] = {}

    def take(self, key: Key, *, at_ms: int) -> bool:
        """One for this device, if it has one left."""
        with self._lock:
            allowance = self._of.get(key)
            if allowance is None:
                self._make_room(at_ms)
                allowance = self._of[key] = _Allowance(float(BURST), at_ms)
            allowance.refill(at_ms)
            if allowance.left < 1:
                return False
            allowance.left -= 1
            return True

    def _make_room(self, at_ms: int) -> None:
        if len(self._of) < DEVICES_LIMIT:
            return
        for allowance in self._of.values():
            allowance.refill(at_ms)
        self._of = {key: one for key, one in self._of.items() if one.left < BURST}
        while len(self._of) >= DEVICES_LIMIT:
            self._of.pop(next(iter(self._of)))


_of_this_process = Allowances()


def sampled(
    refused: Sequence[Refusal], *, at_ms: int, allowances: Allowances | None = None
) -> list[Refusal]:
    """The refusals of a batch with each flood put together; their counts add up to the same."""
    allowances = allowances or _of_this_process
    kept: list[Refusal] = []
    beyond: dict[tuple[Key, Reason], list[Refusal]] = {}
    for refusal in refused:
        key = _key(refusal)
        if allowances.take(key, at_ms=at_ms):
            kept.append(refusal)
        else:
            beyond.setdefault((key, refusal.reason), []).append(refusal)
    return kept + [_together(several) for several in beyond.values()]


def _key(refusal: Refusal) -> Key:
    # Who is nobody's device has no name that could be trusted: all of them share one allowance.
    return (refusal.tenant, "" if refusal.tenant == PLATFORM else refusal.identity)


def _together(several: Sequence[Refusal]) -> Refusal:
    first = several[0]
    messages = {refusal.message_number: refusal.message for refusal in several}
    size = sum(len(message.payload) for message in messages.values())
    return replace(
        first,
        count=sum(refusal.count for refusal in several),
        field="",
        detail=f"{len(messages)} messages put together: the device sends too many of them",
        rows=(),
        messages=len(messages),
        dropped_bytes=max(1, size),
    )
