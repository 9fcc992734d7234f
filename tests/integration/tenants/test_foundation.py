"""The root fixtures keep what they promise; the other tests stand on them."""

import pytest
from django_tenants.utils import tenant_context

from apps.accounts.models import Organisation, User
from apps.fleet.models import Connector, Vehicle
from apps.tenants.models import Tenant


def test_both_tenants_hold_equal_keys_and_different_texts(kunlun: Tenant, aurora: Tenant) -> None:
    def rows(tenant: Tenant) -> list[tuple[object, ...]]:
        with tenant_context(tenant):
            return list(Vehicle.objects.values_list("pk", "vin").order_by("pk"))

    assert rows(kunlun) == rows(aurora)
    with tenant_context(kunlun):
        assert not Vehicle.objects.filter(label__contains="CANARY").exists()
    with tenant_context(aurora):
        assert Vehicle.objects.filter(label__contains="CANARY-B-").count() == 2


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("run", [1, 2])
def test_what_a_transactional_test_commits_is_gone_after_it(kunlun: Tenant, run: int) -> None:
    with tenant_context(kunlun):
        assert Organisation.objects.count() == 2
        assert Connector.objects.count() == 3
        Organisation.objects.create(name="Left behind")
        User.objects.all().delete()


def test_the_cast_is_there_again(anna: User, ben: User, clara: User, otto: User) -> None:
    assert {anna.role, ben.role, clara.role, otto.role} == {"engineer", "owner"}
    assert ben.organisation
    assert clara.organisation
    assert ben.organisation.name == "Harbour Taxi"
    assert clara.organisation.name == "City Logistics"
