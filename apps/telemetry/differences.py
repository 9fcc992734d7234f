"""What the cluster has against what this version wants: templates, mappings, settings.

A missing field is added in place. A field of another type stays as it is in slices that exist,
which is right for most (old slices expire); `reindexing.py` writes a slice anew where it is not.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from django.conf import settings

from apps.telemetry import cluster
from apps.telemetry.documents import KINDS, Kind
from apps.telemetry.store import TelemetryStore

_COMPARED = ("type", "index", "doc_values", "time_series_dimension", "enabled", "format")
_DEFAULTS: Mapping[str, Any] = {"index": True, "doc_values": True, "enabled": True}
_SETTINGS_CHANGED_AT_WILL = ("index.number_of_replicas", "index.refresh_interval")


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


def mend(store: TelemetryStore) -> int:
    """Add the fields that are missing in indices that exist; to how many."""
    lacking = {
        each.where
        for each in differences(store)
        if each.found is None and not each.needs_rewriting and _kind_of(store, each.where)
    }
    for index in sorted(lacking):
        _add_missing(store, index)
    return len(lacking)


def _add_missing(store: TelemetryStore, index: str) -> None:
    kind = _kind_of(store, index)
    if kind is None:
        return
    wanted = kind.mappings["properties"]
    unlike = [each for each in _of_mapping(store, kind, index) if each.found is None]
    missing = sorted({each.what.split(".")[0] for each in unlike})
    with cluster.our_errors():
        store.client.indices.put_mapping(
            index=index, properties={name: wanted[name] for name in missing}
        )


def _kind_of(store: TelemetryStore, index: str) -> Kind | None:
    name = index.removeprefix(store.prefix)
    return next((kind for kind in KINDS if name.startswith(f"{kind.name}-")), None)


def _of_template(store: TelemetryStore, kind: Kind) -> Iterator[Difference]:
    name = f"{store.prefix}{kind.name}"
    wanted = kind.template(store.prefix, settings.ELASTICSEARCH_REPLICAS)
    with cluster.our_errors():
        answer = store.client.options(ignore_status=404).indices.get_index_template(name=name).body
    held = answer.get("index_templates")
    if not held:
        yield Difference(f"template {name}", "itself", "there", None)
        return
    template = held[0]["index_template"]["template"]
    for what, ours, theirs in _unlike(
        _fields(wanted["template"]["mappings"]), _fields(template.get("mappings", {}))
    ):
        yield Difference(f"template {name}", what, ours, theirs)


def _of_indices(store: TelemetryStore, kind: Kind) -> Iterator[Difference]:
    for index in store.indices():
        if _kind_of(store, index) is kind:
            yield from _of_mapping(store, kind, index)
            yield from _of_settings(store, kind, index)


def _of_mapping(store: TelemetryStore, kind: Kind, index: str) -> Iterator[Difference]:
    with cluster.our_errors():
        answer = store.client.indices.get_mapping(index=index).body
    (held,) = (each["mappings"] for each in answer.values())
    for what, ours, theirs in _unlike(_fields(kind.mappings), _fields(held)):
        yield Difference(index, what, ours, theirs, needs_rewriting=theirs is not None)


def _of_settings(store: TelemetryStore, kind: Kind, index: str) -> Iterator[Difference]:
    with cluster.our_errors():
        answer = store.client.indices.get_settings(index=index, flat_settings=True).body
    (held,) = (each["settings"] for each in answer.values())
    for name, wanted in kind.settings.items():
        found = held.get(name)
        if name not in _SETTINGS_CHANGED_AT_WILL and _text(found) != _text(wanted):
            yield Difference(index, name, _text(wanted), _text(found), needs_rewriting=True)


def _fields(mappings: Mapping[str, Any], under: str = "") -> dict[str, str]:
    """Each field's path and what we care about of it, as text."""
    found: dict[str, str] = {}
    for name, field in mappings.get("properties", {}).items():
        path = f"{under}{name}"
        if "properties" in field:
            found |= _fields(field, f"{path}.")
        else:
            found[path] = _about(field)
    return found


def _about(field: Mapping[str, Any]) -> str:
    told = {name: field[name] for name in _COMPARED if name in field}
    said = {name: value for name, value in told.items() if _DEFAULTS.get(name) != value}
    return " ".join(f"{name}={_text(value)}" for name, value in said.items())


def _unlike(
    wanted: Mapping[str, str], found: Mapping[str, str]
) -> Iterator[tuple[str, str, str | None]]:
    """What is wanted and not so; further fields are devices' own, or an older version's."""
    for path, about in wanted.items():
        if found.get(path) != about:
            yield path, about, found.get(path)


def _text(value: object) -> str:
    if isinstance(value, list):
        return ",".join(map(str, value))
    return str(value).lower() if isinstance(value, bool) else str(value)
