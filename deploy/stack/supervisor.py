"""supervisord of one stack: starts services, restarts what dies, says what runs.

supervisord is told everything by a file (mode 600, it holds secrets) and asked over a Unix socket
that only its user and root can open.
"""

import re
import resource
import signal
import time
import xmlrpc.client
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

from supervisor.xmlrpc import SupervisorTransport

from deploy.stack import processes
from deploy.stack.errors import StackError
from deploy.stack.layout import SOCKET_PATH_LIMIT, write_private
from deploy.stack.python_environment import PYTHON
from deploy.stack.services import GROUPS, Service, services
from deploy.stack.stack import SLOTS_LIMIT, Stack

# Stands in every process of a stack, so that its processes can be told from all others.
MARK = "OHMWATCH_STACK"
_STOP_WAIT_S = 30
# After each failed start it waits a second longer: gives up after about half an hour.
_START_TRIES = 60

_HEAD = """\
[unix_http_server]
file = {socket}
chmod = 0600
[supervisord]
logfile = {logs}/supervisord.log
logfile_maxbytes = 20MB
logfile_backups = 1
pidfile = {data}/supervisord.pid
childlogdir = {logs}
minfds = {files}
umask = 077
identifier = ohmwatch
environment = {mark}
[rpcinterface:supervisor]
supervisor.rpcinterface_factory = supervisor.rpcinterface:make_main_rpcinterface
"""
_GROUP = """\
[group:{group}]
programs = {names}
priority = {priority}
"""
_PROGRAM = """\
[program:{name}]
command = {command}
directory = {directory}
environment = {environment}
autostart = false
autorestart = true
startsecs = {steady}
startretries = {tries}
stopsignal = {signal}
stopwaitsecs = {wait}
stopasgroup = false
killasgroup = true
redirect_stderr = true
stdout_logfile = {log}
stdout_logfile_maxbytes = 20MB
stdout_logfile_backups = 2
"""


@dataclass(frozen=True)
class State:
    """A service as supervisord sees it. started_at: seconds since 1970; pid 0: not running."""

    name: str
    state: str
    pid: int
    started_at: float

    @property
    def is_running(self) -> bool:
        return self.state == "RUNNING"


def write_configuration(stack: Stack) -> None:
    path = _configuration(stack)
    write_private(path, render(stack))
    stack.owner.owns(path)


def render(stack: Stack) -> str:
    """supervisord's configuration of the whole stack, with slots that don't run (yet)."""
    every = services(replace(stack, shape=replace(stack.shape, slots=SLOTS_LIMIT)))
    parts = [
        _HEAD.format(
            socket=_value(str(stack.home.socket)),
            logs=_value(str(stack.home.logs)),
            data=_value(str(stack.home.data)),
            files=open_files_limit(),
            mark=_environment({MARK: str(stack.home.path)}),
        )
    ]
    for priority, group in enumerate(GROUPS, start=1):
        members = [service for service in every if service.group == group]
        if members:
            names = ",".join(service.name for service in members)
            parts.append(_GROUP.format(group=group, names=names, priority=priority * 10))
        parts += [_program(stack, service) for service in members]
    return "".join(parts)


def _program(stack: Stack, service: Service) -> str:
    return _PROGRAM.format(
        name=service.name,
        command=_value(" ".join(_quoted(word) for word in service.command)),
        directory=_value(str(stack.home.data)),
        environment=_environment(service.environment),
        steady=service.steady_s,
        tries=_START_TRIES,
        signal=service.stop_signal,
        wait=_STOP_WAIT_S,
        log=_value(str(stack.home.log_of(service.name))),
    )


def start(stack: Stack) -> None:
    """Starts supervisord; it starts no service by itself."""
    if len(str(stack.home.socket)) > SOCKET_PATH_LIMIT:
        raise StackError(
            f"{stack.home.socket} is longer than the {SOCKET_PATH_LIMIT} characters that a "
            "socket's path may have: move the checkout to a shorter path."
        )
    command = [str(PYTHON), "-m", "supervisor.supervisord", "-c", str(_configuration(stack))]
    environment = {"PATH": "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin", "LANG": "C.UTF-8"}
    environment |= {"PYTHONDONTWRITEBYTECODE": "1", MARK: str(stack.home.path)}
    result = stack.owner.run(command, env=environment, capture_output=True, text=True)
    if result.returncode:
        raise StackError(f"supervisord didn't start:\n{result.stdout}{result.stderr}")
    deadline = time.monotonic() + 10
    while not is_running(stack):
        if time.monotonic() > deadline:
            raise StackError("supervisord doesn't answer", service="supervisord")
        time.sleep(0.1)


def is_running(stack: Stack) -> bool:
    try:
        return bool(_rpc(stack).supervisor.getState())
    except (OSError, xmlrpc.client.Error):
        return False


def start_services(stack: Stack, names: Iterable[str]) -> None:
    """Starts those that don't run; doesn't wait until they are up."""
    states = {state.name: state for state in every_state(stack)}
    for name in names:
        if states[name].state not in ("RUNNING", "STARTING", "BACKOFF"):
            _rpc(stack).supervisor.startProcess(_full(stack, name), False)


def stop_services(stack: Stack, names: Iterable[str]) -> None:
    """Stops those that run and waits for their end."""
    states = {state.name: state for state in every_state(stack)}
    running = [name for name in names if states[name].state not in ("STOPPED", "EXITED", "FATAL")]
    for name in running:
        _rpc(stack).supervisor.stopProcess(_full(stack, name), False)
    deadline = time.monotonic() + _STOP_WAIT_S + 5
    while time.monotonic() < deadline:
        left = {s.name for s in every_state(stack) if s.pid}
        if not left.intersection(running):
            return
        time.sleep(0.1)


def shut_down(stack: Stack) -> None:
    """Ends all services, the last group first, then supervisord, then whatever is left."""
    ours = processes.marked(MARK, str(stack.home.path))
    if is_running(stack):
        for group in reversed(GROUPS):
            stop_services(stack, [s.name for s in services(stack) if s.group == group])
        _rpc(stack).supervisor.shutdown()
    processes.wait_for_end(ours, seconds=15)
    left = processes.marked(MARK, str(stack.home.path))
    for number in (signal.SIGTERM, signal.SIGKILL):
        processes.send(left, number)
        processes.wait_for_end(left, seconds=10)


def every_state(stack: Stack) -> list[State]:
    """Empty where supervisord doesn't run."""
    try:
        answer = _rpc(stack).supervisor.getAllProcessInfo()
    except (OSError, xmlrpc.client.Error):
        return []
    return [
        State(
            info["name"],
            "RUNNING" if info["statename"] == "RUNNING" else info["statename"],
            info["pid"],
            float(info["start"]),
        )
        for info in cast(list[dict[str, Any]], answer)
    ]


def restarts(stack: Stack) -> dict[str, int]:
    """How often each service was started again without being asked, since supervisord runs."""
    log = stack.home.logs / "supervisord.log"
    return count_restarts(log.read_text(errors="replace")) if log.exists() else {}


def count_restarts(log: str) -> dict[str, int]:
    """Counts in supervisord's own log: a start that follows an end nobody asked for."""
    counted: dict[str, int] = {}
    waiting: set[str] = set()
    for line in log.splitlines():
        if "supervisord started with pid" in line:
            counted, waiting = {}, set()
        elif found := re.search(r"INFO stopped: (\S+) ", line):
            waiting.discard(found[1])
        elif found := re.search(r" (?:exited|gave up): (\S+) ", line):
            waiting.add(found[1])
        elif (found := re.search(r"spawned: '([^']+)'", line)) and found[1] in waiting:
            waiting.discard(found[1])
            counted[found[1]] = counted.get(found[1], 0) + 1
    return counted


def open_files_limit() -> int:
    """What Elasticsearch asks for, or as much as this machine allows."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    return 65535 if hard == resource.RLIM_INFINITY else min(65535, hard)


def _configuration(stack: Stack) -> Path:
    return stack.home.etc / "supervisord.conf"


def _rpc(stack: Stack) -> Any:
    transport = SupervisorTransport(None, None, f"unix://{stack.home.socket}")
    return xmlrpc.client.ServerProxy("http://127.0.0.1", transport=transport)


def _full(stack: Stack, name: str) -> str:
    group = next(service.group for service in services(stack) if service.name == name)
    return f"{group}:{name}"


def _value(text: str) -> str:
    """supervisord expands %(...)s in values."""
    return text.replace("%", "%%")


def _quoted(word: str) -> str:
    return f"'{word}'" if re.search(r"[\s;\"]", word) else word


def _environment(values: dict[str, str]) -> str:
    return _value(",".join(f'{name}="{value}"' for name, value in values.items()))
