"""Email by SMTP: what, where, since when, what to do, and the link; as text and as HTML.

Repeats after a crash carry the same Message-ID, so that a mailbox can drop them.
"""

import smtplib
from collections.abc import Sequence
from datetime import datetime
from email.utils import formataddr, parseaddr
from pathlib import Path
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo

from django.conf import settings
from django.core.mail import EmailMessage, EmailMultiAlternatives
from django.core.mail.backends.smtp import EmailBackend as SmtpBackend
from django.core.validators import validate_email
from django.template.backends.django import DjangoTemplates
from django.utils import timezone, translation
from django.utils.translation import gettext, ngettext

from apps.alarms.models import Kind, Severity
from apps.alarms.wording import advice, condition_name, course_name, evidence_rows
from apps.notifications.allowance import Counter
from apps.notifications.channel import Answer, Item, Message, Note, TransportError
from apps.tenants.models import Tenant

TEMPLATES = DjangoTemplates(
    {
        "NAME": "email",
        "DIRS": [Path(__file__).parent / "templates"],
        "APP_DIRS": False,
        "OPTIONS": {"builtins": ["django.templatetags.i18n", "django.templatetags.tz"]},
    }
)
SUBJECT_LENGTH = 150


class EmailChannel:
    kind = "email"
    tells = frozenset({Kind.OPENED, Kind.REOPENED, Kind.WORSENED, Kind.EVIDENCE, Kind.CLEARED})

    def is_ready(self) -> bool:
        return bool(settings.EMAIL_HOST)

    def normalise(self, address: str) -> str:
        address = address.strip()
        validate_email(address)
        return address

    def admits(self, address: str, *, tenant: Tenant) -> bool:
        return True

    def counters_of_note(self, address: str, *, tenant: Tenant) -> Sequence[Counter]:
        return ()

    def wait_s(self, message: Message, *, tenant: Tenant, now: datetime) -> float:
        return 0.0  # the grouping of messages is limit enough

    def send(self, message: Message) -> str:
        mail = compose(message)
        try:
            mail.send()
        except smtplib.SMTPAuthenticationError as error:
            raise _failure(error.smtp_code, error, permanent=False) from error
        except smtplib.SMTPRecipientsRefused as error:
            code, _reason = next(iter(error.recipients.values()))
            raise _failure(code, error, permanent=500 <= code < 600) from error
        except smtplib.SMTPResponseException as error:
            permanent = 500 <= error.smtp_code < 600
            raise _failure(error.smtp_code, error, permanent=permanent) from error
        except (smtplib.SMTPException, OSError) as error:
            raise TransportError(
                "smtp_unreachable", permanent=False, detail=type(error).__name__, reached=False
            ) from error
        return str(mail.extra_headers["Message-ID"])

    def tell(self, note: Note) -> Answer:
        mail = EmailMessage(
            note.subject,
            note.text,
            to=[note.recipient.address],  # no name: it may be what somebody wants to advertise
            headers={
                "Message-ID": f"<{note.key}@{settings.BASE_DOMAIN}>",
                "Auto-Submitted": "auto-generated",
            },
        )
        try:
            code, words = _hand_over(mail)
        except smtplib.SMTPResponseException as error:
            code, words = error.smtp_code, _text(error.smtp_error)
        except (smtplib.SMTPException, OSError) as error:
            return Answer.of(f"{type(error).__name__}: {error}", accepted=False)
        return Answer.of(f"{code} {words}", accepted=200 <= code < 300)


def _hand_over(mail: EmailMessage) -> tuple[int, str]:
    """The mail server's last answer, as it gave it: smtplib keeps a good one to itself.

    Raises smtplib.SMTPException and OSError.
    """
    with SmtpBackend() as opened:
        server = opened.connection
        assert server is not None  # open() raises where there is none
        server.ehlo_or_helo_if_needed()
        sender = parseaddr(mail.from_email)[1]
        for code, words in (server.mail(sender), server.rcpt(mail.to[0])):
            if code >= 300:
                return code, _text(words)
        content = mail.message().as_bytes(linesep="\r\n")  # type: ignore[call-arg]  # Django's
        code, words = server.data(content)
        return code, _text(words)


def _text(words: bytes | str) -> str:
    return words.decode("utf-8", "replace") if isinstance(words, bytes) else words


def compose(message: Message) -> EmailMultiAlternatives:
    """The mail, in the recipient's language and time zone."""
    who = message.recipient
    with translation.override(who.language), timezone.override(ZoneInfo(who.timezone)):
        context = {
            "message": message,
            "zone": who.timezone,
            "lines": [_line(item) for item in message.items],
        }
        text = TEMPLATES.get_template("alarm.txt").render(context)
        html = TEMPLATES.get_template("alarm.html").render({**context, "language": who.language})
        subject = subject_of(message)
    host = urlsplit(message.url).hostname or "localhost"
    mail = EmailMultiAlternatives(
        subject,
        text,
        to=[formataddr((_one_line(who.name), who.address))],
        headers={
            "Message-ID": f"<{message.key}@{host}>",
            "Auto-Submitted": "auto-generated",
            "X-Ohmwatch-Delivery": message.key,
            **_unsubscribing(message),
        },
    )
    mail.attach_alternative(html, "text/html")
    return mail


def _unsubscribing(message: Message) -> dict[str, str]:
    """Where the recipient ends it (RFC 2369): on a page, signed in, never by a robot's click."""
    url = _one_line(message.contacts_url)
    return {"List-Unsubscribe": f"<{url}>"} if url else {}


def subject_of(message: Message) -> str:
    """Severity, what, where; and how many more. One line, whatever people named their vehicles."""
    first = message.first
    state = gettext("Over") if first.over else str(Severity(first.severity).label)
    subject = f"[{state}] {condition_name(first.condition)}: {first.vehicle or first.connector}"
    if message.total > 1:
        others = message.total - 1
        more = ngettext("and %(count)d more", "and %(count)d more", others) % {"count": others}
        subject = f"{_one_line(subject)[: SUBJECT_LENGTH - 20]} {more}"
    return _one_line(subject)[:SUBJECT_LENGTH]


def _line(item: Item) -> dict[str, object]:
    return {
        "item": item,
        "severity": Severity(item.severity).label,
        "kind": Kind(item.kind).label,
        "condition": condition_name(item.condition),
        "course": course_name(item.course),
        "advice": "" if item.over else advice(item.condition, item.severity),
        "evidence": evidence_rows(item.evidence),
        "hours_left": round(item.time_left_s / 3600, 1) if item.time_left_s else None,
    }


def _one_line(text: str) -> str:
    return " ".join(text.split())


def _failure(code: int, error: Exception, *, permanent: bool) -> TransportError:
    # Never the server's own text: it may quote addresses and content.
    return TransportError(f"smtp_{code}", permanent=permanent, detail=type(error).__name__)


CHANNEL = EmailChannel()
