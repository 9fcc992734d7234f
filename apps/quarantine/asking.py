"""Which refused messages a person asks for: a page's form, links and downloads mean the same."""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from django.http import QueryDict
from django.utils.dateparse import parse_datetime
from django.utils.translation import gettext_lazy as _

from apps.quarantine.models import WORDS_LIMIT
from apps.telemetry.questions import RefusedFilter
from apps.telemetry.slices import to_ms
from ohmwatch.refusals import Reason

STATES = {"": _("All"), "waiting": _("Still here"), "replayed": _("Became readings")}


@dataclass(frozen=True)
class Asked:
    """What a person chose: as filters for the store, and as text for the form."""

    reason: str
    device: str
    state: str
    start: str
    end: str
    words: str
    maker: str
    """The manufacturer that the topic names, known or not: for the platform's own quarantine."""

    @classmethod
    def of(cls, said: QueryDict) -> "Asked":
        reason, state = said.get("reason", ""), said.get("state", "")
        return cls(
            reason=reason if reason in set(Reason) else "",
            device=said.get("device", "").strip()[:64],
            state=state if state in STATES else "",
            start=said.get("from", "") if _moment(said.get("from", "")) else "",
            end=said.get("to", "") if _moment(said.get("to", "")) else "",
            words=said.get("q", "").strip()[:WORDS_LIMIT],
            maker=said.get("maker", "").strip()[:32],
        )

    def chosen(self) -> dict[str, Any]:
        """As the store's questions take it."""
        return {
            "reason": self.reason or None,
            "device": self.device or None,
            "state": self.state,
            "words": self.words,
            "maker": self.maker,
            "start": _moment(self.start),
            "end": _moment(self.end),
        }

    @property
    def filters(self) -> RefusedFilter:
        said = self.chosen()
        start, end = said.pop("start"), said.pop("end")
        return RefusedFilter(
            **said,
            start_ms=to_ms(start) if start else None,
            end_ms=to_ms(end) if end else None,
        )

    @property
    def is_narrow(self) -> bool:
        return any(self.fields().values())

    def fields(self) -> dict[str, str]:
        """As the form sends it, for forms and links that mean the same messages."""
        return {
            "reason": self.reason,
            "device": self.device,
            "state": self.state,
            "from": self.start,
            "to": self.end,
            "q": self.words,
            "maker": self.maker,
        }


def _moment(text: str) -> datetime | None:
    """What a date and time field says; without an offset it is UTC."""
    try:
        found = parse_datetime(text)
    except ValueError:
        return None
    if found is None or not 1970 <= found.year < 9000:
        return None
    return found if found.tzinfo else found.replace(tzinfo=UTC)
