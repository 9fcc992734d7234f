"""Every route with who may pass it. A route without a row here fails, and so does a row too many.

Each person asks for what is Ben's (his vehicle, connector, alarm). Clara is an outsider to it, Otto
holds a session of another tenant: both must get what a missing thing gets.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
from django.db import transaction
from django.http import HttpResponse
from django.test import Client
from django.urls import URLPattern, URLResolver, get_resolver
from django_tenants.utils import tenant_context

from apps.accounts.models import User
from apps.alarms.models import Alarm
from apps.alarms.operations import apply_findings
from apps.api.models import Scope
from apps.api.operations import create_key
from apps.quarantine.models import Replay
from apps.quarantine.operations import request_replay
from apps.telemetry.documents import PLATFORM
from apps.telemetry.parsing import quarantine_lines
from apps.telemetry.questions import RefusedFilter
from apps.telemetry.store import the_store
from apps.tenants.models import Tenant
from apps.warning import backtests
from apps.warning.models import BackTest, Rule
from apps.warning.operations import Content, make_rule
from tests import cast
from tests.clock import Clock
from tests.contacts import contact
from tests.findings import CRITICAL, finding

SERVED, SIGN_IN, REFUSED, NOTHING = "served", "sign in", "refused", "nothing"
STAFF = ("anna", "ada", "sam", "rita")
CUSTOMERS = ("ben", "dora", "clara")
STRANGERS = ("nobody", "otto")


@dataclass(frozen=True)
class Door:
    """Who is served; the others are refused (staff), find nothing (customers) or sign in."""

    served: frozenset[str]
    refused: str = REFUSED
    strangers: str = SIGN_IN

    def expected(self, who: str) -> str:
        if who in self.served:
            return SERVED
        if who in STRANGERS:
            return self.strangers
        return self.refused if who in STAFF else NOTHING


EVERYBODY = Door(frozenset({*STAFF, *CUSTOMERS, *STRANGERS}))
SIGNED_IN = Door(frozenset({*STAFF, *CUSTOMERS}))
BENS = Door(frozenset({*STAFF, "ben", "dora"}))
BENS_TO_ACKNOWLEDGE = Door(frozenset({"anna", "ada", "sam", "ben", "dora"}))
BENS_TO_INSPECT = Door(frozenset({"anna", "ada", "sam", "ben"}))
BENS_TO_TELL = Door(frozenset({"ada", "ben", "dora"}))
ALL_STAFF = Door(frozenset(STAFF))
FLEET_EDITORS = Door(frozenset({"anna", "ada", "sam"}))
ENGINEERS = Door(frozenset({"anna", "ada"}))
ADMINISTRATORS = Door(frozenset({"ada"}))
WITH_A_OWN_ACCOUNT = Door(frozenset(), refused=NOTHING)
"""Nobody of the cast has one, so there is nothing to take away or to show."""


@dataclass(frozen=True)
class Row:
    """A route as the resolver spells it, with the door it should have."""

    route: str
    door: Door
    pk: Any = None
    method: str = "GET"
    query: dict[str, str] = field(default_factory=dict)
    form: str = ""

    def __str__(self) -> str:
        return f"{self.method} {self.route or '/'}"


ALARM, MESSAGE, REPLAY = "the alarm", "the message", "the replay"
RULE, TEST = "the rule", "the back-test"
CONTACT, KEY = "the contact", "the key"
VEHICLE, CONNECTOR, MODEL, DEVICE = (
    cast.BENS_VEHICLE,
    cast.BENS_CONNECTOR,
    cast.MODEL,
    cast.BENS_DEVICE,
)
RANGE = {"quantities": "current_a", "quantity": "current_a"}

OWN_ACCOUNT = {
    "account/sessions/": SIGNED_IN,
    "account/two-factor/": SIGNED_IN,
    "account/two-factor/authenticate/": SIGNED_IN,
    "account/two-factor/reauthenticate/": SIGNED_IN,
    "account/two-factor/totp/activate/": SIGNED_IN,
    "account/two-factor/totp/deactivate/": WITH_A_OWN_ACCOUNT,
    "account/two-factor/recovery-codes/": WITH_A_OWN_ACCOUNT,
    "account/two-factor/recovery-codes/generate/": SIGNED_IN,
    "account/two-factor/recovery-codes/download/": WITH_A_OWN_ACCOUNT,
}
TENANT_ROUTES = [
    Row("account/login/", EVERYBODY),
    Row("account/logout/", EVERYBODY),
    Row("account/password/", SIGNED_IN),
    Row("account/reauthenticate/", SIGNED_IN),
    *[Row(route, door) for route, door in OWN_ACCOUNT.items()],
    Row("preferences/", EVERYBODY, method="POST"),
    Row("", SIGNED_IN),
    Row("vehicles/", SIGNED_IN),
    Row("vehicles/<uuid:pk>/", BENS, VEHICLE),
    Row("connectors/<uuid:pk>/", BENS, CONNECTOR),
    Row("series/<uuid:pk>.json", BENS, CONNECTOR, query=RANGE),
    Row("alarms/", SIGNED_IN),
    Row("alarms/count.json", SIGNED_IN),
    Row("alarms/<uuid:pk>/", BENS, ALARM),
    Row("alarms/<uuid:pk>/readings/", BENS, ALARM),
    Row("alarms/<uuid:pk>/acknowledge", BENS_TO_ACKNOWLEDGE, ALARM, "POST"),
    Row("alarms/<uuid:pk>/note", BENS_TO_ACKNOWLEDGE, ALARM, "POST", form="note=seen&text=seen"),
    Row(
        "alarms/<uuid:pk>/inspection",
        BENS_TO_INSPECT,
        ALARM,
        "POST",
        form="outcome=nothing&found_on=2026-11-23",
    ),
    Row("contacts/", SIGNED_IN),
    Row("contacts/add/", SIGNED_IN),
    Row("contacts/<uuid:pk>/", BENS, CONTACT),
    Row("contacts/<uuid:pk>/code", BENS_TO_TELL, CONTACT, "POST"),
    Row("contacts/<uuid:pk>/verify", BENS_TO_TELL, CONTACT, "POST", form="code=1"),
    Row("contacts/<uuid:pk>/test", BENS_TO_TELL, CONTACT, "POST"),
    Row("contacts/<uuid:pk>/remove", BENS_TO_TELL, CONTACT, "POST"),
    Row("live/events.json", SIGNED_IN, query={"after": "0"}),
    Row("portal/", ALL_STAFF),
    Row("portal/account/", ALL_STAFF),
    Row("portal/intake/", ALL_STAFF),
    Row("portal/alarms/", ALL_STAFF),
    Row("portal/base/", ALL_STAFF),
    Row("portal/analysis/", ALL_STAFF),
    Row("portal/connectors/<uuid:pk>/alike/", ALL_STAFF, CONNECTOR),
    Row("portal/models/", ALL_STAFF),
    Row("portal/models/add/", ENGINEERS),
    Row("portal/models/<uuid:pk>/", ALL_STAFF, MODEL),
    Row("portal/models/<uuid:pk>/edit/", ENGINEERS, MODEL),
    Row("portal/organisations/", ALL_STAFF),
    Row("portal/organisations/add/", FLEET_EDITORS),
    Row("portal/organisations/<uuid:pk>/", ALL_STAFF, cast.HARBOUR),
    Row("portal/vehicles/add/", FLEET_EDITORS),
    Row("portal/vehicles/<uuid:pk>/", FLEET_EDITORS, VEHICLE),
    Row("portal/connectors/add/", FLEET_EDITORS),
    Row("portal/connectors/<uuid:pk>/", FLEET_EDITORS, CONNECTOR),
    Row("portal/connectors/<uuid:pk>/retire", FLEET_EDITORS, CONNECTOR, "POST"),
    Row("portal/devices/", ALL_STAFF),
    Row("portal/devices/add/", ENGINEERS),
    Row("portal/devices/<uuid:pk>/", ALL_STAFF, DEVICE),
    Row("portal/devices/<uuid:pk>/password", ENGINEERS, DEVICE, "POST"),
    Row("portal/devices/<uuid:pk>/state", ENGINEERS, DEVICE, "POST"),
    Row("portal/devices/<uuid:pk>/channels", ENGINEERS, DEVICE, "POST"),
    Row("portal/devices/<uuid:pk>/channels/<int:number>/unmap", ENGINEERS, DEVICE, "POST"),
    Row("portal/rules/", ALL_STAFF),
    Row("portal/rules/add/", ENGINEERS),
    Row("portal/rules/export/", ALL_STAFF),
    Row("portal/rules/import/", ENGINEERS),
    Row("portal/rules/<uuid:pk>/", ALL_STAFF, RULE),
    Row("portal/rules/<uuid:pk>/edit/", ENGINEERS, RULE),
    Row("portal/rules/<uuid:pk>/versions/<int:number>/", ALL_STAFF, RULE),
    Row("portal/rules/<uuid:pk>/mode", ENGINEERS, RULE, "POST"),
    Row("portal/rules/<uuid:pk>/take-back", ENGINEERS, RULE, "POST"),
    Row("portal/rules/<uuid:pk>/remove", ENGINEERS, RULE, "POST"),
    Row("portal/backtests/", ALL_STAFF),
    Row("portal/backtests/add/", ENGINEERS),
    Row("portal/backtests/<uuid:pk>/", ALL_STAFF, TEST),
    Row("portal/backtests/<uuid:pk>/cancel", ENGINEERS, TEST, "POST"),
    Row("portal/truth/", ALL_STAFF),
    Row("portal/truth/add/", FLEET_EDITORS),
    Row("portal/users/", ADMINISTRATORS),
    Row("portal/users/add/", ADMINISTRATORS),
    Row("portal/users/<uuid:pk>/", ADMINISTRATORS, cast.RITA),
    Row("portal/users/<uuid:pk>/state", ADMINISTRATORS, cast.RITA, "POST"),
    Row("portal/users/<uuid:pk>/second-factor", ADMINISTRATORS, cast.RITA, "POST"),
    Row("portal/users/<uuid:pk>/password", ADMINISTRATORS, cast.RITA, "POST"),
    Row("portal/keys/", ADMINISTRATORS),
    Row("portal/keys/add/", ADMINISTRATORS),
    Row("portal/keys/<uuid:pk>/revoke", ADMINISTRATORS, KEY, "POST"),
    Row("portal/quarantine/", ALL_STAFF),
    Row("portal/quarantine/download", ALL_STAFF),
    Row("portal/quarantine/replay", ENGINEERS, method="POST"),
    Row("portal/quarantine/replays/<uuid:pk>/", ALL_STAFF, REPLAY),
    Row("portal/quarantine/replays/<uuid:pk>/cancel", ENGINEERS, REPLAY, "POST"),
    Row("portal/quarantine/<str:pk>/", ALL_STAFF, MESSAGE),
    Row("portal/quarantine/<str:pk>/bytes", ALL_STAFF, MESSAGE),
    Row("api/v1/me", SIGNED_IN),
    Row("api/v1/models", SIGNED_IN),
    Row("api/v1/models/<uuid:id>", SIGNED_IN, MODEL),
    Row("api/v1/vehicles", SIGNED_IN),
    Row("api/v1/vehicles/<uuid:id>", BENS, VEHICLE),
    Row("api/v1/connectors", SIGNED_IN),
    Row("api/v1/connectors/<uuid:id>", BENS, CONNECTOR),
    Row("api/v1/connectors/<uuid:id>/state", BENS, CONNECTOR),
    Row("api/v1/connectors/<uuid:id>/readings", BENS, CONNECTOR, query=RANGE),
    Row("api/v1/connectors/<uuid:id>/series", BENS, CONNECTOR, query=RANGE),
    Row("api/v1/statistics", SIGNED_IN),
    Row("api/v1/statistics/now", SIGNED_IN),
    Row("api/v1/alarms", SIGNED_IN),
    Row("api/v1/alarms/<uuid:id>", BENS, ALARM),
    Row("api/v1/alarms/<uuid:id>/readings", BENS, ALARM),
    Row("api/v1/alarms/<uuid:id>/events", BENS, ALARM),
    Row("api/v1/alarms/<uuid:id>/inspections", BENS, ALARM),
    Row("api/v1/rules", SIGNED_IN),
    Row("api/v1/events", SIGNED_IN),
    Row("api/v1/openapi.json", EVERYBODY),
    Row("api/v1/docs", EVERYBODY),
]
PLATFORM_ROUTES = {
    "account/login/": EVERYBODY,
    "account/logout/": EVERYBODY,
    "account/password/": SIGNED_IN,
    "account/reauthenticate/": SIGNED_IN,
    **OWN_ACCOUNT,
    "preferences/": EVERYBODY,
    "": SIGNED_IN,
    "tenants/new/": SIGNED_IN,
    "tenants/<uuid:pk>/sms/": SIGNED_IN,
    "tenants/<uuid:pk>/retry": SIGNED_IN,
    "readiness/": SIGNED_IN,
    "unclaimed/": SIGNED_IN,
    "unclaimed/download": SIGNED_IN,
    "unclaimed/replay": SIGNED_IN,
    "unclaimed/<str:pk>/": SIGNED_IN,
    "unclaimed/<str:pk>/bytes": SIGNED_IN,
}
MACHINE_ROUTES = {"healthz", "readyz", "metrics", "broker/authenticate"}
ALWAYS_NOTHING = {"api/v1/"}
"""Catch-alls: whatever is asked there does not exist."""


def routes_of(urlconf: str) -> set[str]:
    return set(_walk(get_resolver(urlconf).url_patterns, ""))


def _walk(patterns: list[URLPattern | URLResolver], prefix: str) -> Iterator[str]:
    for pattern in patterns:
        route = prefix + str(pattern.pattern)
        if isinstance(pattern, URLResolver):
            yield from _walk(pattern.url_patterns, route)
        else:
            yield route


def test_every_route_of_a_tenant_has_its_row() -> None:
    assert routes_of("config.urls_tenant") == {row.route for row in TENANT_ROUTES} | ALWAYS_NOTHING
    assert len(TENANT_ROUTES) == len({row.route for row in TENANT_ROUTES})


def test_every_route_of_the_platform_has_its_row() -> None:
    assert routes_of("config.urls_platform") == set(PLATFORM_ROUTES)
    assert routes_of("config.urls_machine") == MACHINE_ROUTES


# --- a tenant's host -----------------------------------------------------------------------------


@dataclass
class House:
    """Kunlun with something of Ben's behind every route, and everybody's keys."""

    kunlun: Tenant
    clients: dict[str, Client]
    alarm: Alarm
    message: str
    replay: Replay
    rule: Rule
    test: BackTest
    contact: UUID
    key: UUID

    def address(self, row: Row, *, other: str = "") -> str:
        own = {
            ALARM: self.alarm.pk,
            MESSAGE: self.message,
            REPLAY: self.replay.pk,
            RULE: self.rule.pk,
            TEST: self.test.pk,
            CONTACT: self.contact,
            KEY: self.key,
        }
        number = "1" if row.pk == RULE else "0"
        pk = own.get(row.pk, row.pk)
        return "/" + re.sub(r"<(uuid|str):\w+>", other or str(pk), row.route).replace(
            "<int:number>", number
        )

    def ask(self, who: str, row: Row, *, other: str = "") -> HttpResponse:
        """The answer; what it changed is undone."""
        client = self.clients[who]
        with transaction.atomic():
            answer = client.generic(
                row.method,
                self.address(row, other=other),
                row.form,
                "application/x-www-form-urlencoded" if row.method == "POST" else "",
                QUERY_STRING="&".join(f"{name}={value}" for name, value in row.query.items()),
                HTTP_HOST="kunlun.localhost",
            )
            transaction.set_rollback(True)
        return answer


@pytest.fixture
def house(elasticsearch: str, kunlun: Tenant, aurora: Tenant, clock: Clock, otto: User) -> House:
    with tenant_context(kunlun):
        apply_findings([finding(CRITICAL, at=clock.now)], judged_at=clock.now)
        alarm = Alarm.objects.get()
        replay = request_replay(
            by=User.objects.get(username="anna"), filters=RefusedFilter(), now=clock.now
        )
        rule, test = _ruled(clock)
        told = contact(user_id=cast.DORA).pk
        key, _token = create_key(user=None, name="OEM", scopes=[Scope.FLEET], now=clock.now)
        clients = {who: Client(raise_request_exception=True) for who in (*STAFF, *CUSTOMERS)}
        for who, client in clients.items():
            client.force_login(User.objects.get(username=who))
    clients |= {who: Client() for who in STRANGERS}
    with tenant_context(aurora):
        clients["otto"].force_login(otto)
    return House(kunlun, clients, alarm, _quarantined(), replay, rule, test, told, key.pk)


def _ruled(clock: Clock) -> tuple[Rule, BackTest]:
    """A rule of Anna's, and a back-test of it that waits."""
    anna, content = User.objects.get(pk=cast.ANNA), Content(name="Earlier")
    rule = make_rule(user=anna, detector="overtemperature", content=content, now=clock.now)
    test = backtests.request(
        user=anna,
        detector="overtemperature",
        content=content,
        start=clock.now - timedelta(days=1),
        end=clock.now,
        now=clock.now,
        rule=rule,
    )
    return rule, test


def _quarantined(tenant: str = "kunlun") -> str:
    store, arrived_ms = the_store(), 1_795_420_800_000
    lines = quarantine_lines(
        store.quarantine_index(arrived_ms),
        tenant=tenant,
        batch_id=1,
        number=0,
        arrived_ms=arrived_ms,
        reason="undecodable",
        identity="kunlun.tbox-1",
        topic="ow/v1/kunlun.tbox-1/readings",
        payload=b"{",
    )
    store.bulk(lines)
    return f"{tenant}:1-0"


def outcome(answer: HttpResponse) -> str:
    """What an answer means to who asked. A wrong form or range is an answer to a person served."""
    signs_in = answer.status_code == 302 and answer.headers["Location"].startswith("/account/login")
    if answer.status_code == 401 or signs_in:
        return SIGN_IN
    if answer.status_code >= 500:
        return f"broken ({answer.status_code})"
    return {403: REFUSED, 404: NOTHING, 405: "wrong method"}.get(answer.status_code, SERVED)


@pytest.mark.parametrize("row", TENANT_ROUTES, ids=str)
def test_who_passes(house: House, row: Row) -> None:
    everybody = (*STAFF, *CUSTOMERS, *STRANGERS)
    answers = {who: house.ask(who, row) for who in everybody}
    assert {who: outcome(answer) for who, answer in answers.items()} == {
        who: row.door.expected(who) for who in everybody
    }
    for who, answer in answers.items():
        assert b"CANARY" not in answer.content, f"{who} was shown something of Aurora's"


@pytest.mark.parametrize(
    "row", [row for row in TENANT_ROUTES if row.pk and row.door is BENS], ids=str
)
def test_an_outsider_cannot_tell_another_ones_from_nothing(house: House, row: Row) -> None:
    missing = str(cast.fixed_id(0xDEAD))
    theirs, nobodys = house.ask("clara", row), house.ask("clara", row, other=missing)
    assert theirs.status_code == nobodys.status_code == 404
    assert _bare(theirs, house.address(row)) == _bare(nobodys, house.address(row, other=missing))


def _bare(answer: HttpResponse, address: str) -> str:
    """The page without what is drawn anew for each answer."""
    text = answer.content.decode().replace(address, "")
    return re.sub(r'value="\w{64}"|"request_id": "[^"]*"|[0-9a-f-]{36}', "", text)


@pytest.mark.parametrize("row", TENANT_ROUTES, ids=str)
def test_nothing_is_changed_without_the_pages_token(house: House, row: Row) -> None:
    client = Client(enforce_csrf_checks=True)
    with tenant_context(house.kunlun):
        client.force_login(User.objects.get(username="ada"))
    for method in ("POST", "PUT", "PATCH", "DELETE"):
        answer = client.generic(method, house.address(row), HTTP_HOST="kunlun.localhost")
        assert answer.status_code in (403, 405), f"{method} was let in: {answer.status_code}"


# --- the platform's host -------------------------------------------------------------------------


@pytest.mark.parametrize("route", sorted(PLATFORM_ROUTES))
def test_who_passes_on_the_platform(
    kunlun: Tenant, anna: User, operator: User, empty_elasticsearch: str, route: str
) -> None:
    nobody, tenants_own, operators_own = Client(), Client(), Client()
    with tenant_context(kunlun):
        tenants_own.force_login(anna)
    operators_own.force_login(operator)
    posts = route.endswith(("/retry", "/replay")) or route == "preferences/"
    method = "POST" if posts else "GET"
    said = "maker=kunlun" if route == "unclaimed/replay" else ""
    form = "application/x-www-form-urlencoded"
    address = "/" + route.replace("<uuid:pk>", str(kunlun.pk))
    if "<str:pk>" in address:
        address = address.replace("<str:pk>", _quarantined(PLATFORM))
        the_store().refresh()

    def ask(client: Client) -> str:
        with transaction.atomic():
            answer = client.generic(method, address, said, form, HTTP_HOST="localhost")
            transaction.set_rollback(True)
        return outcome(answer)

    door = PLATFORM_ROUTES[route]
    stranger = SERVED if door is EVERYBODY else SIGN_IN
    operators = SERVED if door.served else door.refused
    assert [ask(nobody), ask(tenants_own), ask(operators_own)] == [stranger, stranger, operators]
