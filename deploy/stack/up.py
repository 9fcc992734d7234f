"""`up` and `down`: the whole stack, from nothing or from what is there."""

from deploy.stack import management, running, supervisor
from deploy.stack.layout import Choices
from deploy.stack.services import services
from deploy.stack.stack import Stack
from deploy.stack.steps import step


def bring_up(stack: Stack, *, demo: bool = True) -> None:
    """Starts what doesn't run. Raises StackError, naming the service, where one doesn't come up."""
    if not supervisor.is_running(stack):
        # What a killed supervisord left behind would hold the ports and the data.
        bring_down(stack)
        running.refuse_taken_ports(stack)
    Choices(stack.ports.web, stack.host, stack.shape.slots).remember(stack.home)
    with step("Folders, secrets, configuration"):
        if running.prepare(stack):
            bring_down(stack)
    if not supervisor.is_running(stack):
        supervisor.start(stack)
    with step("Postgres, Redis, Elasticsearch"):
        running.start_group(stack, "stores")
    if stack.shape.product:
        _bring_up_product(stack, demo=demo)


def bring_down(stack: Stack) -> None:
    """Ends every process of the stack, and no other."""
    supervisor.shut_down(stack)


def _bring_up_product(stack: Stack, *, demo: bool) -> None:
    prepared = management.is_prepared(stack)
    if not prepared or not _all_run(stack):
        management.prepare_product(stack)
    if not prepared:
        _stop_product(stack)
    with step("Mosquitto"):
        running.start_group(stack, "broker")
    with step("Web and workers"):
        running.start_group(stack, "product")
    if demo:
        with step("Demo: simulator, mail server, SMS gateway"):
            running.start_group(stack, "demo")


def _all_run(stack: Stack) -> bool:
    wanted = {service.name for service in services(stack)}
    running = {state.name for state in supervisor.every_state(stack) if state.is_running}
    return wanted <= running


def _stop_product(stack: Stack) -> None:
    """New code reaches only processes that start."""
    for group in ("demo", "product"):
        supervisor.stop_services(stack, [s.name for s in services(stack) if s.group == group])
