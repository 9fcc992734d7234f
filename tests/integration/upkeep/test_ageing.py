"""A batch of which one ages faster: from the states of a fleet to the alarm that people see."""

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import numpy as np
import pytest
from django_tenants.utils import schema_context

from apps.accounts.models import User
from apps.alarms.models import Alarm, AlarmEvent, Consumer, Outbox
from apps.fleet.models import Connector
from apps.telemetry import cluster
from apps.telemetry.store import TelemetryStore, the_store
from apps.telemetry.tenant import TenantTelemetry
from apps.tenants.models import Tenant
from apps.warning import operations
from apps.warning.models import Mode, ShadowAlarm
from apps.warning.operations import Content
from config.words import EVIDENCE_WORDS
from tests import cast
from tests.pages import browser, check_clean
from workers.upkeep import ageing, states

pytestmark = pytest.mark.usefixtures("empty_elasticsearch")
NOW = datetime.now(UTC).replace(microsecond=0)
DAY = timedelta(days=1)
BENS = str(cast.BENS_CONNECTOR)


def _ms(instant: datetime) -> int:
    return int(instant.timestamp() * 1000)


def fleet(slug: str, *, beside: int = 20) -> list[str]:
    """Ben's connector and others of its batch, in the schema that is set; with their states."""
    first = Connector.objects.get(pk=cast.BENS_CONNECTOR)
    Connector.objects.bulk_create(
        Connector(
            id=cast.fixed_id(1_000 + number),
            model=first.model,
            serial=f"SN-{1_000 + number}",
            batch=first.batch,
            vehicle=first.vehicle,
            position="traction",
            installed_at=cast.LONG_AGO,
        )
        for number in range(beside)
    )
    Connector.objects.exclude(pk=first.pk).filter(pk__lt=cast.fixed_id(1_000)).update(batch="x")
    states.write_fleet(TenantTelemetry(slug))
    return [BENS, *(str(cast.fixed_id(1_000 + number)) for number in range(beside))]


def know(
    slug: str, connectors: list[str], *, ahead: float, at: datetime = NOW, **first: Any
) -> None:
    """What detection writes of each: all have aged alike, but for the first."""
    chance = np.random.default_rng(3)
    growth = [ahead, *(0.03 + chance.normal(0, 0.01, len(connectors) - 1))]
    TenantTelemetry(slug).update_states(
        [
            {
                "connector": connector,
                "change": float(change),
                "change_sd": 0.01,
                "base_since": _ms(at - 200 * DAY),
                "measured_at": _ms(at),
                "arrived_at": _ms(at) + 100,
                "learnt_at": _ms(at) - 1000,
                **(first if connector == connectors[0] else {}),
            }
            for connector, change in zip(connectors, growth, strict=True)
        ]
    )
    the_store().refresh()


def judge(schema: str = "t_kunlun") -> None:
    ageing.tenant_ageing(schema=schema)


def found() -> list[Alarm]:
    return list(Alarm.objects.filter(condition="ageing_outlier"))


def rule(anna: User, **content: Any) -> Any:
    said = Content(**{"name": "Of ours", **content})
    return operations.make_rule(user=anna, detector="ageing_outlier", content=said, now=NOW)


def test_one_that_ages_faster_is_seen_and_its_end_too(in_kunlun: Tenant) -> None:
    connectors = fleet("kunlun")
    know("kunlun", connectors, ahead=0.45)
    judge()

    (alarm,) = found()
    assert (str(alarm.connector_id), alarm.severity, alarm.state) == (BENS, "notice", "open")
    assert (alarm.evidence["batch_fellows"], alarm.evidence["place"]) == (20, 1)
    assert alarm.evidence["growth_pct"] == 45.0
    assert alarm.evidence.keys() <= EVIDENCE_WORDS.keys()
    assert Outbox.objects.filter(consumer=Consumer.NOTIFY, event__alarm=alarm).count() == 1

    judge()  # the same again
    know("kunlun", connectors, ahead=0.47, at=NOW + timedelta(minutes=5))
    judge()
    assert AlarmEvent.objects.filter(alarm=alarm).count() == 1
    assert found()[0].evidence["growth_pct"] == 47.0

    know("kunlun", connectors, ahead=0.04, at=NOW + timedelta(minutes=10))
    judge()
    (over,) = found()
    assert (over.pk, over.state) == (alarm.pk, "cleared")


def test_who_was_parked_has_not_aged_since(in_kunlun: Tenant) -> None:
    """Its last load was long ago: what it had grown by then is compared with its like of then."""
    connectors = fleet("kunlun")
    know("kunlun", connectors, ahead=0.2, learnt_at=_ms(NOW - 190 * DAY))
    judge()
    (alarm,) = found()
    assert alarm.evidence["known_for_s"] == 10 * 86_400
    assert alarm.evidence["expected_growth_pct"] < 0.5


def test_its_page_says_how_far_ahead_of_whom_it_is(kunlun: Tenant, ben: User, clara: User) -> None:
    with schema_context("t_kunlun"):
        know("kunlun", fleet("kunlun"), ahead=0.45)
        judge()
        (alarm,) = found()
    page = browser(ben, kunlun).get(f"/alarms/{alarm.pk}/").text
    assert "Ages faster than its batch" in page
    assert "Others of its batch" in page
    check_clean(page)
    assert browser(clara, kunlun).get(f"/alarms/{alarm.pk}/").status_code == 404


def test_too_few_of_a_batch_say_nothing(in_kunlun: Tenant) -> None:
    know("kunlun", fleet("kunlun", beside=8), ahead=0.45)
    judge()
    assert found() == []


def test_retired_connectors_and_unknown_changes_are_no_fellows(in_kunlun: Tenant) -> None:
    connectors = fleet("kunlun", beside=14)
    know("kunlun", connectors, ahead=0.45)
    for gone in connectors[1:3]:
        TenantTelemetry("kunlun").update_states([{"connector": gone, "service": "retired"}])
    TenantTelemetry("kunlun").update_states([{"connector": connectors[3], "change": None}])
    the_store().refresh()
    judge()
    assert found() == []


def test_tenants_are_compared_apart(kunlun: Tenant, aurora: Tenant) -> None:
    """Equal keys; Aurora's one of the batch has aged, and Kunlun's has not."""
    for slug, ahead in (("kunlun", 0.03), ("aurora", 0.45)):
        with schema_context(f"t_{slug}"):
            know(slug, fleet(slug), ahead=ahead)
    judge("t_kunlun")
    for schema, number in (("t_kunlun", 0), ("t_aurora", 0)):
        with schema_context(schema):
            assert len(found()) == number
    judge("t_aurora")
    for schema, number in (("t_kunlun", 0), ("t_aurora", 1)):
        with schema_context(schema):
            assert len(found()) == number
    assert len([each for page in TenantTelemetry("kunlun").aged() for each in page]) == 21


def test_rules_say_how_bad_it_is_and_shadows_tell_nobody(in_kunlun: Tenant, anna: User) -> None:
    connectors = fleet("kunlun")
    worse = rule(anna, severities={"notice": "warning"}, parameters={"deviations": 8.0})
    shadow = rule(anna, name="Sooner", mode=Mode.SHADOW.value, parameters={"deviations": 2.0})
    know("kunlun", connectors, ahead=0.45)
    judge()
    (alarm,) = found()
    assert (alarm.severity, alarm.rule_id, alarm.rule_version) == ("warning", worse.pk, 1)
    seen = ShadowAlarm.objects.filter(rule=shadow)
    assert UUID(BENS) in {row.connector_id for row in seen}
    assert not AlarmEvent.objects.filter(rule=shadow).exists()


def test_a_rule_that_switches_it_off_is_kept_to(in_kunlun: Tenant, anna: User) -> None:
    connectors = fleet("kunlun")
    rule(anna, mode=Mode.OFF.value, selection={"connector": [BENS]})
    know("kunlun", connectors, ahead=0.45)
    judge()
    assert found() == []


def test_it_waits_while_the_store_is_away(
    in_kunlun: Tenant, monkeypatch: pytest.MonkeyPatch
) -> None:

    away = TelemetryStore(client=cluster.client_of("http://127.0.0.1:9"))
    monkeypatch.setattr("apps.telemetry.tenant.the_store", lambda: away)
    judge()
    assert found() == []
