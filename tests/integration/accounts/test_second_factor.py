"""The second factor: set up, asked for, kept secret at rest, and a must for who holds the keys."""

import re
import time

import pytest
from allauth.mfa.models import Authenticator
from allauth.mfa.totp.internal.auth import format_hotp_value, hotp_value
from cryptography.fernet import InvalidToken
from django.core.management import CommandError, call_command
from django.db import connection
from django.test import Client
from django_tenants.utils import schema_context, tenant_context
from pytest_django.fixtures import Settings

from apps.accounts import keyring
from apps.accounts.models import User
from apps.live.viewer import viewer_of
from apps.tenants.models import Tenant
from tests import cast
from tests.pages import check_clean

HOST = "kunlun.localhost"
FACTOR = "/account/two-factor/"
COMMITS = pytest.mark.django_db(transaction=True)
"""allauth tells that a factor was added when it is committed."""


def code_of(seed: str, *, steps: int = 0) -> str:
    """What the phone shows, `steps` half minutes from now: each code is good once."""
    return format_hotp_value(hotp_value(seed, int(time.time()) // 30 + steps))


def sign_in(username: str, host: str = HOST) -> Client:
    client = Client(HTTP_HOST=host)
    said = {"login": username, "password": cast.PASSWORD}
    assert client.post("/account/login/", said).status_code == 302
    return client


def set_up(client: Client) -> tuple[str, list[str]]:
    """Sets it up as a person does; returns the seed and the recovery codes."""
    page = client.get(f"{FACTOR}totp/activate/", follow=True)
    if "id_password" in page.text:
        again = {"password": cast.PASSWORD, "next": f"{FACTOR}totp/activate/"}
        page = client.post("/account/reauthenticate/", again, follow=True)
    check_clean(page.text)
    seed = re.search(r'class="mono">([A-Z2-7]{32})<', page.text)
    assert seed, page.text
    done = client.post(f"{FACTOR}totp/activate/", {"code": code_of(seed[1])}, follow=True)
    codes = re.findall(r"<li>(\d{8})</li>", done.text)
    assert len(codes) == 10
    return seed[1], codes


def whole_database() -> str:
    """Every text of every table in both schemas, as a dump holds it."""
    dumped = []
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT format('%I.%I', schemaname, tablename) FROM pg_tables"
            " WHERE schemaname IN ('public', 't_kunlun')"
        )
        for (table,) in cursor.fetchall():
            cursor.execute(f"SELECT row_to_json(t)::text FROM {table} t")
            dumped += [row for (row,) in cursor.fetchall()]
    return "\n".join(dumped)


# --- setting it up, and signing in with it ----------------------------------------------------


def test_who_has_one_is_asked_for_it(kunlun: Tenant) -> None:
    bens = sign_in("ben")
    seed, codes = set_up(bens)
    phone = sign_in("ben")
    assert phone.get("/vehicles/").headers["Location"].startswith("/account/login/")
    asked = phone.get(f"{FACTOR}authenticate/")
    assert "Now the code" in asked.text
    check_clean(asked.text)
    assert "error-summary" in phone.post(f"{FACTOR}authenticate/", {"code": "000000"}).text
    fresh = {"code": code_of(seed, steps=1)}
    assert phone.post(f"{FACTOR}authenticate/", fresh).status_code == 302
    assert phone.get("/contacts/").status_code == 200
    replayed = sign_in("ben")
    assert "error-summary" in replayed.post(f"{FACTOR}authenticate/", fresh).text
    lost = sign_in("ben")
    assert lost.post(f"{FACTOR}authenticate/", {"code": codes[0]}).status_code == 302
    again = sign_in("ben")
    assert "error-summary" in again.post(f"{FACTOR}authenticate/", {"code": codes[0]}).text


def test_its_page_says_how_things_stand_and_who_may_takes_it_away(kunlun: Tenant) -> None:
    bens = sign_in("ben")
    assert "Not set up" in bens.get(FACTOR).text
    set_up(bens)
    shown = bens.get(FACTOR).text
    check_clean(shown)
    assert "10 codes are left" in shown
    check_clean(bens.get(f"{FACTOR}recovery-codes/generate/").text)
    assert bens.get(f"{FACTOR}recovery-codes/download/").status_code == 200
    check_clean(bens.get(f"{FACTOR}totp/deactivate/").text)
    bens.post(f"{FACTOR}totp/deactivate/")
    assert "Not set up" in bens.get(FACTOR).text


def test_guessing_ends(kunlun: Tenant) -> None:
    set_up(sign_in("ben"))
    guesser = sign_in("ben")
    answers = [
        guesser.post(f"{FACTOR}authenticate/", {"code": f"{guess:06d}"}).text for guess in range(12)
    ]
    assert "Too many" in answers[-1]


# --- at rest ------------------------------------------------------------------------------------


def test_the_database_holds_no_clear_seed(kunlun: Tenant) -> None:
    bens = sign_in("ben")
    half_done = sign_in("clara")
    page = half_done.post(
        "/account/reauthenticate/",
        {"password": cast.PASSWORD, "next": f"{FACTOR}totp/activate/"},
        follow=True,
    )
    unfinished = re.search(r'class="mono">([A-Z2-7]{32})<', page.text)
    assert unfinished
    seed, codes = set_up(bens)
    with tenant_context(kunlun):
        kept = Authenticator.objects.get(type=Authenticator.Type.TOTP)
        assert keyring.decrypt(kept.data["secret"]) == seed
        recovery = Authenticator.objects.get(type=Authenticator.Type.RECOVERY_CODES)
        seeds = [seed, unfinished[1], *codes, keyring.decrypt(recovery.data["seed"])]
    dump = whole_database()
    assert str(kept.pk) in dump
    assert [secret for secret in seeds if secret in dump] == []


def test_a_session_lies_encrypted(kunlun: Tenant) -> None:
    bens = sign_in("ben")
    with tenant_context(kunlun), connection.cursor() as cursor:
        key = bens.session.session_key
        cursor.execute("SELECT session_data FROM django_session WHERE session_key = %s", [key])
        (data,) = cursor.fetchone()
        session = bens.session
        assert session.decode(data)["_auth_user_id"] == str(cast.BEN)
    with schema_context("t_aurora"):
        assert session.decode(data) == {}


def test_keys_change_and_stay_apart(settings: Settings, db: None) -> None:
    with schema_context("t_kunlun"):
        secret = keyring.encrypt("seed")
    with schema_context("t_aurora"), pytest.raises(InvalidToken):
        keyring.decrypt(secret)
    former, settings.SECRET_KEY = settings.SECRET_KEY, "another secret key of more than 32 signs"
    with schema_context("t_kunlun"):
        with pytest.raises(InvalidToken):
            keyring.decrypt(secret)
        settings.SECRET_KEY_FALLBACKS = [former]
        assert keyring.decrypt(secret) == "seed"
        renewed = keyring.encrypt("seed")
        settings.SECRET_KEY_FALLBACKS = []
        assert keyring.decrypt(renewed) == "seed"


# --- for whom it is a must ----------------------------------------------------------------------


@pytest.fixture
def required(settings: Settings) -> None:
    settings.REQUIRE_MFA = True


@COMMITS
@pytest.mark.usefixtures("required")
def test_an_administrator_reaches_nothing_before(kunlun: Tenant, elasticsearch: str) -> None:
    adas = sign_in("ada")
    for path in ("/portal/", "/portal/users/", "/contacts/", "/vehicles/", "/account/password/"):
        answer = adas.get(path)
        assert answer.status_code == 302
        assert answer.headers["Location"].startswith(f"{FACTOR}totp/activate/")
    assert adas.post("/portal/users/add/", {"username": "eve"}).status_code == 302
    assert adas.get("/api/v1/me").json()["code"] == "second_factor_missing"
    with tenant_context(kunlun):
        assert not User.objects.filter(username="eve").exists()
        assert viewer_of("t_kunlun", adas.session.session_key) is None
    set_up(adas)
    assert adas.get("/portal/users/").status_code == 200
    assert adas.get("/api/v1/me").status_code == 200
    with tenant_context(kunlun):
        assert viewer_of("t_kunlun", adas.session.session_key) is not None


@COMMITS
@pytest.mark.usefixtures("required")
def test_a_session_from_before_is_asked_for_the_code(kunlun: Tenant) -> None:
    """Ada's other browser, signed in while nothing was set up."""
    adas, older = sign_in("ada"), sign_in("ada")
    seed, _codes = set_up(adas)
    answer = older.get("/portal/users/")
    assert answer.headers["Location"].startswith(f"{FACTOR}reauthenticate/")
    page = older.get(answer.headers["Location"])
    check_clean(page.text)
    told = older.post(answer.headers["Location"], {"code": code_of(seed, steps=1)})
    assert told.headers["Location"] == "/portal/users/"
    assert older.get("/portal/users/").status_code == 200


@COMMITS
@pytest.mark.usefixtures("required")
def test_who_must_have_one_keeps_it(kunlun: Tenant) -> None:
    adas = sign_in("ada")
    set_up(adas)
    assert "may not work without one" in adas.get(f"{FACTOR}totp/deactivate/").text
    adas.post(f"{FACTOR}totp/deactivate/")
    with tenant_context(kunlun):
        assert Authenticator.objects.filter(user_id=cast.ADA).count() == 2


@pytest.mark.usefixtures("required")
def test_others_may_do_without(kunlun: Tenant, elasticsearch: str) -> None:
    assert sign_in("anna").get("/portal/").status_code == 200
    assert sign_in("ben").get("/contacts/").status_code == 200


@COMMITS
@pytest.mark.usefixtures("required")
def test_an_operator_must_have_one(operator: User) -> None:
    operators = sign_in("operator", "localhost")
    assert operators.get("/").headers["Location"].startswith(f"{FACTOR}totp/activate/")
    set_up(operators)
    assert operators.get("/").status_code == 200


@pytest.mark.usefixtures("required")
def test_a_new_administrator_must_have_one_at_once(kunlun: Tenant, elasticsearch: str) -> None:
    """A role changes between two clicks: the open session is asked as well."""
    annas = sign_in("anna")
    assert annas.get("/portal/").status_code == 200
    with tenant_context(kunlun):
        User.objects.filter(pk=cast.ANNA).update(role="administrator")
    assert annas.get("/portal/").status_code == 302


# --- a lost phone -------------------------------------------------------------------------------


def test_an_administrator_takes_a_lost_one_away(kunlun: Tenant) -> None:
    set_up(sign_in("ben"))
    adas = sign_in("ada")
    assert "Phone lost" in adas.get(f"/portal/users/{cast.BEN}/").text
    adas.post(f"/portal/users/{cast.BEN}/second-factor")
    assert "Phone lost" not in adas.get(f"/portal/users/{cast.BEN}/").text
    assert sign_in("ben").get("/contacts/").status_code == 200


def test_the_command_does_it_for_the_last_administrator(kunlun: Tenant) -> None:
    set_up(sign_in("ada"))
    call_command("forget_second_factor", "ada", tenant="kunlun")
    assert sign_in("ada").get("/portal/users/").status_code == 200
    for unknown in ({"tenant": "kunlun"}, {"tenant": "nowhere"}, {}):
        with pytest.raises(CommandError):
            call_command("forget_second_factor", "nobody", **unknown)
