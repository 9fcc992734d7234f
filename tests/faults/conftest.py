"""The long faults run by their own command, `./ohmwatch test -m fault`; CI has short versions."""

import pytest


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if config.option.markexpr:
        return
    long = [item for item in items if item.get_closest_marker("fault")]
    items[:] = [item for item in items if item not in long]
    config.hook.pytest_deselected(items=long)
