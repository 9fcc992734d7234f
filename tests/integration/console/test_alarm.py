"""What people do about an alarm, on its page."""

from datetime import timedelta

import pytest
from django_tenants.utils import tenant_context

from apps.accounts.models import User
from apps.alarms.models import Alarm, AlarmEvent
from apps.alarms.operations import apply_findings
from apps.telemetry.store import TelemetryStore
from apps.tenants.models import Tenant
from tests import cast
from tests.findings import OVER, WARNING, finding
from tests.integration.telemetry.conftest import reading_lines
from tests.pages import NOW, World, browser

BENS = cast.BENS_CONNECTOR


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


def test_the_readings_that_show_it_are_a_table(world: World, kunlun: Tenant, ben: User) -> None:
    at = NOW - timedelta(days=5)
    with tenant_context(kunlun):
        apply_findings([finding(WARNING, at=at, condition="pole_imbalance")], judged_at=NOW)
        pk = Alarm.objects.get(condition="pole_imbalance").pk
    store = TelemetryStore()
    start_ms = int(at.timestamp() * 1000)
    rows = [
        (start_ms + step * 60_000, {"temperature_pos_c": 61.0 + step, "temperature_neg_c": 48.5})
        for step in range(-4, 5)
    ]
    store.bulk(reading_lines(store, "kunlun", rows, connector=str(BENS)))
    store.refresh()
    client = browser(ben, kunlun)

    assert f"/alarms/{world.alarm}/readings/" in client.get(f"/alarms/{world.alarm}/").text
    shown = client.get(f"/alarms/{pk}/readings/").text

    assert [step for step in range(-4, 5) if f">{61 + step:.1f}&nbsp;" in shown] == [*range(-2, 3)]
    assert shown.count("opened it") == 1
    assert "opened it" in shown.partition(">61.0&nbsp;")[0].rpartition("<tr>")[2]
    assert "Temperature, negative pole" in shown
    assert "Current" not in shown


def test_a_finding_that_a_lying_sensor_shows_says_that_it_is_less_sure(
    world: World, kunlun: Tenant, ben: User
) -> None:
    doubted = {"evidence": {"trust": 0.5, "time_left_unknown": "not_growing", "heating_k": 41.0}}
    with tenant_context(kunlun):
        for condition, more in (("contact_resistance_high", doubted), ("overvoltage", {})):
            said = finding(WARNING, at=NOW, condition=condition, **more)
            apply_findings([said], judged_at=NOW)
        pks = {alarm.condition: alarm.pk for alarm in Alarm.objects.filter(connector=BENS)}
    client = browser(ben, kunlun)
    page = client.get(f"/alarms/{pks['contact_resistance_high']}/").text
    assert "A sensor of this connector can't be trusted: this is less sure." in page
    assert "How long is left can't be said: it is not getting worse." in page
    assert "not_growing" not in page
    sure = client.get(f"/alarms/{pks['overvoltage']}/").text
    assert "less sure" not in sure
    assert "How long is left" not in sure


def test_of_an_alarm_whose_readings_are_gone_it_says_so(
    world: World, kunlun: Tenant, ben: User
) -> None:
    long_ago = NOW - timedelta(days=200)
    with tenant_context(kunlun):
        apply_findings([finding(WARNING, at=long_ago, condition="overvoltage")], judged_at=NOW)
        pk = Alarm.objects.get(condition="overvoltage").pk
    assert "no longer kept" in browser(ben, kunlun).get(f"/alarms/{pk}/readings/").text


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


def test_its_page_lists_cause_and_consequences_of_the_same_time(
    world: World, kunlun: Tenant, ben: User
) -> None:
    with tenant_context(kunlun):
        loose = finding(WARNING, at=NOW, condition="contact_loose")
        beside = finding(WARNING, at=NOW, condition="insulation_low")
        long_ago = NOW - timedelta(days=3)
        was = finding(WARNING, at=long_ago, condition="contact_resistance_high")
        ended = finding(OVER, at=long_ago, condition="contact_resistance_high")
        apply_findings([was, ended], judged_at=long_ago)
        apply_findings([loose, beside], judged_at=NOW)
        pks = {alarm.condition: alarm.pk for alarm in Alarm.objects.filter(connector=BENS)}
    client = browser(ben, kunlun)
    hot = client.get(f"/alarms/{world.alarm}/").text
    assert "Its cause" in hot
    assert "What follows from it" not in hot
    assert f"/alarms/{pks['contact_loose']}/" in hot
    assert f"/alarms/{pks['insulation_low']}/" not in hot
    assert f"/alarms/{pks['contact_resistance_high']}/" not in hot
    cause = client.get(f"/alarms/{pks['contact_loose']}/").text
    assert "What follows from it" in cause
    assert f"/alarms/{world.alarm}/" in cause
    assert "Tied to it" not in client.get(f"/alarms/{pks['insulation_low']}/").text


def test_its_page_says_that_it_comes_and_goes(world: World, kunlun: Tenant, ben: User) -> None:
    with tenant_context(kunlun):
        for step in range(1, 8):
            severity = OVER if step % 2 else WARNING
            at = NOW + timedelta(minutes=step)
            apply_findings([finding(severity, at=at)], judged_at=at)
    page = browser(ben, kunlun).get(f"/alarms/{world.alarm}/").text
    assert "It comes and goes: held open until it stays quiet." in page.partition("Its story")[0]
    assert "Held open since" in page
    assert f"{NOW.year}-" not in page.partition("Evidence")[2].partition("Its story")[0]
