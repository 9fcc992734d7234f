"""Indices that outgrow their shards are written anew with more, while documents come in.

Which, and with how many, is told by `sizing`; how, by `reindexing`. A repeat still meets its first:
the new index has the old one's name and all its documents. It takes hours where an index is large,
so it goes on a piece at a time, one index after the other.
"""

from collections.abc import Callable, Sequence

from apps.telemetry.reindexing import Copy, Rewritten, next_name
from apps.telemetry.sizing import Extent
from apps.telemetry.store import TelemetryStore


def outgrowing(extents: Sequence[Extent]) -> list[tuple[Extent, int]]:
    """What is to be written anew, and with how many shards; the fullest first."""
    found = [(each, each.shards_to_write_anew) for each in extents]
    fullest = sorted(found, key=lambda pair: pair[0].used, reverse=True)
    return [(each, shards) for each, shards in fullest if shards is not None]


def too_full(extents: Sequence[Extent]) -> list[Extent]:
    """What has a shard that is larger than one should be, the fullest first."""
    return sorted((each for each in extents if each.used > 1), key=lambda each: -each.used)


class Growth:
    """One run: goes on with what was begun, else begins with what is fullest."""

    def __init__(
        self,
        store: TelemetryStore,
        *,
        say: Callable[[str], None],
        pace: Callable[[Callable[[], None]], object],
    ) -> None:
        self._store = store
        self._say = say
        self._pace = pace

    def go_on(self, extents: Sequence[Extent], until: Callable[[], bool]) -> Rewritten | None:
        """What came to its end, if anything; `extents` are the store's as they stand. Raises
        TelemetryError; the next run tries again."""
        begun = self._begun(extents)
        if begun is None:
            begun = next((self._copy(each, n) for each, n in outgrowing(extents)), None)
        return begun.go_on(until) if begun else None

    def _begun(self, extents: Sequence[Extent]) -> Copy | None:
        """To be brought to its end also where the index has not grown on as it did."""
        unfinished = set(self._store.unfinished())
        under_way = [each for each in extents if next_name(each.index) in unfinished]
        copies = (self._copy(each, each.shards_to_write_anew) for each in under_way)
        return next((copy for copy in copies if copy.is_begun), None)

    def _copy(self, extent: Extent, shards: int | None) -> Copy:
        return Copy(self._store, extent.index, shards=shards, say=self._say, pace=self._pace)
