"""What is true about a connector of the set, and its file."""

import csv
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, fields
from datetime import UTC, datetime
from pathlib import Path

from benchmarks.warning.faults import Kind, Shape


@dataclass(frozen=True, slots=True)
class Truth:
    """One connector. Times are ms since 1970 UTC, real ones: no device's clock.

    `onset_ms`: when the fault began; None of the healthy. `growth_s`: its time scale, where it
    grows. `limit_ms`: when its limit was reached, even if after the last reading (a contact at
    its temperature limit, insulation at its minimum, an interlock open for good); None: not
    within weeks. `visible_ms`: the information limit, the arrival of the reading from which on
    the fault could be seen, and by which quantity. It was heard from `first_ms` until
    `heard_until_ms`.
    """

    connector: str
    kind: Kind
    shape: Shape
    pole: str
    onset_ms: int | None
    growth_s: float | None
    limit_ms: int | None
    visible_ms: int | None
    visible_by: str
    first_ms: int
    heard_until_ms: int

    @property
    def reached_ms(self) -> int | None:
        """When the limit was reached within what was heard; None: it was not."""
        if self.limit_ms is None or self.limit_ms > self.heard_until_ms:
            return None
        return self.limit_ms

    @property
    def is_visible_before_limit(self) -> bool:
        """Whether an engine could have warned before the limit that it reached."""
        reached_ms = self.reached_ms
        return (
            reached_ms is not None
            and self.visible_ms is not None
            and (self.visible_ms < reached_ms)
        )


def write_truth(path: Path, truths: Iterable[Truth]) -> None:
    """truth.csv: times in RFC 3339, UTC, an empty cell for None."""
    names = [field.name for field in fields(Truth)]
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow([name.removesuffix("_ms") for name in names])
        for truth in truths:
            writer.writerow([_cell(name, getattr(truth, name)) for name in names])


def _cell(name: str, value: object) -> str:
    if value is None:
        return ""
    if name.endswith("_ms") and isinstance(value, int):
        return _written(value)
    if isinstance(value, Kind | Shape):
        return value.name.lower()
    return str(value)


def _written(time_ms: int) -> str:
    at = datetime.fromtimestamp(time_ms / 1000, tz=UTC)
    return at.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def read_truth(path: Path) -> Iterator[Truth]:
    """What `write_truth` wrote."""
    with path.open(newline="") as file:
        for row in csv.DictReader(file):
            yield Truth(
                connector=row["connector"],
                kind=Kind[row["kind"].upper()],
                shape=Shape[row["shape"].upper()],
                pole=row["pole"],
                onset_ms=_read(row["onset"]),
                growth_s=float(row["growth_s"]) if row["growth_s"] else None,
                limit_ms=_read(row["limit"]),
                visible_ms=_read(row["visible"]),
                visible_by=row["visible_by"],
                first_ms=_known(row["first"]),
                heard_until_ms=_known(row["heard_until"]),
            )


def _read(cell: str) -> int | None:
    return _known(cell) if cell else None


def _known(cell: str) -> int:
    return round(datetime.fromisoformat(cell).timestamp() * 1000)
