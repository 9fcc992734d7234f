"""`./ohmwatch slots N`: who joins, who is drained, and what is remembered. Nothing is started."""

from dataclasses import replace

import pytest

from apps.devices.slots import SLOTS
from deploy.stack import management, mosquitto, running, slots, supervisor
from deploy.stack.errors import StackError
from deploy.stack.layout import Choices
from deploy.stack.stack import SLOTS_LIMIT, Stack


class Machine:
    """What would have been done to a stack that runs, in order."""

    def __init__(self, patch: pytest.MonkeyPatch, *, runs: bool = True, drained: int = 0) -> None:
        self.done: list[str] = []
        patch.setattr(supervisor, "is_running", lambda stack: runs)
        patch.setattr(supervisor, "start_services", lambda stack, names: self._note("start", names))
        patch.setattr(supervisor, "stop_services", lambda stack, names: self._note("stop", names))
        patch.setattr(running, "wait_until_up", lambda stack, service: None)

        def run_module(stack: Stack, module: str, *arguments: str) -> int:
            self._note(*arguments[:1], arguments[1:])
            return drained

        patch.setattr(management, "run_module", run_module)

    def _note(self, what: str, names: object) -> None:
        self.done += [f"{what} {name}" for name in names]  # type: ignore[attr-defined]


def test_the_broker_knows_every_slot_that_has_a_password(stack: Stack) -> None:
    assert SLOTS_LIMIT == SLOTS == len(mosquitto.slot_names())


def test_new_ones_join_and_are_remembered(stack: Stack, monkeypatch: pytest.MonkeyPatch) -> None:
    machine = Machine(monkeypatch)
    Choices(8100, "0.0.0.0").remember(stack.home)
    slots.change(stack, 4)
    assert machine.done == ["start acquisition-2", "start acquisition-3"]
    assert Choices.remembered(stack.home) == Choices(8100, "0.0.0.0", 4)


def test_those_too_many_are_stopped_and_drained_the_last_first(
    stack: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine = Machine(monkeypatch)
    slots.change(replace(stack, shape=replace(stack.shape, slots=4)), 2)
    assert machine.done == ["stop acquisition-3", "drain 3", "stop acquisition-2", "drain 2"]
    assert Choices.remembered(stack.home).slots == 2


def test_one_that_is_not_empty_is_not_forgotten(
    stack: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    Machine(monkeypatch, drained=1)
    Choices(slots=3).remember(stack.home)
    with pytest.raises(StackError):
        slots.change(replace(stack, shape=replace(stack.shape, slots=3)), 1)
    assert Choices.remembered(stack.home).slots == 3


def test_of_a_stack_that_rests_it_is_remembered_only(
    stack: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine = Machine(monkeypatch, runs=False)
    slots.change(stack, 5)
    assert machine.done == []
    assert Choices.remembered(stack.home).slots == 5
