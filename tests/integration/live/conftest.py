"""A real web server for sockets."""

from collections.abc import Iterator

import pytest

from apps.live import tenancy
from tests.browser import web_server


@pytest.fixture(scope="session")
def _web_server(django_db_setup: None) -> Iterator[int]:
    with web_server() as port:
        yield port


@pytest.fixture
def web(_web_server: int, transactional_db: None) -> int:
    """The port of a running web process; what a test writes is committed."""
    tenancy.forget()
    return _web_server
