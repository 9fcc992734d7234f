"""A selection in words that people use, and back: organisations by name, vehicles by VIN,
connectors by serial number; in the database and in telemetry they are keys."""

from collections.abc import Mapping, Sequence
from typing import Union

from django.core.exceptions import ValidationError
from django.db.models import QuerySet
from django.utils.translation import gettext as _

from apps.accounts.models import Organisation
from apps.fleet.models import Connector, Vehicle

Selection = Mapping[str, Sequence[str]]
Rows = Union["QuerySet[Organisation]", "QuerySet[Vehicle]", "QuerySet[Connector]"]


def spoken(selection: Selection) -> dict[str, list[str]]:
    """The selection with names for keys; a key of what is gone stays as it is."""
    found: dict[str, list[str]] = {}
    for dimension, values in selection.items():
        rows = _rows(dimension)
        names = _names(rows, "pk", _label(dimension), values) if rows is not None else {}
        found[dimension] = sorted(names.get(value, value) for value in values)
    return found


def keyed(selection: Selection) -> dict[str, list[str]]:
    """The selection with keys for names, sorted, without what is empty.

    Raises ValidationError by dimension for names that are of nothing. Keys are taken too.
    """
    found: dict[str, list[str]] = {}
    missing: dict[str, list[str]] = {}
    for dimension, values in selection.items():
        rows = _rows(dimension)
        if rows is None:
            found[dimension] = sorted(set(values))
            continue
        keys = _names(rows, _label(dimension), "pk", values)
        keys |= _names(rows, "pk", "pk", [each for each in values if each not in keys])
        if unknown := [each for each in values if each not in keys]:
            shown = ", ".join(unknown[:5])
            missing[dimension] = [_("Not known here: %(names)s") % {"names": shown}]
        found[dimension] = sorted({keys[each] for each in values if each in keys})
    if missing:
        raise ValidationError(missing)
    return {dimension: values for dimension, values in found.items() if values}


def _rows(dimension: str) -> "Rows | None":
    if dimension == "organisation":
        return Organisation.objects.all()
    if dimension == "vehicle":
        return Vehicle.objects.all()
    return Connector.objects.all() if dimension == "connector" else None


def _label(dimension: str) -> str:
    return {"organisation": "name", "vehicle": "vin", "connector": "serial"}[dimension]


def _names(
    rows: "Rows",
    by: str,
    wanted: str,
    values: Sequence[str],
) -> dict[str, str]:
    """Of each value of the field `by` that there is, the field `wanted`."""
    asked = [each for each in values if by != "pk" or _is_key(each)]
    found = rows.filter(**{f"{by}__in": asked}).values_list(by, wanted)
    return {str(one): str(other) for one, other in found}


def _is_key(text: str) -> bool:
    return len(text) == 36 and text.count("-") == 4 and all(c in "0123456789abcdef-" for c in text)
