"""What a way to reach people must be able to do, and what it is given to say.

The family of errors:

    TransportError      code, whether a repeat can help, and when
      permanent=True    the other side refused this message or address for good
      permanent=False   it may work later: the sweep tries again
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from apps.notifications.allowance import Counter
from apps.tenants.models import Tenant


class TransportError(Exception):
    """The message did not go out. `retry_after_s`: what the other side asked for, if it did.

    `reached` is false where nobody answered: then the next contact would wait as long, and the
    channel rests until the next sweep.
    """

    def __init__(
        self,
        code: str,
        *,
        permanent: bool,
        detail: str = "",
        reached: bool = True,
        retry_after_s: float | None = None,
    ) -> None:
        super().__init__(f"{code}: {detail}" if detail else code)
        self.code, self.permanent, self.reached = code, permanent, reached
        self.retry_after_s = retry_after_s


@dataclass(frozen=True, slots=True)
class Recipient:
    """Whom to tell, in which language and time zone (an IANA name)."""

    name: str
    address: str
    language: str
    timezone: str
    organisation: str = ""


@dataclass(frozen=True, slots=True)
class Item:
    """One alarm event as it is told. `since` and `measured_at` are the device's clock.

    `course` is `comes_and_goes` while the alarm flaps, `stayed_quiet` where it ended so, or empty.
    """

    number: int
    kind: str
    severity: str
    condition: str
    pole: str
    vehicle: str
    plate: str
    connector: str
    position: str
    since: datetime
    measured_at: datetime | None
    judged_at: datetime
    occurrences: int
    evidence: Mapping[str, float | str | None]
    time_left_s: float | None
    url: str
    course: str = ""

    @property
    def over(self) -> bool:
        """Whether this says that the alarm is over."""
        return self.kind == "cleared"

    @property
    def urgent(self) -> bool:
        return self.severity == "critical" and not self.over

    @property
    def pressing(self) -> bool:
        """Whether it can't wait a day: where its channel has no room it goes another way."""
        return self.severity in ("warning", "critical") and not self.over


@dataclass(frozen=True, slots=True)
class Message:
    """What one message says: the gravest items first, `total` of them in all.

    `key` is the same each time the same message is sent: the other side drops repeats by it.
    `contacts_url` is where the recipient says what to be told.
    """

    key: str
    tenant: str
    recipient: Recipient
    items: tuple[Item, ...]
    total: int
    url: str
    contacts_url: str = ""

    @property
    def first(self) -> Item:
        return self.items[0]

    @property
    def more(self) -> int:
        """How many items are not listed."""
        return self.total - len(self.items)


@dataclass(frozen=True, slots=True)
class Note:
    """A few words that a person asked for now: the code that proves an address, or a test.

    `text` is in the recipient's language already, in lines. It is said once and never repeated.
    """

    key: str
    tenant: str
    recipient: Recipient
    subject: str
    text: str


@dataclass(frozen=True, slots=True)
class Answer:
    """What the mail server or gateway answered a note, in its own words, on one line."""

    accepted: bool
    words: str

    @classmethod
    def of(cls, words: str, *, accepted: bool, secret: str = "") -> "Answer":
        """Without control signs, at most 300 long, and without what must not be shown."""
        said = words.replace(secret, "***") if secret else words
        plain = "".join(sign if sign.isprintable() else " " for sign in said)
        return cls(accepted, " ".join(plain.split())[:300])


class Channel(Protocol):
    """A way to reach people. One folder each under `channels/`, or a plug-in's entry point."""

    @property
    def kind(self) -> str:
        """The name in `Contact.kind`."""

    @property
    def tells(self) -> frozenset[str]:
        """The kinds of alarm events that are worth a message on this channel."""

    def is_ready(self) -> bool:
        """Whether the channel is configured on this machine."""

    def normalise(self, address: str) -> str:
        """The address in its one written form. Raises ValidationError with a text for people."""

    def admits(self, address: str, *, tenant: Tenant) -> bool:
        """Whether messages of this manufacturer may go to the address at all."""

    def wait_s(self, message: Message, *, tenant: Tenant, now: datetime) -> float:
        """Takes one message from the address's allowance: 0, or seconds until there is one.

        Raises TransportError where a pressing message can't wait that long: another way is taken.
        """

    def counters_of_note(self, address: str, *, tenant: Tenant) -> Sequence[Counter]:
        """What a code or test takes from, besides the allowance of every channel."""

    def send(self, message: Message) -> str:
        """Says it, and returns the other side's receipt. Raises TransportError."""

    def tell(self, note: Note) -> Answer:
        """Says a note at once. Raises nothing: that nobody answered is an answer as well."""
