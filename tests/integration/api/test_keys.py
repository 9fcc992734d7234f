"""API keys: made once, shown once, refused in every way that they can be wrong."""

from datetime import timedelta

import pytest
from django.core.exceptions import PermissionDenied, ValidationError
from django.core.management import CommandError, call_command
from django.http import Http404
from django.utils import timezone
from django_tenants.utils import tenant_context
from rest_framework.test import APIClient

from apps.accounts.models import User
from apps.api import queries
from apps.api.models import ApiKey, Scope
from apps.api.operations import create_key, revoke_key
from apps.tenants.models import Tenant
from tests import cast
from tests.integration.api.conftest import NOW, caller, new_key

pytestmark = pytest.mark.usefixtures("kunlun")


def me(client: APIClient) -> int:
    return int(client.get("/api/v1/me").status_code)


def test_only_the_hash_is_kept(kunlun: Tenant) -> None:
    token = new_key(kunlun)
    assert token.startswith("ohm_live_")
    with tenant_context(kunlun):
        key = ApiKey.objects.get()
    assert token not in str(vars(key))
    assert token.startswith(key.prefix)
    assert len(key.prefix) < len(token) / 2


def test_a_key_says_whose_it_is(kunlun: Tenant, description: dict[str, object]) -> None:
    answer = caller(key=new_key(kunlun, organisation=cast.HARBOUR)).get("/api/v1/me").json()
    assert answer == {
        "tenant": "kunlun",
        "kind": "key",
        "name": "Telematics of the maker",
        "organisation": {"id": str(cast.HARBOUR), "name": "Harbour Taxi"},
        "scopes": sorted(Scope.values),
        "expires_at": None,
    }


@pytest.mark.parametrize("change", [str.upper, lambda key: key[:-1], lambda key: key + "x"])
def test_a_changed_key_is_refused(kunlun: Tenant, change: object) -> None:
    assert me(caller(key=change(new_key(kunlun)))) == 401  # type: ignore[operator]


def test_a_good_key_in_the_wrong_place_is_refused(kunlun: Tenant, aurora: Tenant) -> None:
    key = new_key(kunlun)
    assert me(caller(key=key)) == 200
    assert me(caller("aurora.localhost", key=key)) == 401
    assert caller().get("/api/v1/me", {"api_key": key, "key": key}).status_code == 401
    basic = APIClient(HTTP_HOST="kunlun.localhost", HTTP_AUTHORIZATION=f"Basic {key}")
    assert me(basic) == 401
    bare = APIClient(HTTP_HOST="kunlun.localhost", HTTP_AUTHORIZATION=key)
    assert me(bare) == 401
    nothing = APIClient(HTTP_HOST="kunlun.localhost", HTTP_AUTHORIZATION="Bearer ")
    assert me(nothing) == 401


def test_an_expired_key_is_refused(kunlun: Tenant) -> None:
    key = new_key(kunlun, expires_at=timezone.now() + timedelta(days=1))
    assert me(caller(key=key)) == 200
    with tenant_context(kunlun):
        ApiKey.objects.update(created_at=NOW - timedelta(days=9), expires_at=NOW)
    assert me(caller(key=key)) == 401


def test_a_revoked_key_is_refused_at_once(kunlun: Tenant, ada: User) -> None:
    token = new_key(kunlun)
    assert me(caller(key=token)) == 200
    with tenant_context(kunlun):
        revoke_key(user=ada, key=ApiKey.objects.get(), now=NOW)
        revoke_key(user=ada, key=ApiKey.objects.get(), now=NOW + timedelta(hours=1))
        assert ApiKey.objects.get().revoked_at == NOW
    assert me(caller(key=token)) == 401


def test_use_is_remembered_to_the_minute(kunlun: Tenant) -> None:
    client = caller(key=new_key(kunlun))
    used = []
    for _ in range(2):
        me(client)
        with tenant_context(kunlun):
            used.append(ApiKey.objects.get().last_used_at)
    assert used[0] is not None
    assert used[0] == used[1]


@pytest.mark.parametrize(
    ("path", "scope"),
    [
        ("models", Scope.FLEET),
        ("vehicles", Scope.FLEET),
        ("connectors", Scope.FLEET),
        (f"connectors/{cast.BENS_CONNECTOR}/state", Scope.READINGS),
        (f"connectors/{cast.BENS_CONNECTOR}/readings", Scope.READINGS),
        (f"connectors/{cast.BENS_CONNECTOR}/series", Scope.READINGS),
        ("alarms", Scope.ALARMS),
        ("events", Scope.ALARMS),
        ("rules", Scope.RULES),
    ],
)
def test_a_key_serves_for_its_scopes_only(
    kunlun: Tenant, elasticsearch: str, path: str, scope: Scope
) -> None:
    others = set(Scope.values) - {scope.value}
    refused = caller(key=new_key(kunlun, scopes=others)).get(f"/api/v1/{path}")
    assert (refused.status_code, refused.json()["code"]) == (403, "scope_missing")
    assert scope.value in refused.json()["detail"]
    assert caller(key=new_key(kunlun, scopes=[scope])).get(f"/api/v1/{path}").status_code == 200


def test_guessing_is_slowed_down_and_good_keys_go_on(kunlun: Tenant) -> None:
    guesses = [caller(key="ohm_live_guess").get("/api/v1/me") for _ in range(31)]
    assert [guess.status_code for guess in guesses] == [401] * 30 + [429]
    assert int(guesses[-1]["Retry-After"]) > 0
    assert me(caller(key=new_key(kunlun))) == 200


def test_only_administrators_manage_keys(kunlun: Tenant, ada: User, anna: User, ben: User) -> None:
    with tenant_context(kunlun):
        key, _token = create_key(user=ada, name="Maker", scopes=[Scope.FLEET], now=NOW)
        assert queries.key_for(user=ada, pk=key.pk) == key
        for person in (anna, ben):
            with pytest.raises(PermissionDenied):
                create_key(user=person, name="Own", scopes=[Scope.FLEET], now=NOW)
            with pytest.raises(PermissionDenied):
                revoke_key(user=person, key=key, now=NOW)
            assert list(queries.keys(for_user=person)) == []
            with pytest.raises(Http404):
                queries.key_for(user=person, pk=key.pk)


@pytest.mark.parametrize(
    "wrong",
    [
        {"scopes": []},
        {"scopes": ["write:all"]},
        {"expires_at": NOW - timedelta(seconds=1)},
        {"name": "  "},
    ],
)
def test_a_senseless_key_is_not_made(kunlun: Tenant, wrong: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        new_key(kunlun, **wrong)  # type: ignore[arg-type]
    with tenant_context(kunlun):
        assert not ApiKey.objects.exists()


def test_keys_by_the_command_line(kunlun: Tenant, capsys: pytest.CaptureFixture[str]) -> None:
    tenant = ["--tenant", "kunlun"]
    call_command("api_key", "create", *tenant, "--name", "Maker", "--organisation", "Harbour Taxi")
    token = capsys.readouterr().out.strip()
    assert me(caller(key=token)) == 200
    call_command("api_key", "list", *tenant)
    listed = capsys.readouterr().out
    assert "Harbour Taxi" in listed
    assert token not in listed
    call_command("api_key", "revoke", *tenant, token[:15])
    assert me(caller(key=token)) == 401
    for wrong in (
        ["create", *tenant, "--name", "X", "--organisation", "Nobody"],
        ["revoke", *tenant, "nothing"],
        ["list", "--tenant", "nobody"],
    ):
        with pytest.raises(CommandError):
            call_command("api_key", *wrong)
