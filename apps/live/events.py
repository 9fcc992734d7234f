"""What a browser missed: the events after a number, as far as its person may see them."""

from dataclasses import dataclass
from uuid import UUID

from apps.accounts.models import User
from apps.alarms import queries
from apps.live.hints import Hint, hint

PAGE = 200


@dataclass(frozen=True, slots=True)
class Page:
    """Hints in order; `more` where the page ends before `latest`, the newest one visible."""

    hints: list[Hint]
    latest: int
    more: bool


def page_after(user_id: UUID, number: int, *, size: int = PAGE) -> Page:
    """The first `size` events after `number` that this person may see."""
    user = User.objects.get(pk=user_id)
    latest = queries.latest_number(for_user=user)
    found = list(queries.events_after(for_user=user, number=number)[: size + 1])
    hints, before = [], number
    for event in found[:size]:
        hints.append(hint(event, previous=before))
        before = event.number
    return Page(hints, latest, more=len(found) > size)
