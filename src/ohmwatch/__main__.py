"""The core's own command line: what runs on a laptop, without any server."""

import sys

import typer

from ohmwatch.backtest.command import backtest
from ohmwatch.backtest.errors import RecordingError
from ohmwatch.detectors.defaults import default_detectors
from ohmwatch.watch import warm_up

app = typer.Typer(
    name="ohmwatch",
    help="Ohmwatch warns before a high-voltage connector of an electric vehicle burns.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)
app.command("backtest")(backtest)


@app.command("compile")
def compile_detectors() -> None:
    """Turn the default detectors into machine code now, so that no reading waits for it."""
    warm_up(default_detectors())


@app.callback()
def core() -> None:
    """What needs no server."""


def main() -> None:
    """Runs the command line; a file that can't be used is told in two lines."""
    try:
        app(prog_name="ohmwatch")
    except RecordingError as error:
        typer.echo(f"{error}", err=True)
        sys.exit(2)


if __name__ == "__main__":
    main()
