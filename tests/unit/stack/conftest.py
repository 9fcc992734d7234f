"""A stack in a folder of the test, as the services' user would see it; nothing runs."""

from pathlib import Path

import pytest

from deploy.stack.credentials import Credentials
from deploy.stack.layout import Home
from deploy.stack.owner import current
from deploy.stack.ports import Ports
from deploy.stack.stack import Stack


@pytest.fixture
def stack(tmp_path: Path) -> Stack:
    made = Stack(Home(tmp_path / "run"), current(), Ports.from_base(8000))
    Credentials(made.home).generate()
    return made
