"""Starting services and waiting for them, group by group."""

import time

from deploy.stack import elasticsearch_node, mosquitto, postgres, redis_server, supervisor
from deploy.stack.errors import StackError
from deploy.stack.owner import prepare_home
from deploy.stack.ports import taken
from deploy.stack.services import Service, services
from deploy.stack.settings import files_folder
from deploy.stack.stack import Stack

_PATIENCE_S = 180


def refuse_taken_ports(stack: Stack) -> None:
    """Raises with the list, before anything is started."""
    others = taken(stack.ports, stack.host)
    if others:
        lines = "\n".join(f"  {port}  {name}" for name, port in others.items())
        raise StackError(
            f"Somebody else listens on ports that this stack would use:\n{lines}\n"
            "End them, or move all of ours: ./ohmwatch up --port-base 8100"
        )


def prepare(stack: Stack) -> bool:
    """Folders, secrets, configuration. Returns whether what runs has another configuration."""
    prepare_home(stack.home, stack.owner)
    before = _configuration(stack)
    stack.credentials.generate()
    stack.owner.make(files_folder(stack))
    postgres.prepare(stack)
    redis_server.prepare(stack)
    elasticsearch_node.prepare(stack)
    if stack.shape.product:
        mosquitto.prepare(stack)
    supervisor.write_configuration(stack)
    return before != _configuration(stack)


def _configuration(stack: Stack) -> dict[str, bytes]:
    """All that services read when they start."""
    files = (file for file in stack.home.etc.rglob("*") if file.is_file())
    return {str(file): file.read_bytes() for file in files if file.suffix != ".keystore"}


def start_group(stack: Stack, *groups: str) -> None:
    """Starts the groups' services at once and waits until each is up."""
    members = [service for service in services(stack) if service.group in groups]
    supervisor.start_services(stack, [service.name for service in members])
    for service in members:
        wait_until_up(stack, service)


def wait_until_up(stack: Stack, service: Service, *, patience_s: float = _PATIENCE_S) -> None:
    """Raises StackError with the service's name where it ends, or doesn't come up in time."""
    deadline = time.monotonic() + patience_s
    while True:
        state = next(s for s in supervisor.every_state(stack) if s.name == service.name)
        if state.is_running and (service.check is None or _answers(stack, service)):
            return
        if state.state in ("FATAL", "EXITED", "UNKNOWN") or _failed_thrice(stack, service, state):
            raise StackError(f"{service.name} doesn't start.", service=service.name)
        if time.monotonic() > deadline:
            raise StackError(
                f"{service.name} isn't up after {patience_s:.0f} s.", service=service.name
            )
        time.sleep(0.2)


def _answers(stack: Stack, service: Service) -> bool:
    assert service.check is not None
    try:
        service.check(stack)
    except Exception:
        return False
    return True


def _failed_thrice(stack: Stack, service: Service, state: supervisor.State) -> bool:
    """A person waits: three failed starts are enough to show the log. It is tried further."""
    return state.state == "BACKOFF" and supervisor.restarts(stack).get(service.name, 0) >= 3
