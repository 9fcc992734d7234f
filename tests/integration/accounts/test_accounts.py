"""People: who may exist, who may do what, and who may change that."""

import uuid

import pytest
from django.core.exceptions import PermissionDenied, ValidationError
from django.db import IntegrityError, transaction
from django.http import Http404
from django.test import Client
from django_tenants.utils import tenant_context

from apps.accounts.models import Organisation, User
from apps.accounts.operations import (
    change_role,
    create_organisation,
    create_user,
    disable_user,
    enable_user,
    set_password,
)
from apps.accounts.permissions import PERMISSIONS, STAFF_ROLES, Permission, Role
from apps.accounts.queries import organisation_for, organisations, user_for, users
from apps.tenants.models import Tenant
from tests import cast
from tests.clock import Clock

KUNLUN = {"host": "kunlun.localhost"}


def test_every_role_has_its_permissions_written_down() -> None:
    assert set(PERMISSIONS) == set(Role)
    assert PERMISSIONS[Role.OPERATOR] == frozenset()
    assert {role for role in Role if Permission.MANAGE_USERS in PERMISSIONS[role]} == {
        Role.ADMINISTRATOR
    }
    customers = {Permission.VIEW_FLEET, Permission.ACKNOWLEDGE, Permission.INSPECT}
    for role in set(Role) - STAFF_ROLES - {Role.OPERATOR}:
        assert PERMISSIONS[role] <= customers
    assert Permission.INSPECT not in PERMISSIONS[Role.DRIVER]


def test_who_was_disabled_may_nothing(in_kunlun: Tenant, ada: User) -> None:
    ada.is_active = False
    assert not any(ada.can(permission) for permission in Permission)


@pytest.mark.parametrize(
    ("role", "organisation"),
    [
        ("owner", None),
        ("driver", None),
        ("engineer", cast.HARBOUR),
        ("operator", None),
        ("x", None),
    ],
)
def test_the_database_holds_role_and_organisation_together(
    in_kunlun: Tenant, role: str, organisation: uuid.UUID | None
) -> None:
    with pytest.raises(IntegrityError), transaction.atomic():
        User.objects.create(username="mallory", role=role, organisation_id=organisation)


@pytest.mark.parametrize("change", [{"username": "BEN"}, {"email": "BEN@kunlun.example"}])
def test_names_and_addresses_are_one_persons_in_any_case(
    in_kunlun: Tenant, change: dict[str, str]
) -> None:
    with pytest.raises(IntegrityError), transaction.atomic():
        User.objects.filter(username="anna").update(**change)


def test_a_person_is_created_and_signs_in(in_kunlun: Tenant, clock: Clock, client: Client) -> None:
    harbour = Organisation.objects.get(pk=cast.HARBOUR)
    create_user(
        username="emil",
        email="Emil@Example.org",
        role=Role.DRIVER,
        now=clock.now,
        password="a long enough secret",
        organisation=harbour,
        phone="+4915123456789",
    )
    answer = client.post(
        "/account/login/", {"login": "emil", "password": "a long enough secret"}, headers=KUNLUN
    )
    assert answer.status_code == 302
    with tenant_context(in_kunlun):
        assert User.objects.get(username="emil").email == "emil@example.org"


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"password": "short"}, None),
        ({"password": "password1234"}, None),
        ({"password": "emil@example.org"}, None),
        ({"username": "ben"}, "username"),
        ({"email": "ben@kunlun.example"}, None),
        ({"email": "no address"}, "email"),
        ({"phone": "12"}, "phone"),
        ({"role": Role.OWNER}, "organisation"),
        ({"role": Role.OPERATOR}, "role"),
        ({"role": "emperor"}, "role"),
    ],
)
def test_what_is_wrong_with_a_person_is_told(
    in_kunlun: Tenant, clock: Clock, change: dict[str, str], field: str | None
) -> None:
    good: dict[str, str] = {
        "username": "emil",
        "email": "emil@example.org",
        "role": Role.ENGINEER,
        "password": "a long enough secret",
    }
    with pytest.raises(ValidationError) as refused:
        create_user(**(good | change), now=clock.now)  # type: ignore[arg-type]
    if field:
        assert field in refused.value.message_dict


def test_only_who_manages_users_changes_them(
    in_kunlun: Tenant, ada: User, anna: User, ben: User, sam: User
) -> None:
    for nobody in (anna, ben, sam):
        with pytest.raises(PermissionDenied):
            change_role(by=nobody, user=sam, role=Role.ADMINISTRATOR)
        with pytest.raises(PermissionDenied):
            disable_user(by=nobody, user=ada)
        with pytest.raises(PermissionDenied):
            enable_user(by=nobody, user=ada)
    change_role(by=ada, user=sam, role=Role.ENGINEER)
    assert User.objects.get(pk=sam.pk).role == Role.ENGINEER


def test_somebody_is_left_who_manages_users(in_kunlun: Tenant, ada: User, anna: User) -> None:
    with pytest.raises(ValidationError):
        disable_user(by=ada, user=ada)
    with pytest.raises(ValidationError):
        change_role(by=ada, user=ada, role=Role.READONLY)
    change_role(by=ada, user=anna, role=Role.ADMINISTRATOR)
    disable_user(by=anna, user=ada)


def test_an_open_session_ends_when_its_person_is_disabled(
    in_kunlun: Tenant, ada: User, anna: User, client: Client
) -> None:
    client.force_login(anna)
    assert client.get("/portal/models/", headers=KUNLUN).status_code == 200
    with tenant_context(in_kunlun):
        disable_user(by=ada, user=anna)
    assert client.get("/portal/models/", headers=KUNLUN).status_code == 302


def test_a_new_password_ends_the_sessions(in_kunlun: Tenant, anna: User, client: Client) -> None:
    client.force_login(anna)
    set_password(user=anna, password="another long secret")
    assert client.get("/portal/models/", headers=KUNLUN).status_code == 302


def test_whom_one_sees(in_kunlun: Tenant, ada: User, anna: User, ben: User, clara: User) -> None:
    assert users(for_user=ada).count() == 7
    assert [user.username for user in users(for_user=anna)] == ["anna"]
    assert {user.username for user in users(for_user=ben)} == {"ben", "dora"}
    with pytest.raises(Http404):
        user_for(user=ben, pk=cast.CLARA)
    assert [row.name for row in organisations(for_user=ben)] == ["Harbour Taxi"]
    assert organisations(for_user=anna).count() == 2
    with pytest.raises(Http404):
        organisation_for(user=clara, pk=cast.HARBOUR)


@pytest.mark.parametrize("name", ["", "   ", "Harbour Taxi"])
def test_an_organisation_has_a_name_of_its_own(in_kunlun: Tenant, name: str) -> None:
    with pytest.raises(ValidationError):
        create_organisation(name=name)
