"""The command line of ./ohmwatch, inside the Python environment."""

import os
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from deploy.stack import (
    backup,
    benching,
    management,
    restoring,
    running,
    slots,
    status,
    supervisor,
    up,
)
from deploy.stack import doctor as machine
from deploy.stack import logs as log_files
from deploy.stack.errors import StackError
from deploy.stack.farewell import farewell
from deploy.stack.layout import RUN
from deploy.stack.ports import Ports
from deploy.stack.reset import reset_everything
from deploy.stack.services import services
from deploy.stack.stack import SLOTS_LIMIT, Stack, demo_stack
from deploy.stack.steps import say, step

app = typer.Typer(
    name="ohmwatch",
    help="Ohmwatch warns before a high-voltage connector of an electric vehicle burns.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)
demo_commands = typer.Typer(help="The demo's fleet.", no_args_is_help=True)
app.add_typer(demo_commands, name="demo")

_PASS_ON = {"allow_extra_args": True, "ignore_unknown_options": True}
_PASS_ON_ALL = {**_PASS_ON, "help_option_names": []}


@app.command("up")
def start_all(
    port_base: Annotated[
        int | None, typer.Option(help="First of ten ports; remembered. At first 8000.")
    ] = None,
    host: Annotated[
        str | None, typer.Option(help="Where web and MQTT listen; remembered. At first 127.0.0.1.")
    ] = None,
) -> None:
    """Install what is missing, start everything, say where to look."""
    started = time.monotonic()
    stack = _moved(demo_stack(), port_base=port_base, host=host)
    up.bring_up(stack)
    say(farewell(stack, seconds=time.monotonic() - started))


@app.command("down")
def end_all() -> None:
    """End every process of the stack, and no other. Data stays."""
    with step("Everything ends, workers first, stores last"):
        up.bring_down(demo_stack())


@app.command("status")
def show_status() -> None:
    """One line a service. Status 1 where one is down."""
    found = status.lines(demo_stack(), now=time.time())
    status.show(found)
    raise typer.Exit(0 if all(line.is_up for line in found) else 1)


@app.command("logs")
def show_logs(
    service: Annotated[str | None, typer.Argument(help="One service; else all.")] = None,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on as they grow.")] = False,
    lines: Annotated[int, typer.Option("--lines", "-n", help="How many of each.")] = 50,
) -> None:
    """The last log lines."""
    log_files.show(demo_stack(), service, follow=follow, lines=lines)


@app.command("restart")
def restart_service(service: Annotated[str, typer.Argument(help="As `status` calls it.")]) -> None:
    """Stop a service, start it, and wait until it is up."""
    stack = demo_stack()
    chosen = next((s for s in services(stack) if s.name == service), None)
    if chosen is None:
        names = ", ".join(s.name for s in services(stack))
        raise StackError(f"There is no service {service}. There are: {names}")
    _must_run(stack)
    with step(f"{service} stops and starts"):
        supervisor.stop_services(stack, [service])
        supervisor.start_services(stack, [service])
        running.wait_until_up(stack, chosen)


@app.command("manage", context_settings=_PASS_ON_ALL)
def run_manage(context: typer.Context) -> None:
    """Django's management commands, with the stack's settings."""
    raise typer.Exit(management.manage(_made(), *context.args).returncode)


@app.command("shell", context_settings=_PASS_ON_ALL)
def run_shell(context: typer.Context) -> None:
    """A Python shell with the stack's settings and models."""
    raise typer.Exit(management.manage(_made(), "shell", *context.args).returncode)


@app.command("account", context_settings=_PASS_ON_ALL)
def run_account(context: typer.Context) -> None:
    """Close the account of every message: status 1 where received isn't what is kept."""
    raise typer.Exit(management.manage(_made(), "account", *context.args).returncode)


@app.command("recompute", context_settings=_PASS_ON_ALL)
def run_recompute(context: typer.Context) -> None:
    """Judge a connector's stored readings again: status 1 where its story isn't the same."""
    asked = ("recompute", *context.args)
    raise typer.Exit(management.run_module(_made(), "workers.detection", *asked))


@app.command("slots")
def change_slots(
    number: Annotated[int, typer.Argument(min=1, max=SLOTS_LIMIT, help="So many; remembered.")],
) -> None:
    """Acquisition workers from now on: they join, or are drained, while readings come in."""
    slots.change(_made(), number)


@app.command("drain")
def drain_slot(
    slot: Annotated[int, typer.Argument(help="Its number; its worker must be stopped.")],
) -> None:
    """Give an acquisition slot up: take what waits for it, then end its session."""
    raise typer.Exit(management.run_module(_made(), "workers.acquisition", "drain", str(slot)))


@app.command("bench")
def run_bench(
    name: Annotated[str | None, typer.Argument(help="Which; without it, they are listed.")] = None,
    quick: Annotated[
        bool, typer.Option("--quick", help="Rough, within 45 s, on the stack that is up.")
    ] = False,
    millions: Annotated[
        int | None,
        typer.Option("--millions", min=1, max=100, help="Readings that `queries` grows to; 10."),
    ] = None,
) -> None:
    """Measure this machine. Without a name: what can be measured."""
    if name is None:
        for bench in benching.known():
            say(f"{bench.name:12} {bench.about}")
        return
    raise typer.Exit(benching.run(name, quick=quick, millions=millions))


@app.command("backup")
def make_backup(
    target: Annotated[Path, typer.Argument(help="A folder on another disk; one is made in it.")],
) -> None:
    """Back up Postgres, Elasticsearch and files, of one moment; workers rest meanwhile."""
    stack = _made()
    _must_run(stack)
    made = backup.make(stack, target, now=datetime.now(UTC))
    say(f"\nThe backup is {made}")
    say("It holds the key that signs and seals: keep it as you would keep a password.")


@app.command("verify")
def verify_backup(folder: Annotated[Path, typer.Argument(help="What `backup` made.")]) -> None:
    """Check that a backup is whole, without restoring it."""
    with step("Checksums"):
        manifest = backup.read(folder)
    rows, documents = sum(manifest.rows.values()), sum(manifest.documents.values())
    say(f"Made {manifest.made_at} by {manifest.version}: {rows:,} rows, {documents:,} documents.")


@app.command("restore")
def restore_backup(folder: Annotated[Path, typer.Argument(help="What `backup` made.")]) -> None:
    """Fill a stack that has no data from a backup; then `up` starts it."""
    restoring.restore(demo_stack(), folder)
    say("\nThe stores are as they were. ./ohmwatch up starts the rest.")


@app.command("backtest", context_settings=_PASS_ON_ALL)
def run_backtest(context: typer.Context) -> None:
    """Judge a recording without any server: alarms.csv and a report."""
    arguments = [sys.executable, "-m", "ohmwatch", "backtest", *context.args]
    os.execv(sys.executable, arguments)  # noqa: S606 - the core's own command line


@app.command("reset")
def reset(
    yes: Annotated[bool, typer.Option("--yes", help="Don't ask.")] = False,
    all_: Annotated[
        bool, typer.Option("--all", help="The Python environment and Elasticsearch too.")
    ] = False,
) -> None:
    """Throw away the stack's data, secrets and logs."""
    if not yes:
        typer.confirm(f"This deletes all data under {RUN}. Go on?", abort=True)
    with step("Everything ends, and its data goes"):
        reset_everything(demo_stack(), tools=all_)


@app.command("doctor")
def doctor() -> None:
    """Check ports, disk, clock, limits and versions, and say how to mend what is wrong."""
    raise typer.Exit(machine.report())


@app.command("test", context_settings=_PASS_ON)
def run_tests(context: typer.Context) -> None:
    """Run every check in stacks of its own; arguments go to pytest alone."""
    from deploy.stack import testing  # it needs the tests' lock, which `up` doesn't install

    raise typer.Exit(testing.run(context.args))


@demo_commands.command("start")
def demo_start() -> None:
    """Start the simulated fleet, the mail server and the SMS gateway."""
    stack = demo_stack()
    _must_run(stack)
    with step("Demo: simulator, mail server, SMS gateway"):
        running.start_group(stack, "demo")


@demo_commands.command("stop")
def demo_stop() -> None:
    """Stop them. All else goes on."""
    stack = demo_stack()
    _must_run(stack)
    with step("The demo stops"):
        supervisor.stop_services(stack, [s.name for s in services(stack) if s.group == "demo"])


@demo_commands.command("fault", context_settings=_PASS_ON)
def demo_fault(
    context: typer.Context,
    kind: Annotated[str, typer.Argument(help="loose, ...; `demo list` names them")],
    connector: Annotated[str, typer.Argument(help="Its serial number or id; `demo` picks one.")],
) -> None:
    """Start a fault in the simulated fleet (--repair ends it)."""
    arguments = ("fault", kind, connector, *context.args)
    raise typer.Exit(management.run_module(_made(), "workers.simulator", *arguments))


@demo_commands.command("list")
def demo_list() -> None:
    """The simulated connectors, and the faults there are."""
    raise typer.Exit(management.run_module(_made(), "workers.simulator", "list"))


def main() -> None:
    """Runs the command line; tells a StackError with the log lines that explain it."""
    os.umask(0o022)
    try:
        app(prog_name="ohmwatch")
    except StackError as error:
        say(f"\n{error.message}")
        if error.service:
            say(log_files.explain(demo_stack(), error.service))
        sys.exit(1)


def _moved(stack: Stack, *, port_base: int | None, host: str | None) -> Stack:
    """The stack with what was chosen now; a running one is ended before it moves."""
    ports = Ports.from_base(port_base) if port_base else stack.ports
    moved = Stack(stack.home, stack.owner, ports, host or stack.host, stack.shape)
    if moved != stack and supervisor.is_running(stack):
        with step("The running stack ends, to come back on its new ports"):
            up.bring_down(stack)
    return moved


def _made() -> Stack:
    """The demo's stack, where `up` has made one."""
    stack = demo_stack()
    if not stack.home.secrets.exists():
        raise StackError("There is no stack yet: ./ohmwatch up makes it.")
    return stack


def _must_run(stack: Stack) -> None:
    if not supervisor.is_running(stack):
        raise StackError("The stack doesn't run: ./ohmwatch up starts it.")
