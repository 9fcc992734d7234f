"""A tenant's telemetry as files, CSV or Parquet, for whoever leaves, and for back-tests.

Readings are a recording, as docs/devices/readings.md describes it: a file for each UTC day of
arrival, in order of arrival. Beside them lie folders of hours, days, alarm events and refused
messages, a file a day each; what a row is stands in docs/operations.md. A page at a time: memory
does not grow with the tenant.

A file gets its name when it is whole; who asks the same again into the same folder gets the days
that are missing. A day that was cut off begins anew, and so does one whose file was written before
it could not change any more. Which question a folder's files answer is written beside them, and
another one is refused: its files would lack rows, and nobody would see it.
"""

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from apps.telemetry.documents import DIMENSIONS, QUARANTINE, READINGS, SEARCH_FIELDS
from apps.telemetry.leaving import PARTS, RECORDING, Hit, Part, TenantExport, Wanted
from apps.telemetry.slices import from_ms
from apps.telemetry.tables import Column, Sort, pages_into
from ohmwatch.readings import QUANTITIES

PARTIAL = ".part"
MANIFEST = "export.json"
USUAL = tuple(name for name in PARTS if name != "minutes")
"""What is exported unless something else is said: hours last longer than minutes and hold as much
of what charts show."""


class AnotherExport(Exception):
    """The folder holds files that answer another question."""


@dataclass(frozen=True)
class Written:
    """A day's file; `rows` is None where an earlier run had written it."""

    path: Path
    rows: int | None


@dataclass(frozen=True)
class Taken:
    """A column and how its value is taken from a document."""

    column: Column
    take: Callable[[Hit], Any]


def export(
    telemetry: TenantExport,
    wanted: Wanted,
    folder: Path,
    *,
    form: str,
    parts: Sequence[str] = (RECORDING.name,),
) -> Iterator[Written]:
    """Write `<part>-<day>.<form>` for each day of which there is anything; form: csv or parquet.

    `parts` are names of PARTS; readings lie in the folder itself, each other part in its own below.
    Raises ParquetMissing, AnotherExport, TelemetryError.
    """
    _claim(folder, telemetry.tenant, wanted)
    for part in (PARTS[name] for name in parts):
        yield from _export_part(telemetry, part, wanted, folder, form)


def _export_part(
    telemetry: TenantExport, part: Part, wanted: Wanted, folder: Path, form: str
) -> Iterator[Written]:
    place = folder if part is RECORDING else folder / part.name
    columns = _columns(telemetry, part, wanted)
    for day_ms in telemetry.days(part, wanted):
        place.mkdir(exist_ok=True)
        path = place / f"{part.name}-{from_ms(day_ms):%Y%m%d}.{form}"
        if _is_whole(path, telemetry.day_settles_ms(part, day_ms)):
            yield Written(path, None)
        else:
            pages = telemetry.documents(part, wanted, day_ms)
            yield Written(path, _write(path, pages, columns, form))


def _is_whole(path: Path, settles_ms: int) -> bool:
    """Whether nothing of the day could change any more when its file was written."""
    return path.exists() and path.stat().st_mtime * 1000 >= settles_ms


def _write(path: Path, pages: Iterable[Sequence[Hit]], columns: Sequence[Taken], form: str) -> int:
    partial = path.with_name(path.name + PARTIAL)
    count = 0
    with pages_into(partial, [each.column for each in columns], form=form) as file:
        for page in pages:
            file.write([[each.take(hit) for each in columns] for hit in page])
            count += len(page)
    partial.replace(path)
    return count


# --- which question a folder answers ----------------------------------------------------------


def _claim(folder: Path, tenant: str, wanted: Wanted) -> None:
    """Write down what is asked, or see that it is what was asked before."""
    folder.mkdir(parents=True, exist_ok=True)
    asked = _as_written(tenant, wanted)
    manifest = folder / MANIFEST
    if not manifest.exists():
        if any(folder.glob(f"{RECORDING.name}-*")):
            raise AnotherExport(
                f"{folder} holds files, and no {MANIFEST} says what was asked for them: "
                "name an empty folder."
            )
        partial = manifest.with_name(MANIFEST + PARTIAL)
        partial.write_text(json.dumps(asked, indent=1) + "\n")
        partial.replace(manifest)
        return
    held = json.loads(manifest.read_text())
    if held != asked:
        raise AnotherExport(
            f"{folder} holds another export ({_told(held)}), and its files lack what this one asks "
            f"for ({_told(asked)}): name an empty folder, or ask as before to go on with it."
        )


def _as_written(tenant: str, wanted: Wanted) -> dict[str, Any]:
    chosen = None if wanted.connectors is None else sorted(map(str, wanted.connectors))
    return {
        "format": 1,
        "tenant": tenant,
        "from": wanted.start.isoformat(),
        "to": wanted.end.isoformat() if wanted.end else None,
        "connectors": chosen,
    }


def _told(asked: dict[str, Any]) -> str:
    chosen = asked["connectors"]
    whose = "all connectors" if chosen is None else f"{len(chosen)} connectors"
    return f"{asked['tenant']} from {asked['from']} to {asked['to'] or 'now'}, {whose}"


# --- what a row is ----------------------------------------------------------------------------


def _columns(telemetry: TenantExport, part: Part, wanted: Wanted) -> list[Taken]:
    if part.kind is QUARANTINE:
        return _REFUSED
    if part.name == "events":
        return _EVENTS
    names = [*QUANTITIES, *telemetry.own_quantities(part, wanted)]
    if part.kind is READINGS:
        return [*_READ, *(_real(name) for name in names)]
    return [*_ROLLED_UP, *(each for name in names for each in _rolled_up(name))]


def _rolled_up(quantity: str) -> list[Taken]:
    parts = [_real(f"{quantity}_{part}", quantity, part) for part in ("min", "max", "mean", "last")]
    return [*parts, _whole(f"{quantity}_count", quantity, "count")]


def _text(name: str, *path: str) -> Taken:
    return _taken(name, Sort.TEXT, str, path)


def _whole(name: str, *path: str) -> Taken:
    return _taken(name, Sort.WHOLE, int, path)


def _real(name: str, *path: str) -> Taken:
    return _taken(name, Sort.REAL, float, path)


def _json(name: str) -> Taken:
    return _taken(name, Sort.TEXT, lambda value: orjson.dumps(value).decode(), ())


def _bytes(name: str) -> Taken:
    return _taken(name, Sort.BYTES, str, ())


def _taken(name: str, sort: Sort, convert: Callable[[Any], Any], path: Sequence[str]) -> Taken:
    """A document's value, of its field of that name or at the path; None where it has none."""
    first, *rest = path or (name,)

    def take(hit: Hit) -> Any:
        value = hit["_source"].get(first)
        for step in rest:
            value = None if value is None else value.get(step)
        return None if value is None else convert(value)

    return Taken(Column(name, sort), take)


_READ = [_text("connector"), _whole("time", "@timestamp"), _whole("arrived", "arrived_at")]
_ROLLED_UP = [
    *(_text("connector"), _whole("time", "@timestamp"), _whole("count"), _whole("newest")),
    *(_text(name) for name in DIMENSIONS),
]
_EVENTS = [
    *(_text("event"), _whole("number"), _text("alarm"), _text("connector"), _text("kind")),
    *(_text("condition"), _text("pole"), _text("severity"), _text("reason"), _text("actor")),
    *(_text("note"), _whole("old_news")),
    *(_whole("measured_at"), _whole("arrived_at"), _whole("judged_at"), _real("time_left_s")),
    *(_json("evidence"), *(_text(name) for name in (*DIMENSIONS, *SEARCH_FIELDS, "model_name"))),
]
_REFUSED = [
    Taken(Column("id", Sort.TEXT), lambda hit: hit["_id"]),
    *(_whole("arrived_at"), _text("reason"), _text("field"), _text("detail"), _text("identity")),
    *(_text("device"), _text("connector"), _text("topic"), _whole("row"), _json("rows")),
    *(_whole("count"), _whole("messages"), _whole("dropped_bytes"), _text("codec")),
    *(_text("content_type"), _whole("payload_bytes"), _bytes("payload"), _text("replay_state")),
    *(_whole("replayed"), _whole("replayed_at"), _text("replay_detail")),
]
