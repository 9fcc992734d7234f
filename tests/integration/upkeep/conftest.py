"""The mail server that operators are reached through."""

from tests.integration.notifications.conftest import mails

__all__ = ["mails"]
