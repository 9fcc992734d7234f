"""Rules, back-tests and ground truth as an engineer works with them in the portal."""

from datetime import timedelta
from typing import Any

import msgspec
import pytest
import redis
from django.test import Client
from django_tenants.utils import tenant_context

from apps.accounts.models import User
from apps.alarms import truth
from apps.alarms.models import Alarm, AlarmEvent
from apps.alarms.queries import alarm_for
from apps.alarms.truth import Found
from apps.tenants.models import Tenant
from apps.warning import backtests, detectors
from apps.warning.detectors import forget_plugins
from apps.warning.models import BackTest, Mode, Progress, Rule
from apps.warning.operations import Content
from apps.warning.plugins import Report, put
from ohmwatch.plugins.wire import Declared
from tests import cast
from tests.pages import NOW, World, browser, check_clean

FORM = {
    "name": "Taxis earlier",
    "mode": "shadow",
    "share_pct": "25",
    "model": ["HV-250"],
    "vehicle": "LSVAU2A34N2183294",
    "batch": "2026-03, 2026-04",
    "parameter-margin_k": "20",
    "severity-critical": "warning",
}
ADD = "/portal/rules/add/?detector=overtemperature"
FILE = (
    "format: ohmwatch-rules/1\nrules:\n"
    "- {name: Taxis earlier, detector: overtemperature, parameters: {margin_k: 30}}\n"
)


@pytest.fixture
def client(world: World, kunlun: Tenant, anna: User) -> Client:
    return browser(anna, kunlun)


def the_rule(kunlun: Tenant) -> Rule:
    with tenant_context(kunlun):
        return Rule.objects.get()


def page(client: Client, path: str) -> str:
    answer = client.get(path)
    assert answer.status_code == 200
    check_clean(answer.text)
    return answer.text


@pytest.fixture
def made(client: Client, kunlun: Tenant) -> Rule:
    assert client.post(ADD, FORM).status_code == 302
    return the_rule(kunlun)


def test_a_rule_is_made_from_what_the_detector_declares(client: Client, made: Rule) -> None:
    assert (made.mode, made.share_pct, made.version) == (Mode.SHADOW, 25.0, 1)
    assert made.selection == {
        "model": ["HV-250"],
        "batch": ["2026-03", "2026-04"],
        "vehicle": [str(cast.BENS_VEHICLE)],
    }
    assert made.parameters == {"margin_k": 20.0}
    assert made.severities == {"critical": "warning"}
    shown = page(client, f"/portal/rules/{made.pk}/")
    for said in ("20 K", "LSVAU2A34N2183294", "Critical is stated as", "Version 1", "25 %"):
        assert said in shown
    assert "Taxis earlier" in page(client, "/portal/rules/")


def test_the_form_says_unit_bounds_and_reason(client: Client) -> None:
    shown = page(client, ADD)
    assert "Default 10, allowed 0 to 300." in shown
    assert "the safety margin is spent" in shown
    assert "In shadow" in shown


def test_faults_land_on_their_fields(client: Client, kunlun: Tenant) -> None:
    wrong = {**FORM, "parameter-margin_k": "9999", "vehicle": "NOBODYS", "share_pct": "130"}
    shown = client.post(ADD, wrong).text
    for field in ("id_vehicle_error", "id_share_pct_error"):
        assert f'id="{field}"' in shown
    shown = client.post(ADD, {**FORM, "parameter-margin_k": "9999"}).text
    assert "Allowed is 0 to 300." in shown
    with tenant_context(kunlun):
        assert not Rule.objects.exists()


def test_a_change_is_a_version_with_its_difference(
    client: Client, made: Rule, kunlun: Tenant
) -> None:
    path = f"/portal/rules/{made.pk}/edit/"
    assert 'value="20.0"' in page(client, path)
    changed = {**FORM, "parameter-margin_k": "35", "seen": "1"}
    assert client.post(path, changed).status_code == 302
    assert "meanwhile" in client.post(path, {**changed, "parameter-margin_k": "36"}).text
    shown = page(client, f"/portal/rules/{made.pk}/")
    assert "<del" in shown
    assert "35 K" in shown
    old = page(client, f"/portal/rules/{made.pk}/versions/1/")
    assert "20 K" in old
    assert client.get(f"/portal/rules/{made.pk}/versions/9/").status_code == 404


def test_rolled_out_taken_back_and_removed(client: Client, made: Rule, kunlun: Tenant) -> None:
    path = f"/portal/rules/{made.pk}"
    client.post(f"{path}/mode", {"mode": "live", "share_pct": "50"})
    assert (the_rule(kunlun).mode, the_rule(kunlun).share_pct) == ("live", 50.0)
    client.post(f"{path}/mode", {"mode": "live", "share_pct": "many"})
    assert the_rule(kunlun).version == 2
    client.post(f"{path}/take-back")
    assert (the_rule(kunlun).mode, the_rule(kunlun).share_pct) == ("shadow", 25.0)
    client.post(f"{path}/remove")
    assert "Taxis earlier" not in page(client, "/portal/rules/").split("<h2>Detectors")[0]
    assert "Removed" in page(client, f"{path}/")
    assert client.post(f"{path}/take-back").status_code == 404
    assert client.get(f"{path}/edit/").status_code == 404


def test_a_file_is_compared_before_it_is_applied(
    client: Client, made: Rule, kunlun: Tenant
) -> None:
    shown = client.post("/portal/rules/import/", {"text": FILE}).text
    assert "changes version 1" in shown
    assert the_rule(kunlun).version == 1
    seen = shown.split('name="seen" value="')[1].split('"')[0]
    assert client.post("/portal/rules/import/", {"text": FILE, "seen": "x", "apply": "1"}).text
    assert the_rule(kunlun).version == 1
    client.post("/portal/rules/import/", {"text": FILE, "seen": seen, "apply": "1"})
    assert the_rule(kunlun).parameters == {"margin_k": 30}
    exported = client.get("/portal/rules/export/")
    assert "attachment" in exported.headers["Content-Disposition"]
    assert "margin_k: 30" in exported.text
    assert client.get("/portal/rules/export/?format=json").json()["format"] == "ohmwatch-rules/1"


def test_a_bad_file_is_refused_with_its_lines(client: Client) -> None:
    shown = client.post("/portal/rules/import/", {"text": FILE.replace("margin_k", "heat")}).text
    assert "Line 3" in shown
    assert "parameters.heat" in shown
    assert "Choose a file" in client.post("/portal/rules/import/", {"text": " "}).text


# --- plug-ins -------------------------------------------------------------------------------------

DESCRIBED = Report(
    plugin="acme",
    state="ready",
    at=NOW,
    condition="acme_warmth_too_warm",
    detector="acme_warmth",
    about="Says that a hand would find it hot.",
    parameters=[Declared("limit_c", "float", 90.0, "°C", -60.0, 400.0, "where it hurts")],
)
TYPED = {"name": "Warmer", "mode": "shadow", "share_pct": "10", "parameter-limit_c": "60"}


def test_a_plug_ins_detector_has_rules_like_ours(
    client: Client, kunlun: Tenant, redis_log: redis.Redis
) -> None:
    put(redis_log, DESCRIBED)
    listed = page(client, "/portal/rules/")
    assert "Says that a hand would find it hot." in listed
    assert "Where it hurts" in page(client, "/portal/rules/add/?detector=acme_warmth")
    assert client.post("/portal/rules/add/?detector=acme_warmth", TYPED).status_code == 302
    rule = the_rule(kunlun)
    assert (rule.detector, rule.parameters, rule.mode) == (
        "acme_warmth",
        {"limit_c": 60.0},
        "shadow",
    )
    assert "is not here" not in page(client, f"/portal/rules/{rule.pk}/")
    assert "60 °C" in page(client, f"/portal/backtests/add/?rule={rule.pk}")


def test_one_that_is_away_or_switched_off_is_said_so(
    client: Client, kunlun: Tenant, redis_log: redis.Redis
) -> None:
    put(redis_log, DESCRIBED)
    client.post("/portal/rules/add/?detector=acme_warmth", TYPED)
    path = f"/portal/rules/{the_rule(kunlun).pk}/"
    put(redis_log, msgspec.structs.replace(DESCRIBED, state="switched_off"))
    forget_plugins()
    assert "is switched off" in page(client, path)
    assert "Switched off" in page(client, "/portal/rules/")
    redis_log.flushdb()
    forget_plugins()
    assert "acme_warmth, is not here" in page(client, path)
    for away in (f"{path}edit/", f"/portal/backtests/add/?rule={the_rule(kunlun).pk}"):
        assert client.get(away).headers["Location"] == path
        assert "is not here" in page(client, path)
    page(client, "/portal/rules/")
    client.post(f"{path}mode", {"mode": "live", "share_pct": "100"})
    assert the_rule(kunlun).mode == "shadow", "refused, with the reason"
    client.post(f"{path}mode", {"mode": "disabled"})
    assert the_rule(kunlun).mode == "disabled"


def test_while_redis_is_away_ours_are_there(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(_client: redis.Redis) -> list[Report]:
        raise redis.ConnectionError("away")

    monkeypatch.setattr(detectors, "reports", away)
    assert "overtemperature" in page(client, "/portal/rules/")


# --- back-tests -----------------------------------------------------------------------------------


def test_a_back_test_is_asked_for_and_cancelled(client: Client, made: Rule, kunlun: Tenant) -> None:
    days: dict[str, Any] = {"start": (NOW - timedelta(days=3)).date(), "end": NOW.date()}
    asked = client.post(f"/portal/backtests/add/?rule={made.pk}", days)
    path = asked.headers["Location"]
    with tenant_context(kunlun):
        row = BackTest.objects.get()
    assert (row.rule_id, row.rule_version, row.mode, row.share_pct) == (made.pk, 1, "live", 100.0)
    assert row.connectors_total == 2
    assert "every 2s" in page(client, path)
    client.post(f"{path}cancel")
    assert "There is no result." in page(client, path)
    backwards = {"start": days["end"], "end": days["start"]}
    shown = client.post("/portal/backtests/add/?detector=overtemperature", {**FORM, **backwards})
    assert "It ends after it begins" in shown.text


def test_its_result_stands_beside_what_is_in_force(
    client: Client, made: Rule, kunlun: Tenant, anna: User
) -> None:
    opened_ms = round(NOW.timestamp() * 1000)
    row = {
        "connector": str(cast.BENS_CONNECTOR),
        "condition": "overtemperature",
        "opened_ms": opened_ms,
        "since_ms": opened_ms,
        "measured_ms": opened_ms,
        "ended_ms": None,
        "severity": "critical",
        "occurrences": 1,
    }
    tried = {
        "alarms": 7,
        "dropped": 0,
        "alarms_a_day": 3.5,
        "connectors": 1,
        "missed": 0,
        "by_severity": {"critical": 7},
        "by_day": {"2026-11-23": 7},
        "messages": {"email": 41},
        "caught": [{"connector": row["connector"], "found_ms": opened_ms, "days_ahead": 4.2}],
        "false": 1,
        "false_a_connector_year": 0.125,
        "rows": [row],
    }
    held = {**tried, "alarms": 2, "caught": [], "rows": [], "by_day": {}, "messages": {}}
    summary = {"days": 2.0, "seen": 2, "failures": 1, "tried": tried, "in_force": held}
    with tenant_context(kunlun):
        made_test = backtests.request(
            user=anna,
            detector="overtemperature",
            content=Content(name="Trial"),
            start=NOW - timedelta(days=2),
            end=NOW,
            now=NOW,
        )
        BackTest.objects.filter(pk=made_test.pk).update(
            state=Progress.DONE, result={"summary": summary}
        )
    shown = page(client, f"/portal/backtests/{made_test.pk}/")
    for said in ("3.50", "Messages by email", "41", "1 / 1", "0.125", "4.2 days ahead", "SN-0001"):
        assert said in shown, said
    assert "7" in page(client, "/portal/backtests/")


def test_it_is_judged_on_a_set_of_ground_truth(client: Client, kunlun: Tenant) -> None:
    entered = {"serial": "SN-0002", "found_on": NOW.date(), "cause": "cooling"}
    client.post("/portal/truth/add/", entered)
    asking = "/portal/backtests/add/?detector=overtemperature"
    assert "Ground truth, HV-250, all months: 1 faults, 0 nothings" in page(client, asking)
    days = {"start": NOW.date(), "end": NOW.date(), "truth": f"HV-250/{NOW:%Y-%m}"}
    plain = {"name": "Trial", "mode": "live", "share_pct": "100"}
    asked = client.post(asking, {**plain, **days})
    with tenant_context(kunlun):
        row = BackTest.objects.get()
    assert (row.among, row.connectors_total) == ([str(cast.BENS_SECOND_CONNECTOR)], 1)
    assert row.end - row.start == timedelta(days=90)
    assert f"Judged on the ground truth of HV-250 in {NOW:%Y-%m}." in page(
        client, asked.headers["Location"]
    )


# --- ground truth ---------------------------------------------------------------------------------


def test_what_the_workshop_found_makes_the_scores(
    client: Client, world: World, kunlun: Tenant, ben: User
) -> None:
    bens = browser(ben, kunlun)
    alarm = f"/alarms/{world.alarm}/"
    assert "Enter what the workshop found" in page(bens, alarm)
    entered = {
        "outcome": "fault",
        "cause": "terminal_loose",
        "pole": "pos",
        "resistance_mohm": "2.1",
        "found_on": NOW.date(),
        "text": "terminal loose",
    }
    assert bens.post(f"{alarm}inspection", entered).status_code == 302
    shown = page(bens, alarm)
    for said in ("A fault was found", "Terminal loose", "2,100", "2.1 mΩ"):
        assert said in shown, said
    scores = page(client, "/portal/truth/")
    for said in ("100 %", "HV-250", "the detector&#x27;s defaults", f"{NOW:%Y-%m}"):
        assert said in scores, said
    assert "Nothing fits this choice." in page(client, "/portal/truth/?month=1999-01&model=HV-250")
    refused = bens.post(f"{alarm}inspection", {**entered, "resistance_mohm": "-1"})
    assert "above zero" in refused.text


def test_a_failure_nobody_was_told_of(client: Client, kunlun: Tenant, anna: User) -> None:
    entered = {"serial": "SN-0002", "found_on": NOW.date(), "cause": "cooling"}
    assert client.post("/portal/truth/add/", entered).status_code == 302
    unknown = client.post("/portal/truth/add/", {**entered, "serial": "SN-NONE"})
    assert "No connector has this serial number." in unknown.text
    with tenant_context(kunlun):
        [failure] = truth.all_failures(for_user=anna)
        assert failure.connector == cast.BENS_SECOND_CONNECTOR


def test_the_alarm_names_detector_and_rule(
    client: Client, made: Rule, world: World, kunlun: Tenant, ben: User
) -> None:
    with tenant_context(kunlun):
        Alarm.objects.filter(pk=world.alarm).update(rule=made.pk, rule_version=1)
        AlarmEvent.objects.filter(alarm=world.alarm).update(rule=made.pk, rule_version=1)
    staff = page(client, f"/alarms/{world.alarm}/")
    assert f"/portal/rules/{made.pk}/versions/1/" in staff
    assert "rule Taxis earlier, version 1" in staff
    owner = page(browser(ben, kunlun), f"/alarms/{world.alarm}/")
    assert "a rule of the manufacturer's" in owner
    assert "Taxis earlier" not in owner
    assert "/portal/" not in owner


def test_an_unclear_finding_is_no_failure(world: World, kunlun: Tenant, anna: User) -> None:
    with tenant_context(kunlun):
        alarm = alarm_for(user=anna, pk=world.alarm)
        found = Found("unclear", NOW)
        truth.record(user=anna, alarm=alarm, found=found, now=NOW)
        assert truth.all_failures(for_user=anna) == []
