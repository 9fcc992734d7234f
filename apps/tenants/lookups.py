"""Finding one row for a person: what is not theirs is answered like what does not exist."""

import uuid
from typing import TypeVar

from django.db.models import Model, QuerySet
from django.http import Http404

Row = TypeVar("Row", bound=Model)


def find_or_404(rows: QuerySet[Row], pk: object) -> Row:
    """The row with this primary key among the rows that a person may see.

    Raises Http404, with one text for all reasons: not there, not theirs, not even a key.
    """
    row = rows.filter(pk=key).first() if (key := key_of(pk)) else None
    if row is None:
        raise Http404("nothing here")
    return row


def key_of(pk: object) -> uuid.UUID | None:
    """The primary key that this is or spells; None where it spells none."""
    if isinstance(pk, uuid.UUID):
        return pk
    try:
        return uuid.UUID(str(pk))
    except ValueError:
        return None
