"""Pages stand on tests/pages.py."""

from tests.pages import world

__all__ = ["world"]
