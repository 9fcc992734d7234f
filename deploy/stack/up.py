"""`up` and `down`: the whole stack, from nothing or from what is there."""

from deploy.stack import management, running, supervisor
from deploy.stack.services import services
from deploy.stack.stack import Stack
from deploy.stack.steps import step


def bring_up(stack: Stack, *, demo: bool = True) -> None:
    """Starts what doesn't run. Raises StackError, naming the service, where one doesn't come up."""
    was_running = supervisor.is_running(stack)
    if not was_running:
        end_orphans(stack)
        running.refuse_taken_ports(stack)
    with step("Folders, secrets, configuration"):
        changed = running.prepare(stack)
    if not was_running:
        supervisor.start(stack)
    elif changed:
        supervisor.reread(stack)
    with step("Postgres, Redis, Elasticsearch"):
        running.start_group(stack, "stores")
    if stack.shape.product:
        _bring_up_product(stack, demo=demo)


def bring_down(stack: Stack) -> None:
    """Ends every process of the stack, and no other."""
    supervisor.shut_down(stack)


def end_orphans(stack: Stack) -> None:
    """What a killed supervisord left behind would hold the ports and the data."""
    supervisor.shut_down(stack)


def _bring_up_product(stack: Stack, *, demo: bool) -> None:
    with step("Mosquitto"):
        running.start_group(stack, "broker")
    if not management.is_prepared(stack) or not _all_run(stack):
        stale = not management.is_prepared(stack)
        management.prepare_product(stack)
        if stale:
            _restart_product(stack)
    with step("Web and workers"):
        running.start_group(stack, "product")
    if demo:
        with step("Demo: simulator, mail server, SMS gateway"):
            running.start_group(stack, "demo")


def _all_run(stack: Stack) -> bool:
    return all(state.is_running for state in supervisor.every_state(stack))


def _restart_product(stack: Stack) -> None:
    """New code reaches only processes that start."""
    for group in ("demo", "product"):
        supervisor.stop_services(stack, [s.name for s in services(stack) if s.group == group])
