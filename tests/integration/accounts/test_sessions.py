"""Where a person is signed in, and ending it everywhere else."""

from django.test import Client

from apps.tenants.models import Tenant
from tests import cast
from tests.pages import check_clean

PAGE = "/account/sessions/"


def sign_in(username: str, browser: str) -> Client:
    client = Client(HTTP_HOST="kunlun.localhost", HTTP_USER_AGENT=browser)
    client.post("/account/login/", {"login": username, "password": cast.PASSWORD})
    return client


def test_all_others_are_signed_out(kunlun: Tenant) -> None:
    desk, phone, claras = (
        sign_in("ben", "Desk browser"),
        sign_in("ben", "Phone browser"),
        sign_in("clara", "Clara's browser"),
    )
    shown = desk.get(PAGE).text
    check_clean(shown)
    assert "Desk browser" in shown
    assert "Phone browser" in shown
    assert "Clara" not in shown
    assert desk.post(PAGE, follow=True).status_code == 200
    assert phone.get("/contacts/").status_code == 302
    assert desk.get("/contacts/").status_code == 200
    assert claras.get("/contacts/").status_code == 200
    assert "Phone browser" not in desk.get(PAGE).text


def test_a_new_password_ends_the_others(kunlun: Tenant) -> None:
    desk, phone = sign_in("ben", "Desk browser"), sign_in("ben", "Phone browser")
    new = "another horse, another battery"
    said = {"oldpassword": cast.PASSWORD, "password1": new, "password2": new}
    assert desk.post("/account/password/", said).status_code == 302
    assert desk.get("/contacts/").status_code == 200
    assert phone.get("/contacts/").status_code == 302
