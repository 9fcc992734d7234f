"""What the cluster has against what this version wants: templates, mappings, settings.

A missing field is added in place. A field of another type stays as it is in slices that exist,
which is right for most (old slices expire); `reindexing.py` writes a slice anew where it is not.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.conf import settings

from apps.telemetry import cluster, shapes
from apps.telemetry.documents import KINDS, Kind
from apps.telemetry.store import TelemetryStore

_MAY_DIFFER = (
    *("index.number_of_replicas", "index.refresh_interval"),  # changed at will
    "index.number_of_shards",  # a slice's own, by its size
)


@dataclass(frozen=True)
class Difference:
    """`where`: a template or an index. `what`: a field or a setting. None: it is not there.

    `needs_rewriting`: it can't be changed in place.
    """

    where: str
    what: str
    wanted: str | None
    found: str | None
    needs_rewriting: bool = False


def differences(store: TelemetryStore) -> list[Difference]:
    """Everything that differs, templates first, then by index."""
    found: list[Difference] = []
    for kind in KINDS:
        found += _of_template(store, kind)
    for kind in KINDS:
        found += _of_indices(store, kind)
    return found


def missing(store: TelemetryStore, now: datetime) -> list[Difference]:
    """Indices that should be there and are not: those that are fixed, and slices of open times."""
    names = [name for _kind, name in store.missing_indices()]
    names += [each.name for _kind, each in store.missing_slices(now)]
    return [Difference(f"{store.prefix}{name}", "itself", "there", None) for name in names]


def mend(store: TelemetryStore) -> int:
    """Put right in indices that exist what can be: add fields, change what becomes of unknown
    ones; in how many."""
    lacking = {
        each.where
        for each in differences(store)
        if not each.needs_rewriting and _kind_of(store, each.where)
    }
    for index in sorted(lacking):
        _add_missing(store, index)
    return len(lacking)


def _add_missing(store: TelemetryStore, index: str) -> None:
    kind = _kind_of(store, index)
    if kind is not None:
        held = store.mappings(index)[index]
        store.teach(index, shapes.lacking(kind.mappings["properties"], held["properties"]))
        if manners := shapes.manners_to_teach(kind.mappings, held):
            with cluster.our_errors():
                store.client.indices.put_mapping(index=index, **manners)


def _kind_of(store: TelemetryStore, index: str) -> Kind | None:
    name = index.removeprefix(store.prefix)
    return next((kind for kind in KINDS if name.startswith(f"{kind.name}-")), None)


def _of_template(store: TelemetryStore, kind: Kind) -> Iterator[Difference]:
    name = f"{store.prefix}{kind.name}"
    where = f"template {name}"
    wanted = kind.template(store.prefix, settings.ELASTICSEARCH_REPLICAS)
    with cluster.our_errors():
        answer = (
            store.client.options(ignore_status=404)
            .indices.get_index_template(name=name, flat_settings=True)
            .body
        )
    templates = answer.get("index_templates")
    if not templates:
        yield Difference(where, "itself", "there", None)
        return
    held = templates[0]["index_template"]
    for what in ("version", "index_patterns", "priority"):
        if shapes.text(held.get(what)) != shapes.text(wanted[what]):
            yield Difference(where, what, shapes.text(wanted[what]), shapes.text(held.get(what)))
    ours, theirs = wanted["template"], held["template"]
    for what, value in ours["settings"].items():
        found = theirs.get("settings", {}).get(what)
        if shapes.text(found) != shapes.text(value):
            yield Difference(where, what, shapes.text(value), shapes.text(found))
    for difference in shapes.unlike(
        shapes.fields(ours["mappings"]), shapes.fields(theirs.get("mappings", {}))
    ):
        yield Difference(where, *difference)
    yield from _of_manners(where, ours["mappings"], theirs.get("mappings", {}))


def _of_indices(store: TelemetryStore, kind: Kind) -> Iterator[Difference]:
    for index in store.indices():
        if _kind_of(store, index) is kind:
            yield from _of_mapping(store, kind, index)
            yield from _of_settings(store, kind, index)


def _of_mapping(store: TelemetryStore, kind: Kind, index: str) -> Iterator[Difference]:
    held = store.mappings(index)[index]
    wanted = shapes.fields(kind.mappings)
    for what, ours, theirs in shapes.unlike(wanted, shapes.fields(held)):
        yield Difference(index, what, ours, theirs, needs_rewriting=theirs is not None)
    yield from _of_manners(index, kind.mappings, held)


def _of_manners(
    where: str, wanted: Mapping[str, Any], held: Mapping[str, Any]
) -> Iterator[Difference]:
    for difference in shapes.unlike(shapes.manners(wanted), shapes.manners(held)):
        yield Difference(where, *difference)


def _of_settings(store: TelemetryStore, kind: Kind, index: str) -> Iterator[Difference]:
    with cluster.our_errors():
        answer = store.client.indices.get_settings(index=index, flat_settings=True).body
    (held,) = (each["settings"] for each in answer.values())
    for name, wanted in kind.settings.items():
        ours, theirs = shapes.text(wanted), shapes.text(held.get(name))
        if name not in _MAY_DIFFER and ours != theirs:
            yield Difference(index, name, ours, theirs, needs_rewriting=True)
