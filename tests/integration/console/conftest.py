"""Pages stand on tests/pages.py."""

from tests.integration.notifications.conftest import gateway, mails
from tests.pages import world

__all__ = ["gateway", "mails", "world"]
