"""The analysis page and a connector's like, on readings of two manufacturers."""

from datetime import UTC, datetime, timedelta

import pytest
from django.core.management import call_command

from apps.accounts.models import User
from apps.telemetry import questions
from apps.telemetry.errors import StoreSlow, StoreUnavailable
from apps.telemetry.store import TelemetryStore
from apps.telemetry.tenant import TenantTelemetry
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
                  "batch": batch, "installed_at": datetime.now(UTC) - timedelta(days=400),
                  "vehicle": str(cast.BENS_VEHICLE), "position": "traction",
                  "organisation": str(cast.HARBOUR), "service": "in_service",
                  "margin_k": 100 - celsius, "measured_at": NOW_MS,
                  "last": {"temperature_pos_c": celsius + (50 if tenant == "aurora" else 0),
                           "ambient_c": 21.0}}]
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


# --- alarms -----------------------------------------------------------------------------------

OPENED = [
    ("2026-03", "HV-250", cast.HARBOUR, 0),
    ("2026-03", "HV-250", cast.HARBOUR, 0),
    ("2026-04", "HV-250", cast.CITY, 0),
    ("2026-05", "HV-400", cast.HARBOUR, 0),
    ("2025-01", "HV-250", cast.HARBOUR, 250),
]
"""Of each alarm its connector's batch, model and organisation, and how many days ago."""


@pytest.fixture(scope="module")
def opened(readings: None) -> None:
    store = TelemetryStore()
    for tenant, suffix in (("kunlun", ""), ("aurora", cast.CANARY)):
        store.index_events([
            {"tenant": tenant, "event": f"opened-{n}", "number": n, "alarm": f"a-{n}",
             "kind": "opened", "connector": f"c-{n}", "batch": batch + suffix, "model": model,
             "organisation": str(of), "judged_at": NOW_MS - days * 86_400_000}
            for n, (batch, model, of, days) in enumerate(OPENED)
        ])  # fmt: skip
    store.refresh()


@pytest.mark.parametrize(
    ("query", "counts"),
    [
        ("", {"2026-03": (2, 2), "2026-04": (1, 1), "2026-05": (1, 1)}),
        ("&model=HV-250", {"2026-03": (2, 2), "2026-04": (1, 1)}),
        (f"&organisation={cast.HARBOUR}", {"2026-03": (2, 2), "2026-05": (1, 1)}),
    ],
)
def test_alarms_are_counted_by_batch_and_month_of_what_was_chosen(
    query: str, counts: dict[str, tuple[int, int]],
    opened: None, world: World, kunlun: Tenant, anna: User,
) -> None:  # fmt: skip
    page = browser(anna, kunlun).get(f"/portal/analysis/?span=1d{query}")

    check_clean(page.text)
    alarms = page.context["alarms"]
    assert (len(alarms.months), alarms.months[-1]) == (6, f"{datetime.now(UTC):%Y-%m}")
    assert dict(alarms.rows) == {
        batch: [(0, 0)] * 5 + [of_this_month] for batch, of_this_month in counts.items()
    }
    assert alarms.rows[0][0] == "2026-03"  # the most first
    assert "Alarms opened, by batch and month" in page.text


def test_too_many_batches_with_alarms_take_no_other_answer_with_them(
    opened: None, world: World, kunlun: Tenant, anna: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(questions, "ALARM_COUNTS_LIMIT", 2)
    page = browser(anna, kunlun).get("/portal/analysis/?span=1d&by=batch")

    check_clean(page.text)
    assert "Alarms of more batches than one answer holds" in page.text
    assert len(page.context["groups"]) == 2
    assert page.context["ranked"]["connector"]
    monkeypatch.setattr(TenantTelemetry, "alarm_counts", _away)
    page = browser(anna, kunlun).get("/portal/analysis/?span=1d&by=batch")
    assert "The alarms can't be counted at the moment" in page.text
    assert len(page.context["groups"]) == 2


def _away(*arguments: object, **more: object) -> None:
    raise StoreUnavailable(status=503)


# --- now --------------------------------------------------------------------------------------


def test_who_leads_now_and_the_connectors_behind_it(
    readings: None, world: World, kunlun: Tenant, anna: User
) -> None:
    annas = browser(anna, kunlun)
    page = annas.get("/portal/analysis/?span=1d&by=batch&model=HV-250")

    check_clean(page.text)
    leaders = page.context["now"].leaders
    assert [(each.name, each.row.maximum) for each in leaders] == [
        ("2026-03", 61.0), ("2026-04", 44.0),
    ]  # fmt: skip
    behind = annas.get(leaders[0].url)
    assert [row.connector.pk for row in behind.context["rows"]] == [cast.BENS_CONNECTOR]


@pytest.mark.parametrize("by", ["model", "batch", "organisation", "vehicle", "position", "age"])
def test_each_dimension_leads_to_its_connectors(
    by: str, readings: None, world: World, kunlun: Tenant, anna: User
) -> None:
    annas = browser(anna, kunlun)
    page = annas.get(f"/portal/analysis/?by={by}&quantity=margin_k&rank=p50")

    check_clean(page.text)
    leaders = page.context["now"].leaders
    behind = [annas.get(each.url) for each in leaders]
    for each, listed in zip(leaders, behind, strict=True):
        check_clean(listed.text)
        assert listed.context["found"].total == each.row.count
    assert sum(each.row.count for each in leaders) == 2
    assert leaders[0].row.minimum == 39.0
    assert "courses" not in page.context  # margins have no past


def test_of_margins_the_least_lead_and_a_column_is_chosen(
    readings: None, world: World, kunlun: Tenant, anna: User
) -> None:
    annas = browser(anna, kunlun)
    by_margin = annas.get("/portal/analysis/?by=batch&quantity=margin_k")
    assert [each.name for each in by_margin.context["now"].leaders] == ["2026-03", "2026-04"]
    coolest = annas.get("/portal/analysis/?by=batch&quantity=ambient_c&rank=count")
    assert {each.row.count for each in coolest.context["now"].leaders} == {1}
    assert 'aria-sort="descending"' in coolest.text


def test_an_age_that_is_none_narrows_nothing(
    readings: None, world: World, kunlun: Tenant, anna: User
) -> None:
    page = browser(anna, kunlun).get("/portal/base/?age=young&vehicle=no-key")
    assert page.context["found"].total == 0  # there is no such vehicle
    assert [str(value) for *_, value in page.context["narrowed"]] == ["no longer there"]


def test_a_store_that_is_slow_says_to_ask_for_less(
    world: World, kunlun: Tenant, anna: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    def slow(*arguments: object, **more: object) -> None:
        raise StoreSlow(limit_s=5.0)

    monkeypatch.setattr(TenantTelemetry, "top_now", slow)
    page = browser(anna, kunlun).get("/portal/analysis/")
    assert "took too long" in page.text
