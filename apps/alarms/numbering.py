"""Event numbers: gap-free, in the order of commits, one writer of a tenant's alarms at a time."""

from apps.alarms.models import EventCounter


class Numbers:
    """Gives out event numbers inside the current transaction.

    Taking the counter's row is the first lock of everything that writes events, so two such
    transactions wait for each other in one order and can't deadlock.
    """

    def __init__(self) -> None:
        self._counter, _ = EventCounter.objects.select_for_update().get_or_create(pk=1)
        self._first = self._counter.last

    def next(self) -> int:
        """The number after the last one of this tenant."""
        self._counter.last += 1
        return self._counter.last

    def save(self) -> None:
        """Keeps what was given out; a rollback gives all of it back."""
        if self._counter.last != self._first:
            self._counter.save(update_fields=["last"])
