"""The examples in the core's docstrings are run: a data sheet that lies fails the build."""

import doctest
import importlib
import pkgutil

import pytest

import ohmwatch

MODULES = [
    each.name
    for each in pkgutil.walk_packages(ohmwatch.__path__, "ohmwatch.")
    if not each.name.startswith("ohmwatch.checks.")
]


@pytest.mark.parametrize("name", MODULES)
def test_examples_in_docstrings_hold(name: str) -> None:
    result = doctest.testmod(importlib.import_module(name))
    assert result.failed == 0


def test_every_detector_has_an_example() -> None:
    detectors = [name for name in MODULES if name.startswith("ohmwatch.detectors.")]
    without = [
        name for name in detectors if ">>> " not in doctest_text(importlib.import_module(name))
    ]
    assert len(detectors) >= 4
    assert without == []


def doctest_text(module: object) -> str:
    tests = doctest.DocTestFinder().find(module)
    return "".join(test.docstring or "" for test in tests)
