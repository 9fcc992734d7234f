"""The analysis page and a connector's like, on readings of two manufacturers."""

from datetime import UTC, datetime, timedelta

import pytest
from django.core.management import call_command

from apps.accounts.models import User
from apps.telemetry.store import TelemetryStore
from apps.tenants.models import Tenant
from tests import cast, stores
from tests.integration.telemetry.conftest import reading_lines
from tests.pages import World, browser, check_clean

NOW_MS = int(datetime.now(UTC).timestamp() * 1000)
STEP_MS = 60_000
HEAT = {cast.BENS_CONNECTOR: (61.0, "2026-03"), cast.CLARAS_CONNECTOR: (44.0, "2026-04")}


@pytest.fixture(scope="module")
def readings(elasticsearch: str) -> None:
    """Two hours of Ben's hot connector and of Clara's cool one; Aurora's is hotter than both."""
    stores.delete_indices(templates=False)
    call_command("prepare_stores", verbosity=0)
    store = TelemetryStore()
    times = range(NOW_MS - 120 * STEP_MS, NOW_MS, STEP_MS)
    for tenant in ("kunlun", "aurora"):
        for connector, (celsius, batch) in HEAT.items():
            rows = [
                (at, {"temperature_pos_c": celsius if tenant == "kunlun" else 111.0,
                      "current_a": 180.0, "ambient_c": 21.0, "insulation_kohm": celsius * 100})
                for at in times
            ]  # fmt: skip
            of = {
                "model": "HV-250",
                "batch": batch,
                "position": "traction",
                "organisation": str(cast.HARBOUR),
            }
            store.bulk(reading_lines(store, tenant, rows, connector=str(connector), **of))
            store.update_states(
                [{"tenant": tenant, "connector": str(connector), "model": "HV-250",
                  "batch": batch, "installed_at": datetime.now(UTC) - timedelta(days=400)}]
            )  # fmt: skip
    store.refresh()


def test_it_compares_groups_and_says_who_leads(
    readings: None, world: World, kunlun: Tenant, anna: User
) -> None:
    page = browser(anna, kunlun).get("/portal/analysis/?span=1d&by=batch")

    check_clean(page.text)
    groups = page.context["groups"]
    assert [(each.name, each.row.count) for each in groups] == [("2026-03", 120), ("2026-04", 120)]
    assert [value for _, value in groups[0].percentiles] == pytest.approx([61, 61, 61], abs=3)
    leading = page.context["ranked"]["connector"]
    assert [each.what.pk for each in leading] == [cast.BENS_CONNECTOR, cast.CLARAS_CONNECTOR]
    assert f"/connectors/{cast.BENS_CONNECTOR}/" in page.text
    assert len(page.context["courses"].curves) == 3
    assert page.context["heat"].cells
    assert "111" not in page.text


@pytest.mark.parametrize("by", ["model", "organisation", "position", "age"])
@pytest.mark.parametrize("span", ["1d", "7d", "30d", "90d"])
def test_every_choice_has_an_answer(
    by: str, span: str, readings: None, world: World, kunlun: Tenant, anna: User
) -> None:
    page = browser(anna, kunlun).get(f"/portal/analysis/?span={span}&by={by}&quantity=ambient_c")
    assert sum(each.row.count for each in page.context["groups"]) == 240


def test_of_insulation_the_lowest_lead(
    readings: None, world: World, kunlun: Tenant, anna: User
) -> None:
    page = browser(anna, kunlun).get("/portal/analysis/?quantity=insulation_kohm&span=1d")
    assert page.context["ranked"]["connector"][0].what.pk == cast.CLARAS_CONNECTOR
    assert "5 % lie below" in page.text
    assert "95 % lie below" not in page.text


@pytest.mark.parametrize(
    "query", ["quantity=interlock&span=3s&by=tenant", "model=x&organisation='", "quantity=serial"]
)
def test_what_it_does_not_know_is_as_if_nothing_was_said(
    query: str, readings: None, world: World, kunlun: Tenant, anna: User
) -> None:
    page = browser(anna, kunlun).get(f"/portal/analysis/?{query}")
    assert page.status_code == 200
    assert page.context["asked"].quantity == "temperature_pos_c"


def test_without_readings_it_says_what_to_do(
    readings: None, world: World, kunlun: Tenant, anna: User
) -> None:
    page = browser(anna, kunlun).get("/portal/analysis/?quantity=vibration_g")
    assert "No readings fit" in page.text


def test_a_connector_has_its_like(readings: None, world: World, kunlun: Tenant, anna: User) -> None:
    page = browser(anna, kunlun).get(f"/portal/connectors/{cast.BENS_CONNECTOR}/alike/")
    assert f"/connectors/{cast.CLARAS_CONNECTOR}/" in page.text
    assert "180.0" in page.text
    check_clean(page.text)
