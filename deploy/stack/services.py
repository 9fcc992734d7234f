"""Every service of a stack, in one list: what it runs, where it listens, when it counts as up."""

import socket
from collections.abc import Callable
from dataclasses import dataclass, field

import httpx

from deploy.stack import elasticsearch_node, mosquitto, postgres, redis_server
from deploy.stack.python_environment import PYTHON
from deploy.stack.settings import process_environment
from deploy.stack.stack import Stack

# Started in this order, stopped in the other; those of one group start and stop together.
GROUPS = ("stores", "broker", "product", "demo")


@dataclass(frozen=True)
class Service:
    """check raises while the service is not up yet; None: up when it has run for steady_s."""

    name: str
    group: str
    command: list[str]
    environment: dict[str, str]
    port: int | None = None
    check: Callable[[Stack], None] | None = None
    stop_signal: str = "TERM"
    steady_s: int = 2
    queue: str | None = None
    slot: int | None = field(default=None)


def services(stack: Stack) -> list[Service]:
    """In the order in which they start."""
    stores = [_postgres(stack), _redis(stack), _elasticsearch(stack)]
    if not stack.shape.product:
        return stores
    return [*stores, _mosquitto(stack), *product(stack), *demo(stack)]


def product(stack: Stack) -> list[Service]:
    """What docker-compose.yml runs as well, under the same names."""
    slots = [_celery(stack, f"acquisition-{n}", "-Q", "acquisition", "-P", "solo", slot=n)
             for n in range(stack.shape.slots)]  # fmt: skip
    return [
        _web(stack),
        *slots,
        _celery(stack, "detection-0", "-Q", "detection", "-P", "solo"),
        _celery(stack, "notification", "-Q", "notification", "-P", "threads", "-c", "4"),
        _celery(stack, "upkeep", "-Q", "upkeep", "-P", "threads", "-c", "3"),
        _celery(stack, "backtest", "-Q", "backtest", "-P", "solo"),
        _scheduler(stack),
    ]


def demo(stack: Stack) -> list[Service]:
    """The fleet that plays, and the mail server and SMS gateway that receive."""
    return [
        Service(
            name="inbox",
            group="demo",
            command=[str(PYTHON), "-m", "workers.inbox"],
            environment=process_environment(stack),
            port=stack.ports.inbox,
            check=_check_inbox,
        ),
        Service(
            name="simulator",
            group="demo",
            command=[
                *(str(PYTHON), "-m", "workers.simulator"),
                *("--history-days", str(stack.shape.history_days)),
            ],
            environment=process_environment(stack),
        ),
    ]


def _postgres(stack: Stack) -> Service:
    return Service(
        name="postgres",
        group="stores",
        command=postgres.command(stack),
        environment={"LANG": "C.UTF-8"},
        port=stack.ports.postgres,
        check=postgres.check,
        # Fast shutdown: TERM would wait for the last client to leave.
        stop_signal="INT",
    )


def _redis(stack: Stack) -> Service:
    return Service(
        name="redis",
        group="stores",
        command=redis_server.command(stack),
        environment={},
        port=stack.ports.redis,
        check=redis_server.check,
    )


def _elasticsearch(stack: Stack) -> Service:
    return Service(
        name="elasticsearch",
        group="stores",
        command=elasticsearch_node.command(stack),
        environment=elasticsearch_node.environment(stack),
        port=stack.ports.elasticsearch,
        check=elasticsearch_node.check,
        steady_s=5,
    )


def _mosquitto(stack: Stack) -> Service:
    return Service(
        name="mosquitto",
        group="broker",
        command=mosquitto.command(stack),
        environment={},
        port=stack.ports.mqtt_devices,
        check=mosquitto.check,
    )


def _web(stack: Stack) -> Service:
    command = [str(PYTHON), "-m", "uvicorn", "config.asgi:application"]
    command += ["--host", stack.host, "--port", str(stack.ports.web), "--lifespan", "off"]
    command += ["--timeout-graceful-shutdown", "10", "--ws-max-size", "65536"]
    return Service(
        name="web",
        group="product",
        command=command,
        environment=process_environment(stack),
        port=stack.ports.web,
        check=_check_web,
    )


def _celery(stack: Stack, name: str, *options: str, slot: int | None = None) -> Service:
    command = [str(PYTHON), "-m", "celery", "-A", "config.celery", "worker", *options]
    command += ["-n", f"{name}@%h", "--loglevel", "INFO", "--without-gossip", "--without-mingle"]
    extra = {} if slot is None else {"OHMWATCH_ACQUISITION_SLOT": str(slot)}
    return Service(
        name=name,
        group="product",
        command=command,
        environment=process_environment(stack, extra),
        queue=None if slot is not None else options[1],
        slot=slot,
    )


def _scheduler(stack: Stack) -> Service:
    schedule = stack.home.data / "beat"
    command = [str(PYTHON), "-m", "celery", "-A", "config.celery", "beat", "-s", str(schedule)]
    return Service(
        name="scheduler",
        group="product",
        command=[*command, "--pidfile="],
        environment=process_environment(stack),
    )


def _check_web(stack: Stack) -> None:
    url = f"http://{stack.near}:{stack.ports.web}/healthz"
    httpx.get(url, headers={"Host": "localhost"}, timeout=5, trust_env=False).raise_for_status()


def _check_inbox(stack: Stack) -> None:
    url = f"http://127.0.0.1:{stack.ports.inbox}/healthz"
    httpx.get(url, timeout=5, trust_env=False).raise_for_status()
    socket.create_connection(("127.0.0.1", stack.ports.smtp), timeout=2).close()
