"""People: who may sign in, and as what."""

import secrets
from typing import Any
from uuid import UUID

from allauth.mfa.utils import is_mfa_enabled
from django import forms
from django.contrib import messages
from django.core.exceptions import ValidationError
from django.core.paginator import Paginator
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.utils import timezone
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _
from django.views.decorators.http import require_POST

from apps.accounts import operations, queries
from apps.accounts.models import Organisation, User
from apps.accounts.permissions import Permission, Role
from apps.portal.people import StaffRequest, for_staff
from apps.portal.sheets import Sheet

PAGE = 50
ROLES = [(role.value, role.label) for role in Role if role != Role.OPERATOR]


class RoleSheet(Sheet):
    role = forms.ChoiceField(label=_("Role"), choices=ROLES)
    organisation = forms.ModelChoiceField(
        Organisation.objects.none(),
        label=_("Organisation"),
        required=False,
        empty_label=_("none: our own staff"),
        help_text=_("Owners and drivers belong to one; staff to none."),
    )

    def __init__(self, *args: Any, user: User, **more: Any) -> None:
        super().__init__(*args, **more)
        chooser = self.fields["organisation"]
        assert isinstance(chooser, forms.ModelChoiceField)
        chooser.queryset = queries.organisations(for_user=user)


class PersonSheet(RoleSheet):
    field_order = ("username", "email", "first_name", "last_name", "role", "organisation")

    username = forms.CharField(label=_("User name"), max_length=150)
    email = forms.EmailField(label=_("Email"))
    first_name = forms.CharField(label=_("First name"), max_length=150, required=False)
    last_name = forms.CharField(label=_("Last name"), max_length=150, required=False)


def _first_password() -> str:
    """To be handed over and changed: 96 bits, in groups that can be read aloud."""
    return "-".join(secrets.token_hex(3) for _group in range(4))


@for_staff(Permission.MANAGE_USERS)
def user_list(request: StaffRequest) -> HttpResponse:
    page = Paginator(queries.users(for_user=request.user), PAGE).get_page(request.GET.get("page"))
    return render(request, "portal/users.html", {"page_obj": page})


@for_staff(Permission.MANAGE_USERS)
def user_add(request: StaffRequest) -> HttpResponse:
    form = PersonSheet(request.POST or None, user=request.user)
    if request.method == "POST" and form.is_valid():
        password = _first_password()
        made = form.carry_out(
            operations.create_user, password=password, now=timezone.now(), **form.cleaned_data
        )
        if made:
            return _show_password(request, made, password)
    return render(request, "portal/user_edit.html", {"form": form})


@for_staff(Permission.MANAGE_USERS)
def user_edit(request: StaffRequest, pk: UUID) -> HttpResponse:
    person = queries.user_for(user=request.user, pk=pk)
    initial = {"role": person.role, "organisation": person.organisation_id}
    form = RoleSheet(request.POST or None, user=request.user, initial=initial)
    if request.method == "POST" and form.is_valid():
        change = operations.change_role
        if form.carry_out(change, by=request.user, user=person, **form.cleaned_data):
            messages.success(request, gettext("Saved. The role holds from the next click on."))
            return redirect("portal:users")
    context = {"form": form, "person": person, "has_factor": is_mfa_enabled(person)}
    return render(request, "portal/user_edit.html", context)


@for_staff(Permission.MANAGE_USERS)
@require_POST
def user_state(request: StaffRequest, pk: UUID) -> HttpResponse:
    """Enables or disables: POST `state`."""
    person = queries.user_for(user=request.user, pk=pk)
    change = (
        operations.disable_user
        if request.POST.get("state") == "disabled"
        else operations.enable_user
    )
    try:
        change(by=request.user, user=person)
    except ValidationError as refusal:
        messages.error(request, " ".join(refusal.messages))
    else:
        messages.success(request, gettext("Done. It holds from their next click on."))
    return redirect("portal:user-edit", pk=pk)


@for_staff(Permission.MANAGE_USERS)
@require_POST
def user_password(request: StaffRequest, pk: UUID) -> HttpResponse:
    person = queries.user_for(user=request.user, pk=pk)
    password = _first_password()
    operations.set_password(user=person, password=password)
    return _show_password(request, person, password)


@for_staff(Permission.MANAGE_USERS)
@require_POST
def user_second_factor(request: StaffRequest, pk: UUID) -> HttpResponse:
    """Takes it away: the phone is lost."""
    person = queries.user_for(user=request.user, pk=pk)
    operations.forget_second_factor(by=request.user, user=person)
    messages.success(request, gettext("Taken away: the password alone lets them in."))
    return redirect("portal:user-edit", pk=pk)


def _show_password(request: StaffRequest, person: User, password: str) -> HttpResponse:
    context = {"person": person, "password": password}
    return render(request, "portal/user_password.html", context)
