"""Connector models: what a rating may be."""

from typing import Any

import pytest
from django.core.exceptions import ValidationError

from apps.catalog.models import ConnectorModel
from apps.catalog.operations import add_model, change_model
from apps.tenants.models import Tenant
from tests import cast

SMALLEST: dict[str, Any] = {
    "name": "A model",
    "position": "traction",
    "rated_current_a": 200,
    "rated_voltage_v": 800,
    "temperature_limit_c": 120,
}


def test_four_ratings_and_a_position_are_enough(in_kunlun: Tenant) -> None:
    assert add_model(code="M-1", **SMALLEST).derating == []


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"derating": [[40, 250], [40, 180]]}, "derating"),
        ({"derating": [[40, 180], [70, 250]]}, "derating"),
        ({"derating": [[40, -1]]}, "derating"),
        ({"derating": [[40]]}, "derating"),
        ({"derating": [["a", "b"]]}, "derating"),
        ({"derating": "40:250"}, "derating"),
        ({"thermal_time_constants_s": [1, 2, 3]}, "thermal_time_constants_s"),
        ({"thermal_time_constants_s": [0]}, "thermal_time_constants_s"),
        ({"reports": [1]}, "reports"),
        ({"position": "Top Left"}, None),
        ({"rated_current_a": -1}, None),
        ({"temperature_rise_rated_k": 50, "temperature_rise_limit_k": 40}, None),
    ],
)
def test_what_cannot_be_a_rating_is_refused(
    in_kunlun: Tenant, change: dict[str, Any], field: str | None
) -> None:
    with pytest.raises(ValidationError) as refused:
        add_model(code="M-1", **(SMALLEST | change))
    if field:
        assert field in refused.value.message_dict


def test_a_models_code_is_for_ever(in_kunlun: Tenant) -> None:
    model = ConnectorModel.objects.get(pk=cast.MODEL)
    with pytest.raises(ValidationError, match="code"):
        change_model(model=model, code="OTHER")
    assert change_model(model=model, name="Renamed").name == "Renamed"


def test_a_code_is_one_models(in_kunlun: Tenant) -> None:
    with pytest.raises(ValidationError) as refused:
        add_model(code="HV-250", **SMALLEST)
    assert "code" in refused.value.message_dict
