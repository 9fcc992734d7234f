"""`python -m benchmarks NAME [--quick]`: one bench, in the environment that it is given."""

import os
import sys
from importlib import import_module

import django


def main(arguments: list[str]) -> int:
    (name,) = (argument for argument in arguments if not argument.startswith("-"))
    if "DJANGO_SETTINGS_MODULE" in os.environ:
        django.setup()
    status: int = import_module(f"benchmarks.{name}").main(quick="--quick" in arguments)
    return status


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
