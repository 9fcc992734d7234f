"""A plug-in's detector as the worker sees it: a detector like any other, behind a process.

What it does wrong ends its turn with a PluginError and nothing else. A process that hangs or dies
is replaced at the next turn. After SWITCHED_OFF_AFTER failures without a good turn between them,
or when its turns take more of the worker's time than its budget, it is not asked any more until
the worker starts anew.
"""

import copy
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Self

import numpy as np

from ohmwatch.detector import Batch, Ratings, State
from ohmwatch.findings import Finding
from ohmwatch.parameters import Number, Parameter
from ohmwatch.plugins.budget import Budget
from ohmwatch.plugins.errors import (
    PluginError,
    PluginFailed,
    PluginNonsense,
    PluginStarting,
    PluginSwitchedOff,
)
from ohmwatch.plugins.process import Process
from ohmwatch.plugins.wire import Answer, Question

TURN_LIMIT_S = 4.0
START_LIMIT_S = 60.0
"""Loading a model takes a while; nobody waits for it but this plug-in."""
SWITCHED_OFF_AFTER = 5


class RemoteDetector:
    """Implements ohmwatch.detector.Detector, and ohmwatch.parameters.Declares.

    Starts its process when it is made, unless it is given one. Raises PluginError where the
    plug-in can't be loaded, or breaks the protocol. `budget` is None where nobody waits for it.
    """

    def __init__(
        self,
        plugin: str,
        *,
        limit_s: float = TURN_LIMIT_S,
        start_limit_s: float = START_LIMIT_S,
        process: Process | None = None,
        budget: Budget | None = None,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self.plugin = plugin
        self.failures = 0
        self.settings: Mapping[str, Number] = {}
        self._budget = budget
        self._monotonic = monotonic
        self._process = process or Process(plugin, limit_s=limit_s, start_limit_s=start_limit_s)
        # Of a process that was given the greeting is there already: for its rest nobody waits long.
        said = self._process.greeting(start_limit_s if process is None else limit_s)
        self.name, self.version, self.condition = said.name, said.version, said.condition
        self.needs = frozenset(said.needs)
        self.about = said.about
        self.state_dtype: np.dtype[Any] = _dtype(said.state)
        self.declared: tuple[Parameter, ...] = tuple(each.parameter() for each in said.parameters)

    @property
    def is_switched_off(self) -> bool:
        return bool(self._why_switched_off())

    def varied(self, settings: Mapping[str, Number]) -> Self:
        """The same process with a rule's parameters; its failures are counted by themselves."""
        variant = copy.copy(self)
        variant.settings, variant.failures = dict(settings), 0
        return variant

    def observe(self, batch: Batch, ratings: Sequence[Ratings], state: State) -> list[Finding]:
        """The plug-in's findings. Raises PluginError, and leaves `state` as it was."""
        if why := self._why_switched_off():
            raise PluginSwitchedOff(self.plugin, why)
        begun_at = self._monotonic()
        try:
            answer = self._process.ask(Question.of(batch, list(ratings), state, self.settings))
            records = self._checked(answer, batch, state)
        except PluginStarting:
            raise
        except PluginError:
            self.failures += 1
            raise
        finally:
            self._spend(begun_at)
        self.failures = 0
        state[:] = records
        return answer.findings

    def close(self) -> None:
        """End its process."""
        self._process.close()

    def _why_switched_off(self) -> str:
        if self.failures >= SWITCHED_OFF_AFTER:
            return f"failed {self.failures} times in a row"
        return self._budget.overdrawn if self._budget is not None else ""

    def _spend(self, begun_at: float) -> None:
        if self._budget is None:
            return
        now_s = self._monotonic()
        self._budget.spend(now_s - begun_at, now_s=now_s)
        if self._budget.overdrawn:
            self.close()

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
