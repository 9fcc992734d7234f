"""What people do about an alarm, on its page."""

import pytest
from django_tenants.utils import tenant_context

from apps.accounts.models import User
from apps.alarms.models import Alarm, AlarmEvent
from apps.alarms.operations import apply_findings
from apps.tenants.models import Tenant
from tests.findings import OVER, finding
from tests.pages import NOW, World, browser


def test_the_page_says_what_since_when_and_what_to_do(
    world: World, kunlun: Tenant, ben: User
) -> None:
    page = browser(ben, kunlun).get(f"/alarms/{world.alarm}/").text
    assert "Contact too hot" in page
    assert "Stop in a safe place" in page
    assert "About 40 min to the limit" in page
    assert "131.0" in page
    assert "°C" in page
    for word in ("measured", "arrived", "judged"):
        assert word in page


def test_ben_takes_it_in_hand(world: World, kunlun: Tenant, ben: User) -> None:
    client = browser(ben, kunlun)
    answer = client.post(f"/alarms/{world.alarm}/acknowledge", follow=True)
    assert answer.redirect_chain == [(f"/alarms/{world.alarm}/", 302)]
    assert "has it in hand" in answer.text
    assert "I take care of it" not in answer.text
    with tenant_context(kunlun):
        assert Alarm.objects.get(pk=world.alarm).acknowledged_by_id == ben.pk


def test_who_only_reads_has_no_button_and_no_way_around(
    world: World, kunlun: Tenant, rita: User
) -> None:
    client = browser(rita, kunlun)
    assert "I take care of it" not in client.get(f"/alarms/{world.alarm}/").text
    assert client.post(f"/alarms/{world.alarm}/acknowledge").status_code == 403
    assert client.post(f"/alarms/{world.alarm}/note", {"text": "x"}).status_code == 403


def test_an_alarm_that_is_over_is_not_taken_in_hand(
    world: World, kunlun: Tenant, ben: User
) -> None:
    with tenant_context(kunlun):
        apply_findings([finding(OVER, at=NOW)], judged_at=NOW)
    client = browser(ben, kunlun)
    answer = client.post(f"/alarms/{world.alarm}/acknowledge", follow=True)
    assert "over already" in answer.text
    assert "It is over" in answer.text


def test_a_note_becomes_part_of_the_story(world: World, kunlun: Tenant, ben: User) -> None:
    client = browser(ben, kunlun)
    empty = client.post(f"/alarms/{world.alarm}/note", {"text": " "})
    assert "Write what was found or done, then save." in empty.text
    said = client.post(
        f"/alarms/{world.alarm}/note", {"text": "<b>terminal re-torqued</b>"}, follow=True
    )
    assert "&lt;b&gt;terminal re-torqued&lt;/b&gt;" in said.text
    with tenant_context(kunlun):
        assert AlarmEvent.objects.get(kind="noted").actor_id == ben.pk


@pytest.mark.parametrize("state", ["open", "cleared", "", "nonsense"])
@pytest.mark.parametrize("severity", ["", "critical", "nonsense"])
def test_any_choice_of_the_list_is_a_page(
    state: str, severity: str, world: World, kunlun: Tenant, ben: User
) -> None:
    answer = browser(ben, kunlun).get("/alarms/", {"state": state, "severity": severity})
    assert answer.status_code == 200


def test_the_menu_counts_what_is_open(world: World, kunlun: Tenant, ben: User, anna: User) -> None:
    assert browser(ben, kunlun).get("/alarms/count.json").json() == {"open": 1}
    assert browser(anna, kunlun).get("/alarms/count.json").json() == {"open": 2}
    assert 'data-count="1"' in browser(ben, kunlun).get("/vehicles/").text
