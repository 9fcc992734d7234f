"""The mail server of the demo: SMTP with AUTH, everything it accepts lands in the inbox."""

import hmac
from collections.abc import Callable
from datetime import UTC, datetime

from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session

from workers.inbox.store import Inbox

LARGEST_MAIL_BYTES = 2 * 1024 * 1024


class MailHandler:
    """Keeps each accepted mail, then says so to the page."""

    def __init__(self, inbox: Inbox, told: Callable[[], None]) -> None:
        self._inbox = inbox
        self._told = told

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:
        """aiosmtpd calls this with a complete mail; the answer goes back to the sender."""
        self._inbox.add_mail(
            sender=envelope.mail_from or "",
            recipients=[str(recipient) for recipient in envelope.rcpt_tos],
            raw=bytes(envelope.original_content or b""),
            received_at=datetime.now(UTC),
        )
        self._told()
        return "250 2.0.0 Kept"


def mail_protocol(handler: MailHandler, *, user: str, password: str) -> Callable[[], SMTP]:
    """The factory of one connection's protocol; AUTH is required before MAIL."""

    def authenticate(
        server: SMTP, session: Session, envelope: Envelope, mechanism: str, given: object
    ) -> AuthResult:
        genuine = (
            isinstance(given, LoginPassword)
            and hmac.compare_digest(given.login, user.encode())
            and hmac.compare_digest(given.password, password.encode())
        )
        return AuthResult(success=genuine, handled=False)

    return lambda: SMTP(
        handler,
        data_size_limit=LARGEST_MAIL_BYTES,
        hostname="inbox.ohmwatch.localhost",
        ident="Ohmwatch demo inbox",
        enable_SMTPUTF8=True,
        authenticator=authenticate,
        auth_required=True,
        auth_require_tls=False,  # it listens on the loopback interface, in the demo only
    )
