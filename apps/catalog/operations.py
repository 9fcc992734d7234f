"""Changes of the catalogue, in the schema that is set."""

from typing import Any

from django.core.exceptions import ValidationError
from django.db import transaction
from django.utils.translation import gettext as _

from apps.catalog.models import ConnectorModel
from apps.tenants.changes import announce

RATINGS = (
    "name",
    "position",
    "rated_current_a",
    "rated_voltage_v",
    "temperature_limit_c",
    "derating",
    "temperature_rise_rated_k",
    "temperature_rise_limit_k",
    "contact_resistance_new_uohm",
    "contact_resistance_end_uohm",
    "thermal_resistance_k_per_w",
    "thermal_time_constants_s",
    "insulation_minimum_kohm",
    "rated_mating_cycles",
    "reports",
    "interval_s",
)
"""What may be changed of a model. Its code may not: recorded readings carry it."""


def add_model(*, code: str, **ratings: Any) -> ConnectorModel:
    """A new product. `ratings` are fields named in RATINGS. Raises ValidationError."""
    _check_names(ratings)
    model = ConnectorModel(code=code, **ratings)
    return _save(model)


def change_model(*, model: ConnectorModel, **ratings: Any) -> ConnectorModel:
    """Change ratings; detection judges by them within 2 s. Raises ValidationError."""
    _check_names(ratings)
    for name, value in ratings.items():
        setattr(model, name, value)
    return _save(model)


def _save(model: ConnectorModel) -> ConnectorModel:
    with transaction.atomic():
        model.full_clean()
        model.save()
        announce()
    return model


def _check_names(ratings: dict[str, Any]) -> None:
    if unknown := set(ratings) - set(RATINGS):
        raise ValidationError(_("Not a rating: %(names)s") % {"names": ", ".join(sorted(unknown))})
