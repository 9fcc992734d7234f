"""A plug-in's detector as the worker sees it: a detector like any other, behind a process.

What it does wrong ends its turn with a PluginError and nothing else. A process that hangs or dies
is replaced at the next turn; after SWITCHED_OFF_AFTER failures without a good turn between them
it is not asked any more until the worker starts anew.
"""

import os
import select
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from typing import Any

import msgspec
import numpy as np

from ohmwatch.detector import Batch, Ratings, State
from ohmwatch.findings import Finding
from ohmwatch.plugins.errors import (
    PluginDied,
    PluginError,
    PluginFailed,
    PluginNonsense,
    PluginRefused,
    PluginStarting,
    PluginSwitchedOff,
    PluginTimedOut,
)
from ohmwatch.plugins.wire import Answer, Hello, Question, receive, send

TURN_LIMIT_S = 4.0
START_LIMIT_S = 60.0
"""Loading a model takes a while; nobody waits for it but this plug-in."""
SWITCHED_OFF_AFTER = 5
_GREETING_WAIT_S = 0.2
_GIVEN = ("PATH", "LANG", "PYTHONPATH", "NUMBA_CACHE_DIR", "TMPDIR")
"""All that a plug-in sees of the environment: the product's secrets are none of its business."""


class RemoteDetector:
    """Implements ohmwatch.detector.Detector. Starts its process when it is made.

    Raises PluginRefused where the plug-in can't be loaded, or breaks the protocol.
    """

    def __init__(
        self, plugin: str, *, limit_s: float = TURN_LIMIT_S, start_limit_s: float = START_LIMIT_S
    ) -> None:
        self.plugin = plugin
        self.failures = 0
        self._limit_s = limit_s
        self._start_limit_s = start_limit_s
        self._process: subprocess.Popen[bytes] | None = None
        self._line: socket.socket | None = None
        self._is_greeted = False
        self._begun_at = 0.0
        self._begin()
        said = self._greeting(start_limit_s)
        self.name, self.version, self.condition = said.name, said.version, said.condition
        self.needs = frozenset(said.needs)
        self.state_dtype: np.dtype[Any] = _dtype(said.state)

    @property
    def is_switched_off(self) -> bool:
        return self.failures >= SWITCHED_OFF_AFTER

    def observe(self, batch: Batch, ratings: Sequence[Ratings], state: State) -> list[Finding]:
        """The plug-in's findings. Raises PluginError, and leaves `state` as it was."""
        if self.is_switched_off:
            raise PluginSwitchedOff(self.plugin, f"failed {self.failures} times in a row")
        try:
            answer = self._ask(Question.of(batch, list(ratings), state))
            records = self._checked(answer, batch, state)
        except PluginStarting:
            raise
        except PluginError:
            self.failures += 1
            raise
        self.failures = 0
        state[:] = records
        return answer.findings

    def close(self) -> None:
        """End its process."""
        if self._line is not None:
            self._line.close()
            self._line = None
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def _begin(self) -> None:
        """Starts the process; its greeting comes when its libraries and its model are loaded."""
        ours, theirs = socket.socketpair()
        command = [sys.executable, "-m", "ohmwatch.plugins.host", self.plugin]
        with theirs:
            self._process = subprocess.Popen(
                [*command, str(theirs.fileno())],
                pass_fds=(theirs.fileno(),),
                stdin=subprocess.DEVNULL,
                stdout=sys.stderr.fileno(),  # what it prints must not look like ours
                env={name: os.environ[name] for name in _GIVEN if name in os.environ},
            )
        self._line, self._is_greeted = ours, False
        self._begun_at = time.monotonic()

    def _greeting(self, limit_s: float) -> Hello:
        said = msgspec.msgpack.decode(self._receive(limit_s), type=Hello)
        if said.refused:
            self.close()
            raise PluginRefused(self.plugin, said.refused)
        self._is_greeted = True
        return said

    def _come_back(self) -> None:
        """A process that was killed is replaced, without holding readings up meanwhile."""
        if self._line is None:
            self._begin()
        assert self._line is not None
        if not select.select([self._line], [], [], _GREETING_WAIT_S)[0]:
            if time.monotonic() - self._begun_at > self._start_limit_s:
                self.close()
                raise PluginTimedOut(self.plugin, f"not started in {self._start_limit_s:g} s")
            raise PluginStarting(self.plugin, "it is being started again")
        said = self._greeting(self._limit_s)
        if (said.name, said.version) != (self.name, self.version):
            self.close()
            raise PluginDied(self.plugin, "it came back as another one")

    def _ask(self, question: Question) -> Answer:
        if self._line is None or not self._is_greeted:
            self._come_back()
        assert self._line is not None
        self._line.settimeout(self._limit_s)
        try:
            send(self._line, question)
        except TimeoutError:
            self.close()
            raise PluginTimedOut(self.plugin, "it doesn't listen") from None
        except OSError as error:
            self.close()
            raise PluginDied(self.plugin, f"its process is gone: {error}") from None
        try:
            return msgspec.msgpack.decode(self._receive(self._limit_s), type=Answer)
        except msgspec.MsgspecError as error:
            self.close()
            raise PluginNonsense(self.plugin, str(error)) from None

    def _receive(self, limit_s: float) -> bytes:
        assert self._line is not None
        try:
            return receive(self._line, within_s=limit_s)
        except TimeoutError:
            self.close()
            raise PluginTimedOut(self.plugin, f"no answer within {limit_s:g} s") from None
        except (EOFError, OSError):
            status = self._process.wait(5) if self._process else None
            self.close()
            raise PluginDied(self.plugin, f"its process ended with {status}") from None

    def _checked(self, answer: Answer, batch: Batch, state: State) -> State:
        if answer.error:
            raise PluginFailed(self.plugin, answer.error)
        if len(answer.state) != state.nbytes:
            raise PluginNonsense(self.plugin, f"{len(answer.state)} bytes for {state.nbytes}")
        known = set(batch.connectors)
        times = {int(each) for each in batch.time_ms} if answer.findings else set()
        for finding in answer.findings:
            sound = (
                finding.connector in known
                and finding.measured_ms in times
                and finding.condition == self.condition
                and finding.detector == self.name
                and 0 < finding.since_ms <= finding.measured_ms
            )
            if not sound:
                raise PluginNonsense(self.plugin, f"it states {finding!r}"[:300])
        return np.frombuffer(answer.state, dtype=self.state_dtype)


def _dtype(described: Any) -> np.dtype[Any]:
    """numpy's own description of a record; msgpack has turned its tuples into lists."""
    if isinstance(described, str):
        return np.dtype(described)
    return np.dtype([_field(each) for each in described])


def _field(described: Sequence[Any]) -> tuple[Any, ...]:
    name, kind, *shape = described
    inner = _dtype(kind) if not isinstance(kind, str) else kind
    return (name, inner, *(tuple(each) for each in shape))
