"""Mail to those who run the platform: what no tenant's person can put right.

It goes by SMTP at once and past contacts, rules and outbox: those are a tenant's. Who calls it
decides how often, and tells again where nobody could be reached.
"""

from collections.abc import Callable

import structlog
from django.conf import settings
from django.core.mail import EmailMessage
from django.utils import translation
from django_tenants.utils import get_public_schema_name, schema_context

from apps.accounts.models import User
from apps.accounts.permissions import Role

log = structlog.get_logger(__name__)

Compose = Callable[[], tuple[str, str]]
"""Makes subject and text, in the language that is set while it is called."""


def tell_operators(code: str, compose: Compose) -> bool:
    """Mail each active operator who has an address, in their language; whether one was reached.

    `code` names the matter in the log. Hold no lock meanwhile: a mail server may hang.
    """
    with schema_context(get_public_schema_name()):
        operators = User.objects.filter(role=Role.OPERATOR, is_active=True).exclude(email="")
        told = list(operators.values_list("email", "language"))
    return sum(_sent(code, compose, address, language) for address, language in told) > 0


def _sent(code: str, compose: Compose, address: str, language: str) -> bool:
    with translation.override(language):
        subject, text = compose()
    mail = EmailMessage(
        " ".join(subject.split()),
        text,
        settings.DEFAULT_FROM_EMAIL,
        to=[address],
        headers={"Auto-Submitted": "auto-generated"},
    )
    try:
        mail.send()
    except OSError as error:  # smtplib's errors are OSErrors as well
        log.exception("operator_not_told", code=code, error=type(error).__name__)
        return False
    return True
