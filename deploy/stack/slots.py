"""How many acquisition workers run: one more or one less while readings come in.

supervisord and the broker know all slots there may be from the start, so that neither has to be
told anything when one joins.
"""

from dataclasses import replace

from deploy.stack import management, running, supervisor
from deploy.stack.errors import StackError
from deploy.stack.layout import Choices
from deploy.stack.services import Service, services
from deploy.stack.stack import Stack
from deploy.stack.steps import step


def change(stack: Stack, wanted: int) -> None:
    """From now on so many. Raises StackError where one doesn't come up or can't be drained; asked
    again, it goes on there."""
    new = replace(stack, shape=replace(stack.shape, slots=wanted))
    if supervisor.is_running(stack):
        for service in _beyond(new, stack.shape.slots):
            _join(new, service)
        for service in reversed(_beyond(stack, wanted)):
            _give_up(stack, service)
    replace(Choices.remembered(stack.home), slots=wanted).remember(stack.home)


def _beyond(stack: Stack, slots: int) -> list[Service]:
    return [each for each in services(stack) if each.slot is not None and each.slot >= slots]


def _join(stack: Stack, service: Service) -> None:
    with step(f"{service.name} joins"):
        supervisor.start_services(stack, [service.name])
        running.wait_until_up(stack, service)


def _give_up(stack: Stack, service: Service) -> None:
    """What waits for it is taken by its drain: the broker would keep it for nobody."""
    with step(f"{service.name} ends, and what waits for it is taken"):
        supervisor.stop_services(stack, [service.name])
        status = management.run_module(stack, "workers.acquisition", "drain", str(service.slot))
    if status:
        raise StackError(f"Slot {service.slot} is not empty yet: ask again", service=service.name)
