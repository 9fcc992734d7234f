"""Instants as text and as milliseconds since 1970 UTC (RFC 3339, with an offset)."""

import re
from datetime import UTC, datetime, timedelta

_RFC_3339 = re.compile(
    r"\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d:\d\d(\.\d{1,9})?([Zz]|[+-]\d\d:\d\d)", re.ASCII
)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND = timedelta(milliseconds=1)


def ms_of(text: str) -> int | None:
    """The instant that a text names, cut to the millisecond; None where it names none.

    >>> ms_of("2026-11-23T09:20:00+01:00")
    1795422000000
    >>> ms_of("2026-11-23T09:20:00") is None
    True
    """
    if not _RFC_3339.fullmatch(text):
        return None
    try:
        return (datetime.fromisoformat(text.upper()) - _EPOCH) // _MILLISECOND
    except (ValueError, OverflowError):
        return None


def text_of(ms: int) -> str:
    """The instant as RFC 3339 in UTC, to the millisecond.

    >>> text_of(1795422000250)
    '2026-11-23T08:20:00.250Z'
    """
    return f"{(_EPOCH + ms * _MILLISECOND).isoformat(timespec='milliseconds')[:-6]}Z"
