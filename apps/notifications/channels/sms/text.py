"""A message as an SMS: the gravest alarm in at most three parts, the link always whole."""

from datetime import datetime
from zoneinfo import ZoneInfo

from django.utils import translation
from django.utils.translation import gettext, ngettext

from apps.alarms.models import Severity
from apps.alarms.wording import advice, condition_name, course_name
from apps.notifications.channel import Message

GSM_7 = frozenset(
    "@£$¥èéùìòÇ\nØø\rÅåΔ_ΦΓΛΩΠΨΣΘΞÆæßÉ !\"#¤%&'()*+,-./0123456789:;<=>?¡"
    "ABCDEFGHIJKLMNOPQRSTUVWXYZÄÖÑÜ§¿abcdefghijklmnopqrstuvwxyzäöñüà"
)
GSM_7_TWO = frozenset("^{}\\[~]|€")
PARTS = 3
NAME_LENGTH = 40


def parts(text: str) -> int:
    """How many parts the text takes on air: GSM-7 where every character fits, else UCS-2."""
    if all(letter in GSM_7 or letter in GSM_7_TWO for letter in text):
        length, single, multi = len(text) + sum(each in GSM_7_TWO for each in text), 160, 153
    else:
        length, single, multi = len(text.encode("utf-16-be")) // 2, 70, 67
    return 1 if length <= single else -(-length // multi)


def text_of(message: Message) -> str:
    """What the phone shows, in the recipient's language and time zone."""
    first, who = message.first, message.recipient
    with translation.override(who.language):
        state = gettext("Over") if first.over else str(Severity(first.severity).label)
        place = ", ".join(
            _short(part) for part in (first.vehicle, first.plate, first.connector) if part
        )
        since = gettext("since %(when)s") % {"when": _when(first.since, who.timezone)}
        head = f"{state}: {condition_name(first.condition)}. {place}. {since}."
        course = course_name(first.course)
        more = _more(message.total - 1)
        todo = "" if first.over else advice(first.condition, first.severity)
    link = message.url if message.total > 1 else first.url
    return _fit([head, course, more, todo], link)


def _more(others: int) -> str:
    if not others:
        return ""
    return ngettext("%(count)d more alarm.", "%(count)d more alarms.", others) % {"count": others}


def _fit(pieces: list[str], link: str) -> str:
    """All pieces and the link; where that is too long, the last piece gives way, word by word."""
    words = " ".join(piece for piece in pieces if piece).split()
    text = " ".join([*words, link])
    while parts(text) > PARTS and words:
        # Without spaces (Chinese) a "word" is a sentence: shorten it by letters instead.
        words[-1] = words[-1][:-4] if len(words[-1]) > 20 else ""
        words = [word for word in words if word]
        text = " ".join([" ".join(words) + "...", link])
    return text


def _short(name: str) -> str:
    return " ".join(name.split())[:NAME_LENGTH]


def _when(instant: datetime, zone: str) -> str:
    return instant.astimezone(ZoneInfo(zone)).strftime("%Y-%m-%d %H:%M %Z")
