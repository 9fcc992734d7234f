"""The process of one plug-in as the worker holds it: started, asked within a limit, replaced."""

import os
import select
import socket
import subprocess
import sys
import time

import msgspec

from ohmwatch.plugins.errors import (
    PluginDied,
    PluginNonsense,
    PluginRefused,
    PluginStarting,
    PluginTimedOut,
)
from ohmwatch.plugins.wire import Answer, Hello, Question, receive, send

_GREETING_WAIT_S = 0.2
_GIVEN = ("PATH", "LANG", "PYTHONPATH", "NUMBA_CACHE_DIR", "TMPDIR")
"""All that a plug-in sees of the environment: the product's secrets are none of its business."""


class Process:
    """Begins at once; who it is stands in its greeting, which comes when its model is loaded.

    `start_limit_s` is how long that may take, `limit_s` an answer.
    """

    def __init__(self, plugin: str, *, limit_s: float, start_limit_s: float) -> None:
        self.plugin = plugin
        self._limit_s = limit_s
        self._start_limit_s = start_limit_s
        self._process: subprocess.Popen[bytes] | None = None
        self._line: socket.socket | None = None
        self._said: Hello | None = None
        self._is_greeted = False
        self._begun_at = 0.0
        self._begin()

    def is_waiting_to_greet(self, *, within_s: float) -> bool:
        """Whether its greeting, or its end, is there by then: who asks for it need not wait."""
        assert self._line is not None
        return bool(select.select([self._line], [], [], within_s)[0])

    def is_overdue(self) -> bool:
        """Whether it has had all the time that a start may take."""
        return time.monotonic() - self._begun_at > self._start_limit_s

    def greeting(self, limit_s: float) -> Hello:
        """Waits for it. Raises PluginRefused, and what `ask` raises."""
        try:
            said = msgspec.msgpack.decode(self._receive(limit_s), type=Hello)
        except msgspec.MsgspecError as error:
            self.close()
            raise PluginNonsense(self.plugin, str(error)) from None
        if said.refused:
            self.close()
            raise PluginRefused(self.plugin, said.refused)
        if self._said is not None and (said.name, said.version) != (
            self._said.name,
            self._said.version,
        ):
            self.close()
            raise PluginDied(self.plugin, "it came back as another one")
        self._said, self._is_greeted = said, True
        return said

    def ask(self, question: Question) -> Answer:
        """Raises PluginTimedOut, PluginDied, PluginNonsense, PluginStarting."""
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

    def close(self) -> None:
        """End it."""
        if self._line is not None:
            self._line.close()
            self._line = None
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def _begin(self) -> None:
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

    def _come_back(self) -> None:
        """A process that was killed is replaced, without holding readings up meanwhile."""
        if self._line is None:
            self._begin()
        if not self.is_waiting_to_greet(within_s=_GREETING_WAIT_S):
            if self.is_overdue():
                self.close()
                raise PluginTimedOut(self.plugin, f"not started in {self._start_limit_s:g} s")
            raise PluginStarting(self.plugin, "it is being started again")
        self.greeting(self._limit_s)

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
