"""What supervisord is told, and what its log says about restarts."""

import configparser
import stat
from dataclasses import replace

from supervisor.options import ServerOptions

from deploy.stack import supervisor
from deploy.stack.services import GROUPS, services
from deploy.stack.stack import SLOTS_LIMIT, Stack

LOG = """\
2026-11-24 00:10:26,809 INFO supervisord started with pid 1
2026-11-24 00:10:26,822 INFO spawned: 'web' with pid 2
2026-11-24 00:10:28,000 INFO exited: web (exit status 1; not expected)
2026-11-24 00:10:26,809 INFO supervisord started with pid 9
2026-11-24 00:10:26,822 INFO spawned: 'web' with pid 10
2026-11-24 00:10:26,827 INFO spawned: 'redis' with pid 11
2026-11-24 00:11:00,000 WARN exited: web (terminated by SIGKILL; not expected)
2026-11-24 00:11:01,000 INFO spawned: 'web' with pid 12
2026-11-24 00:11:02,000 WARN exited: web (exit status 1; not expected)
2026-11-24 00:11:03,000 INFO spawned: 'web' with pid 13
2026-11-24 00:12:00,000 INFO stopped: redis (exit status 0)
2026-11-24 00:12:01,000 INFO spawned: 'redis' with pid 14
"""


def test_only_starts_that_nobody_asked_for_are_restarts() -> None:
    assert supervisor.count_restarts(LOG) == {"web": 2}


def test_supervisord_reads_what_we_write(stack: Stack) -> None:
    for folder in stack.home.of_services():
        folder.mkdir(parents=True, exist_ok=True)
    supervisor.write_configuration(stack)
    file = stack.home.etc / "supervisord.conf"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    options = ServerOptions()
    options.realize(["-c", str(file)])
    groups = {group.name: group for group in options.process_group_configs}
    assert list(groups) == list(GROUPS)
    programs = {p.name: p for group in groups.values() for p in group.process_configs}
    slots = {f"acquisition-{number}" for number in range(SLOTS_LIMIT)}
    assert set(programs) == {service.name for service in services(stack)} | slots
    worker = programs["acquisition-1"]
    assert worker.command.endswith(
        "-n acquisition-1@%h --loglevel INFO --without-gossip --without-mingle"
    )
    assert worker.environment["OHMWATCH_ACQUISITION_SLOT"] == "1"
    assert worker.environment["OHMWATCH_SECRET_KEY"] == stack.credentials["secret_key"]


def test_stores_are_told_nothing_of_the_product(stack: Stack) -> None:
    parser = configparser.RawConfigParser(strict=False)
    parser.read_string(supervisor.render(stack))
    for store in ("postgres", "redis", "elasticsearch", "mosquitto"):
        assert "OHMWATCH_" not in parser[f"program:{store}"]["environment"]


def test_no_secret_stands_in_a_command_line(stack: Stack) -> None:
    every = " ".join(word for service in services(stack) for word in service.command)
    assert [
        name for name in ("postgres", "redis", "mqtt") if stack.credentials[name] in every
    ] == []


def test_a_stack_without_a_product_has_the_stores_alone(stack: Stack) -> None:
    bare = replace(stack, shape=replace(stack.shape, product=False))
    assert [service.name for service in services(bare)] == ["postgres", "redis", "elasticsearch"]
