"""What rules change, and that none are needed."""

import pytest
from django.core.exceptions import PermissionDenied

from apps.accounts.models import User
from apps.warning import operations, queries
from apps.warning.queries import Setting
from tests import cast

pytestmark = pytest.mark.usefixtures("in_kunlun")


def test_without_rules_every_detector_watches_with_its_defaults() -> None:
    assert queries.settings_for(model_id=cast.MODEL) == {}
    assert queries.enabled({}, "overtemperature")


def test_a_models_rule_stands_before_the_general_one(anna: User) -> None:
    for model, hold_s in ((None, 10), (cast.MODEL, 30)):
        operations.set_rule(
            user=anna,
            detector="overtemperature",
            model_id=model,
            name="Hold longer",
            parameters={"hold_s": hold_s},
        )
    operations.set_rule(
        user=anna,
        detector="pole_imbalance",
        model_id=None,
        name="Off",
        parameters={},
        enabled=False,
    )
    own = queries.settings_for(model_id=cast.MODEL)
    other = queries.settings_for(model_id=cast.fixed_id(999))
    assert own["overtemperature"] == Setting("overtemperature", True, {"hold_s": 30}, 1)
    assert other["overtemperature"].parameters == {"hold_s": 10}
    assert not queries.enabled(own, "pole_imbalance")
    assert queries.rules(for_user=anna).count() == 3


def test_a_change_is_a_new_version_of_the_same_rule(anna: User) -> None:
    for hold_s in (10, 20):
        rule = operations.set_rule(
            user=anna,
            detector="overtemperature",
            model_id=None,
            name="Hold",
            parameters={"hold_s": hold_s},
        )
    assert rule.version == 2
    assert queries.settings_for(model_id=None)["overtemperature"].parameters == {"hold_s": 20}


def test_customers_neither_see_nor_change_rules(ben: User, sam: User) -> None:
    for user in (ben, sam):
        with pytest.raises(PermissionDenied):
            operations.set_rule(user=user, detector="x", model_id=None, name="", parameters={})
    assert not queries.rules(for_user=ben).exists()
