"""What workshops find, entered by a system."""

import pytest
from django_tenants.utils import tenant_context
from rest_framework.test import APIClient

from apps.accounts.models import User
from apps.alarms.models import AlarmEvent, EventCounter, Inspection, Kind
from apps.api.models import Scope
from apps.tenants.models import Tenant
from apps.warning.operations import Content, make_rule
from tests.integration.api.conftest import (
    BENS_ALARM,
    CLARAS_ALARM,
    NOW,
    caller,
    new_key,
    signed_in,
)

pytestmark = pytest.mark.usefixtures("world")
PATH = f"/api/v1/alarms/{BENS_ALARM}/inspections"
FOUND = {
    "outcome": "fault",
    "cause": "terminal_loose",
    "pole": "pos",
    "resistance_uohm": 2100,
    "text": "terminal loose, 2.1 mΩ measured",
    "found_at": NOW.isoformat(),
}


def test_a_system_enters_what_was_found(bens_key: APIClient, kunlun: Tenant) -> None:
    with tenant_context(kunlun):
        EventCounter.objects.create(pk=1, last=100)  # the world's events were not counted
    answer = bens_key.post(PATH, FOUND, format="json")
    assert answer.status_code == 201, answer.content
    [listed] = bens_key.get(PATH).json()["results"]
    assert listed == answer.json()
    assert {name: listed[name] for name in ("outcome", "cause", "pole", "resistance_uohm")} == {
        "outcome": "fault",
        "cause": "terminal_loose",
        "pole": "pos",
        "resistance_uohm": 2100.0,
    }
    with tenant_context(kunlun):
        event = AlarmEvent.objects.get(kind=Kind.INSPECTED)
        assert event.actor is None
        assert event.evidence["entered_by"].startswith("key:")


def test_faults_are_named_by_field(staff_key: APIClient, kunlun: Tenant) -> None:
    wrong = {"outcome": "nothing", "cause": "sensor"}
    answer = staff_key.post(PATH, wrong, format="json")
    assert (answer.status_code, list(answer.json()["errors"])) == (400, ["cause"])
    answer = staff_key.post(PATH, {}, format="json")
    assert (answer.status_code, list(answer.json()["errors"])) == (400, ["outcome"])
    with tenant_context(kunlun):
        assert not Inspection.objects.exists()


def test_others_alarms_are_not_there(bens_key: APIClient, kunlun: Tenant) -> None:
    path = PATH.replace(str(BENS_ALARM), str(CLARAS_ALARM))
    assert bens_key.post(path, FOUND, format="json").status_code == 404
    assert bens_key.get(path).status_code == 404


def test_entering_needs_its_own_scope(kunlun: Tenant) -> None:
    client = caller(key=new_key(kunlun, scopes=Scope.reading()))
    assert client.get(PATH).status_code == 200
    refused = client.post(PATH, FOUND, format="json")
    assert (refused.status_code, refused.json()["code"]) == (403, "scope_missing")


def test_a_driver_and_a_reader_may_not(kunlun: Tenant, dora: User, rita: User) -> None:
    for person in (dora, rita):
        answer = signed_in(person, kunlun).post(PATH, FOUND, format="json")
        assert answer.status_code == 403


def test_rules_are_the_staffs(
    staff_key: APIClient, bens_key: APIClient, kunlun: Tenant, anna: User
) -> None:
    content = Content(name="Earlier", parameters={"margin_k": 20.0}, selection={"batch": ["b"]})
    with tenant_context(kunlun):
        rule = make_rule(user=anna, detector="overtemperature", content=content, now=NOW)
    [listed] = staff_key.get("/api/v1/rules").json()["results"]
    assert listed == {
        "id": str(rule.pk),
        "name": "Earlier",
        "detector": "overtemperature",
        "mode": "live",
        "share_pct": 100.0,
        "selection": {"batch": ["b"]},
        "parameters": {"margin_k": 20.0},
        "severities": {},
        "version": 1,
    }
    assert bens_key.get("/api/v1/rules").json()["results"] == []
