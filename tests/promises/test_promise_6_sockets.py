"""Promise 6 at the websocket: who guesses hosts, sessions, groups and ids hears nothing.

Both tenants hold rows with equal keys, so every guess of Otto's is a right one.
"""

import json
from collections.abc import Iterator
from datetime import UTC, datetime

import pytest
from asgiref.sync import async_to_sync
from channels.layers import get_channel_layer
from django_tenants.utils import tenant_context
from websockets.exceptions import InvalidStatus

from apps.accounts.models import User
from apps.alarms import operations
from apps.live import consumer
from apps.telemetry.store import the_store
from apps.tenants.models import Tenant
from tests import cast
from tests.browser import Page, page, session_of, web_server
from tests.findings import CRITICAL, finding

pytestmark = pytest.mark.django_db(transaction=True)
BOTH = [str(cast.BENS_CONNECTOR), str(cast.CLARAS_CONNECTOR), str(cast.BENS_SECOND_CONNECTOR)]


@pytest.fixture(scope="module")
def _web_server(django_db_setup: None) -> Iterator[int]:
    with web_server() as port:
        yield port


@pytest.fixture
def web(_web_server: int, transactional_db: None, monkeypatch: pytest.MonkeyPatch) -> int:
    monkeypatch.setattr(consumer, "CHECKED_EVERY_S", 0.5)
    return _web_server


def happens(tenant: Tenant, **more: object) -> None:
    now = datetime.now(UTC)
    with tenant_context(tenant):
        said = finding(CRITICAL, at=now, **more)  # type: ignore[arg-type]
        operations.apply_findings([said], judged_at=now)


def reports(tenant: Tenant, temperature_c: float) -> None:
    now_ms = round(datetime.now(UTC).timestamp() * 1000)
    the_store().update_states(
        [
            {
                "tenant": tenant.slug,
                "connector": connector,
                "last": {"temperature_pos_c": temperature_c},
                "measured_at": now_ms,
                "arrived_at": now_ms,
                "judged_at": now_ms,
            }
            for connector in BOTH
        ]
    )


def heard(page: Page, seconds: float) -> list[dict[str, object]]:
    """All that comes in this time, without the standing word of the newest number."""
    page.heard.clear()
    with pytest.raises(AssertionError):
        page.hear(lambda _: False, within_s=seconds)
    return [message for message in page.heard if message["type"] != "latest"]


def test_a_session_of_one_tenant_opens_nothing_at_another(
    web: int, kunlun: Tenant, aurora: Tenant, otto: User, ben: User
) -> None:
    with tenant_context(aurora):
        auroras_ben = User.objects.get(pk=ben.pk)  # the same key, the same name
    for tenant, user, host in [
        (aurora, otto, "kunlun.localhost"),
        (aurora, auroras_ben, "kunlun.localhost"),
        (kunlun, ben, "aurora.localhost"),
    ]:
        session = session_of(tenant, user)
        with pytest.raises(InvalidStatus), page(web, host=host, session=session):
            pass


def test_a_page_of_one_tenant_opens_no_socket_at_another(
    web: int, kunlun: Tenant, ben: User
) -> None:
    with (
        pytest.raises(InvalidStatus),
        page(web, session=session_of(kunlun, ben), origin=f"http://aurora.localhost:{web}"),
    ):
        pass


@pytest.mark.usefixtures("elasticsearch")
def test_otto_with_right_guesses_hears_nothing_of_kunlun(
    web: int, kunlun: Tenant, aurora: Tenant, otto: User
) -> None:
    host, session = "aurora.localhost", session_of(aurora, otto)
    with page(web, host=host, session=session) as ottos:
        assert ottos.hear_type("hello")["number"] == 0
        for guess in (
            {"watch": BOTH},
            {"group": "t.t_kunlun.alarms.staff", "tenant": "kunlun", "schema": "t_kunlun"},
            {"type": "alarm.events", "hints": []},
            {"after": 0},
        ):
            ottos.say(guess)
        reports(kunlun, 99.0)
        happens(kunlun)
        happens(kunlun, connector=cast.CLARAS_CONNECTOR)
        ottos.say({"after": 0})
        assert all(
            "99" not in json.dumps(message.get("values", {})) and message["type"] == "state"
            for message in heard(ottos, 2.5)
        )
        happens(aurora)  # his own still comes, with Aurora's texts
        alarm = ottos.hear_type("alarm")
        assert (alarm["number"], alarm["vehicle"]) == (1, f"{cast.CANARY}vehicle-1")


@pytest.mark.usefixtures("elasticsearch")
def test_kunluns_people_hear_no_canary(
    web: int, kunlun: Tenant, aurora: Tenant, anna: User, ben: User
) -> None:
    with (
        page(web, session=session_of(kunlun, anna)) as annas,
        page(web, session=session_of(kunlun, ben)) as bens,
    ):
        for each in (annas, bens):
            each.say({"watch": BOTH})
            each.say({"after": 0})
        reports(aurora, 77.0)
        for connector in (cast.BENS_CONNECTOR, cast.CLARAS_CONNECTOR):
            happens(aurora, connector=connector)
        for each in (annas, bens):
            assert cast.CANARY not in json.dumps(heard(each, 2))
            assert not [message for message in each.heard if message["type"] == "alarm"]
            assert "77.0" not in json.dumps(each.heard)


@pytest.mark.usefixtures("elasticsearch")
def test_clara_hears_nothing_of_bens(web: int, kunlun: Tenant, ben: User, clara: User) -> None:
    with (
        page(web, session=session_of(kunlun, clara)) as claras,
        page(web, session=session_of(kunlun, ben)) as bens,
    ):
        claras.hear_type("hello")
        bens.hear_type("hello")
        claras.say({"watch": BOTH})
        claras.say({"group": f"t.t_kunlun.alarms.{cast.HARBOUR}"})
        reports(kunlun, 88.0)
        happens(kunlun)
        assert bens.hear_type("alarm")["number"] == 1
        claras.say({"after": 0})
        came = heard(claras, 2)
        assert {message["connector"] for message in came} <= {str(cast.CLARAS_CONNECTOR)}
        assert {message["type"] for message in came} <= {"state"}
        assert {message["number"] for message in claras.heard if message["type"] == "latest"} <= {0}


def test_a_broadcast_stays_in_its_group(
    web: int, kunlun: Tenant, aurora: Tenant, anna: User, otto: User
) -> None:
    layer = get_channel_layer()
    with (
        page(web, session=session_of(kunlun, anna)) as annas,
        page(web, host="aurora.localhost", session=session_of(aurora, otto)) as ottos,
    ):
        annas.hear_type("hello")
        ottos.hear_type("hello")
        word = {"type": "alarm.latest", "number": 4711}
        for _ in range(200):
            async_to_sync(layer.group_send)("t.t_kunlun.alarms.staff", word)
        assert annas.hear(lambda message: message.get("number") == 4711)
        heard(ottos, 1)
        assert not [message for message in ottos.heard if message.get("number") == 4711]
