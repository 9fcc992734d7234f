"""The socket of a page: who may open it, what it hears, and when it ends."""

import json
from collections.abc import Callable
from datetime import UTC, datetime

import pytest
from django_tenants.utils import tenant_context
from websockets.exceptions import InvalidStatus

from apps.accounts.models import User
from apps.alarms import operations
from apps.alarms.models import AlarmEvent, Outbox
from apps.live import consumer, relay, watching
from apps.telemetry.store import the_store
from apps.tenants.models import Tenant
from tests import cast
from tests.browser import Page, page, session_of
from tests.findings import NOTICE, WARNING, finding

NOW = datetime.now(UTC)


def happens(tenant: Tenant, severity: object, **more: object) -> None:
    with tenant_context(tenant):
        said = finding(severity, at=datetime.now(UTC), **more)  # type: ignore[arg-type]
        operations.apply_findings([said], judged_at=datetime.now(UTC))


def test_ben_sees_his_alarm_as_it_happens(web: int, kunlun: Tenant, ben: User) -> None:
    with page(web, session=session_of(kunlun, ben)) as bens:
        assert bens.hear_type("hello") == {"type": "hello", "number": 0}
        happens(kunlun, WARNING)
        alarm = bens.hear_type("alarm")
    assert (alarm["number"], alarm["previous"]) == (1, 0)
    assert (alarm["kind"], alarm["severity"]) == ("opened", "warning")
    assert alarm["title"] == "Contact too hot: Taxi 1"
    assert alarm["connector"] == str(cast.BENS_CONNECTOR)
    assert alarm["measured_at"] <= alarm["arrived_at"]
    with tenant_context(kunlun):
        assert not Outbox.objects.filter(consumer="live").exclude(state="done").exists()


def test_staff_hear_all_and_others_their_own_without_a_hole(
    web: int, kunlun: Tenant, anna: User, ben: User, clara: User
) -> None:
    with (
        page(web, session=session_of(kunlun, anna)) as annas,
        page(web, session=session_of(kunlun, ben)) as bens,
        page(web, session=session_of(kunlun, clara)) as claras,
    ):
        for each in (annas, bens, claras):
            each.hear_type("hello")
        happens(kunlun, NOTICE)
        happens(kunlun, WARNING, connector=cast.CLARAS_CONNECTOR)
        happens(kunlun, WARNING)
        assert _numbers(annas, 3) == [(1, 0), (2, 1), (3, 2)]
        assert _numbers(bens, 2) == [(1, 0), (3, 1)]
        assert _numbers(claras, 1) == [(2, 0)]
        claras.hears_nothing_for(0.5)


def _numbers(page: Page, count: int) -> list[tuple[int, int]]:
    alarms = [page.hear_type("alarm") for _ in range(count)]
    return [(alarm["number"], alarm["previous"]) for alarm in alarms]


def test_the_words_are_in_the_viewers_language(
    web: int, kunlun: Tenant, ben: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    with tenant_context(kunlun):
        User.objects.filter(pk=ben.pk).update(language="zh-hans")
    with page(web, session=session_of(kunlun, ben)) as bens:
        bens.hear_type("hello")
        happens(kunlun, WARNING)
        assert "Taxi 1" in bens.hear_type("alarm")["title"]


def test_a_socket_that_missed_something_asks_for_it(
    web: int, kunlun: Tenant, ben: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(relay, "push", lambda *_: None)  # the layer drops, and says nothing
    with page(web, session=session_of(kunlun, ben)) as bens:
        bens.hear_type("hello")
        happens(kunlun, NOTICE)
        happens(kunlun, WARNING)
        bens.say({"after": 0})
        assert _numbers(bens, 2) == [(1, 0), (2, 1)]
        bens.say({"after": 1})
        assert _numbers(bens, 1) == [(2, 1)]


def test_who_is_behind_learns_it_without_asking(
    web: int, kunlun: Tenant, ben: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(consumer, "CHECKED_EVERY_S", 0.4)
    monkeypatch.setattr(relay, "push", lambda *_: None)
    with page(web, session=session_of(kunlun, ben)) as bens:
        bens.hear_type("hello")
        happens(kunlun, NOTICE)
        bens.hear(lambda message: message == {"type": "latest", "number": 1})


def test_a_storm_is_one_word(web: int, kunlun: Tenant, ben: User) -> None:
    with page(web, session=session_of(kunlun, ben)) as bens:
        bens.hear_type("hello")
        with tenant_context(kunlun):
            now = datetime.now(UTC)
            said = [finding(WARNING, at=now, condition=f"plugin_{n}") for n in range(200)]
            operations.apply_findings(said, judged_at=now)
        assert bens.hear_type("latest")["number"] == 200
        bens.hears_nothing_for(0.5)


def test_a_layer_that_is_away_loses_nothing(
    web: int, kunlun: Tenant, ben: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(*_: object) -> None:
        raise OSError("Redis is away")

    with page(web, session=session_of(kunlun, ben)) as bens:
        bens.hear_type("hello")
        with monkeypatch.context() as patch:
            patch.setattr(relay, "push", away)
            happens(kunlun, WARNING)
        assert relay.catch_up(schema="t_kunlun", now=datetime.now(UTC)) == 1
        assert bens.hear_type("alarm")["number"] == 1
    assert relay.catch_up(schema="t_kunlun", now=datetime.now(UTC)) == 0


# --- states -------------------------------------------------------------------------------------


def reports(tenant: Tenant, connector: object, temperature_c: float) -> None:
    now_ms = round(datetime.now(UTC).timestamp() * 1000)
    the_store().update_states(
        [
            {
                "tenant": tenant.slug,
                "connector": str(connector),
                "last": {"temperature_pos_c": temperature_c},
                "measured_at": now_ms,
                "arrived_at": now_ms,
                "judged_at": now_ms,
            }
        ]
    )


@pytest.mark.usefixtures("empty_elasticsearch")
def test_a_watched_connector_is_live_and_no_other(web: int, kunlun: Tenant, ben: User) -> None:
    reports(kunlun, cast.BENS_CONNECTOR, 60.5)
    reports(kunlun, cast.BENS_SECOND_CONNECTOR, 20.0)
    with page(web, session=session_of(kunlun, ben)) as bens:
        bens.say({"watch": [str(cast.BENS_CONNECTOR)]})
        state = bens.hear_type("state")
        assert state["connector"] == str(cast.BENS_CONNECTOR)
        assert state["values"] == {"temperature_pos_c": 60.5}
        reports(kunlun, cast.BENS_CONNECTOR, 61.5)
        assert bens.hear_type("state")["values"] == {"temperature_pos_c": 61.5}
        bens.hears_nothing_for(1.5)  # nothing new, nothing said
        bens.say({"watch": []})
        reports(kunlun, cast.BENS_CONNECTOR, 62.5)
        bens.hears_nothing_for(1.5)


@pytest.mark.usefixtures("elasticsearch")
def test_one_question_for_all_sockets_of_a_tenant(
    web: int, kunlun: Tenant, ben: User, anna: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    from apps.telemetry.tenant import TenantTelemetry

    asked: list[list[str]] = []
    latest = TenantTelemetry.latest

    def counted(self: TenantTelemetry, connectors: list[str]) -> object:
        asked.append(list(connectors))
        return latest(self, connectors)

    monkeypatch.setattr(TenantTelemetry, "latest", counted)
    reports(kunlun, cast.BENS_CONNECTOR, 60.5)
    watch = {"watch": [str(cast.BENS_CONNECTOR)]}
    with (
        page(web, session=session_of(kunlun, ben)) as bens,
        page(web, session=session_of(kunlun, anna)) as annas,
    ):
        bens.say(watch)
        annas.say(watch)
        bens.hear_type("state")
        annas.hear_type("state")
        begun = len(asked)
        bens.hears_nothing_for(2)
        during = len(asked) - begun
    assert during <= 2 / watching.EVERY_S + 2, "as many as for one socket"
    assert all(keys == [str(cast.BENS_CONNECTOR)] for keys in asked)


# --- who may --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "changes",
    [
        {"host": "nobody.localhost"},
        {"host": "localhost"},
        {"host": "127.0.0.1"},
        {"host": "x.kunlun.localhost"},
        {"origin": "http://aurora.localhost"},
        {"origin": "https://evil.example"},
        {"origin": ""},
        {"path": "/ws/other/"},
        {"path": "/"},
        {"session": ""},
        {"session": "x" * 32},
    ],
)
def test_refused_before_it_is_accepted(
    web: int, kunlun: Tenant, ben: User, changes: dict[str, str]
) -> None:
    mine = {"session": session_of(kunlun, ben), **changes}
    with pytest.raises(InvalidStatus) as refused, page(web, **mine):  # type: ignore[arg-type]
        pass
    assert refused.value.response.status_code == 403


@pytest.mark.parametrize("spelling", ["KUNLUN.localhost", "Kunlun.LocalHost"])
def test_a_host_in_capitals_is_the_same_host(
    web: int, kunlun: Tenant, ben: User, spelling: str
) -> None:
    with page(web, host=spelling, session=session_of(kunlun, ben)) as bens:
        bens.hear_type("hello")


def disable(tenant: Tenant, user: User) -> None:
    User.objects.filter(pk=user.pk).update(is_active=False)


def demote(tenant: Tenant, user: User) -> None:
    User.objects.filter(pk=user.pk).update(role="driver")


def move(tenant: Tenant, user: User) -> None:
    User.objects.filter(pk=user.pk).update(organisation=cast.CITY)


def new_password(tenant: Tenant, user: User) -> None:
    user.set_password("another one entirely")
    user.save()


def sign_out(tenant: Tenant, user: User) -> None:
    from django.contrib.sessions.models import Session

    Session.objects.all().delete()


@pytest.mark.parametrize("change", [disable, demote, move, new_password, sign_out])
def test_the_socket_of_who_may_no_longer_is_closed(
    web: int,
    kunlun: Tenant,
    ben: User,
    monkeypatch: pytest.MonkeyPatch,
    change: Callable[[Tenant, User], None],
) -> None:
    assert consumer.CHECKED_EVERY_S <= 30
    monkeypatch.setattr(consumer, "CHECKED_EVERY_S", 0.4)
    with page(web, session=session_of(kunlun, ben)) as bens:
        bens.hear_type("latest")
        with tenant_context(kunlun):
            change(kunlun, ben)
        bens.is_closed_with(4401)


@pytest.mark.usefixtures("elasticsearch")
def test_a_vehicle_that_is_sold_is_no_longer_live(
    web: int, kunlun: Tenant, ben: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    from apps.fleet.models import Vehicle

    monkeypatch.setattr(consumer, "CHECKED_EVERY_S", 0.4)
    reports(kunlun, cast.BENS_CONNECTOR, 60.5)
    with page(web, session=session_of(kunlun, ben)) as bens:
        bens.say({"watch": [str(cast.BENS_CONNECTOR)]})
        bens.hear_type("state")
        with tenant_context(kunlun):
            Vehicle.objects.filter(pk=cast.BENS_VEHICLE).update(organisation=cast.CITY)
        bens.hear_type("latest")
        bens.hear_type("latest")
        reports(kunlun, cast.BENS_CONNECTOR, 70.5)
        bens.hears_nothing_for(2)


@pytest.mark.parametrize(
    "nonsense",
    ["", "x", "[]", "1", '{"watch": "all"}', '{"watch": ["*"]}', '{"after": "x"}', '{"watch": 1}'],
)
def test_nonsense_ends_the_socket(web: int, kunlun: Tenant, ben: User, nonsense: str) -> None:
    with page(web, session=session_of(kunlun, ben)) as bens:
        bens.hear_type("hello")
        bens.socket.send(nonsense)
        bens.is_closed_with(4400)


def test_who_asks_too_much_is_closed(web: int, kunlun: Tenant, ben: User) -> None:
    with page(web, session=session_of(kunlun, ben)) as bens:
        bens.hear_type("hello")
        for _ in range(consumer.ASKED_AT_ONCE + 1):
            bens.say({})
        bens.is_closed_with(4429)


def test_more_than_64_kib_is_not_read(web: int, kunlun: Tenant, ben: User) -> None:
    with page(web, session=session_of(kunlun, ben)) as bens:
        bens.hear_type("hello")
        bens.socket.send(json.dumps({"watch": ["x" * 70_000]}))
        bens.is_closed_with(1009)


def test_events_over_http(web: int, kunlun: Tenant, ben: User, clara: User) -> None:
    import httpx
    from django.conf import settings

    happens(kunlun, NOTICE)
    happens(kunlun, WARNING, connector=cast.CLARAS_CONNECTOR)
    happens(kunlun, WARNING)

    def get(user: User | None, after: str) -> httpx.Response:
        cookies = {settings.SESSION_COOKIE_NAME: session_of(kunlun, user)} if user else {}
        return httpx.get(
            f"http://127.0.0.1:{web}/live/events.json",
            params={"after": after},
            headers={"Host": f"kunlun.localhost:{web}"},
            cookies=cookies,
        )

    bens = get(ben, "0").json()
    assert [(each["number"], each["previous"]) for each in bens["events"]] == [(1, 0), (3, 1)]
    assert (bens["latest"], bens["more"]) == (3, False)
    assert get(ben, "3").json() == {"events": [], "latest": 3, "more": False}
    assert [each["number"] for each in get(clara, "0").json()["events"]] == [2]
    assert get(None, "0").status_code == 302
    for nonsense in ("-1", "x", "9" * 30, "1e3"):
        assert get(ben, nonsense).status_code == 400
    with tenant_context(kunlun):
        assert AlarmEvent.objects.count() == 3
