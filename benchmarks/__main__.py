"""`python -m benchmarks NAME [--quick] [--millions=N]`: one bench, in the environment that it is
given. How many millions of readings, only a bench that grows takes."""

import os
import sys
from importlib import import_module

import django


def main(arguments: list[str]) -> int:
    (name,) = (argument for argument in arguments if not argument.startswith("-"))
    if "DJANGO_SETTINGS_MODULE" in os.environ:
        django.setup()
    options: dict[str, int | bool] = {"quick": "--quick" in arguments}
    for argument in arguments:
        if argument.startswith("--millions="):
            options["millions"] = int(argument.partition("=")[2])
    try:
        status: int = import_module(f"benchmarks.{name}").main(**options)
    finally:
        if "DJANGO_SETTINGS_MODULE" in os.environ:
            import_module("benchmarks.corner").leave()
    return status


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
