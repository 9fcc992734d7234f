"""Comparing mappings: what differs, and what can be added in place. Pure functions."""

import json
from collections.abc import Iterator, Mapping
from typing import Any

_COMPARED = (
    *("type", "index", "doc_values", "time_series_dimension", "enabled", "format"),
    "copy_to",
)
_MANNERS = ("dynamic", "date_detection", "dynamic_templates")
_DEFAULTS: Mapping[str, Any] = {"index": True, "doc_values": True, "enabled": True}


def fields(mappings: Mapping[str, Any], under: str = "") -> dict[str, str]:
    """Each field's path and what we care about of it, as text."""
    found: dict[str, str] = {}
    for name, field in mappings.get("properties", {}).items():
        path = f"{under}{name}"
        found[path] = _about(field)
        found |= fields(field, f"{path}.")
    return found


def manners(mappings: Mapping[str, Any]) -> dict[str, str]:
    """What becomes of fields that nobody named, by where it is said, as text.

    >>> manners({"dynamic": True, "properties": {"own": {"dynamic": "strict"}}})
    {'dynamic': 'true', 'own.dynamic': 'strict'}
    """
    found = {name: _plain(mappings[name]) for name in _MANNERS if name in mappings}
    return found | {
        f"{path}.dynamic": text(field["dynamic"])
        for path, field in _objects(mappings)
        if "dynamic" in field
    }


def manners_to_teach(wanted: Mapping[str, Any], held: Mapping[str, Any]) -> dict[str, Any]:
    """What of that is not so, in a form that an index can be taught."""
    if not list(unlike(manners(wanted), manners(held))):
        return {}
    taught = {name: wanted[name] for name in _MANNERS if name in wanted}
    known = dict(_objects(held))
    inner = {
        path: {"type": "object", "dynamic": field["dynamic"]}
        for path, field in _objects(wanted)
        if "dynamic" in field and path in known and "." not in path
    }
    return {**taught, "properties": inner} if inner else taught


def _objects(mappings: Mapping[str, Any], under: str = "") -> Iterator[tuple[str, Any]]:
    for name, field in mappings.get("properties", {}).items():
        if "properties" in field or field.get("type", "object") == "object":
            yield f"{under}{name}", field
            yield from _objects(field, f"{under}{name}.")


def _plain(value: object) -> str:
    if isinstance(value, list):
        return json.dumps(value, sort_keys=True)
    return text(value)


def unlike(
    wanted: Mapping[str, str], found: Mapping[str, str]
) -> Iterator[tuple[str, str, str | None]]:
    """What is wanted and not so; further fields are devices' own, or an older version's."""
    for path, about in wanted.items():
        if found.get(path) != about:
            yield path, about, found.get(path)


def lacking(wanted: Mapping[str, Any], held: Mapping[str, Any]) -> dict[str, Any]:
    """The properties that a mapping has not, in a form that it can be taught.

    >>> lacking({"a": {"type": "long"}, "b": {"type": "float"}}, {"a": {"type": "double"}})
    {'b': {'type': 'float'}}
    """
    missing: dict[str, Any] = {}
    for name, field in wanted.items():
        if name not in held:
            missing[name] = field
        elif _about(held[name]) == _about(field):  # what is no object can't be taught parts
            parts, known = (each.get("properties", {}) for each in (field, held[name]))
            if inner := lacking(parts, known):
                missing[name] = {"properties": inner}
    return missing


def text(value: object) -> str:
    """A setting's or a parameter's value, however it was written."""
    if isinstance(value, list):
        return ",".join(map(str, value))
    return str(value).lower() if isinstance(value, bool) else str(value)


def _about(field: Mapping[str, Any]) -> str:
    told = {name: field[name] for name in _COMPARED if name in field}
    if "properties" in field:  # the store doesn't say that it is one
        told["type"] = "object"
    said = {name: value for name, value in told.items() if _DEFAULTS.get(name) != value}
    return " ".join(f"{name}={text(value)}" for name, value in said.items())
