"""API keys: which machine may ask for what, seen once when made, and ended here."""

from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from django import forms
from django.contrib import messages
from django.core.paginator import Paginator
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils import timezone
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _
from django.views.decorators.http import require_POST

from apps.accounts.models import Organisation, User
from apps.accounts.permissions import Permission
from apps.accounts.queries import organisations
from apps.api import operations, queries
from apps.api.models import ApiKey, Scope
from apps.portal.people import StaffRequest, for_staff
from apps.portal.sheets import Sheet

PAGE = 50
LIVES = {
    "90": _("90 days"),
    "365": _("1 year"),
    "730": _("2 years"),
    "never": _("never: until it is revoked"),
}
"""Days until a key expires."""


class KeySheet(Sheet):
    name = forms.CharField(
        label=_("Name"),
        max_length=80,
        help_text=_("Which system will use it, so that you know it again."),
    )
    organisation = forms.ModelChoiceField(
        Organisation.objects.none(),
        label=_("What it sees"),
        required=False,
        empty_label=_("all of the manufacturer's"),
    )
    days = forms.ChoiceField(label=_("Expires after"), choices=list(LIVES.items()), initial="365")
    scopes = forms.MultipleChoiceField(
        label=_("What for"),
        choices=Scope.choices,
        initial=Scope.values,
        widget=forms.CheckboxSelectMultiple,
    )

    def __init__(self, *args: Any, user: User, **more: Any) -> None:
        super().__init__(*args, **more)
        chooser = self.fields["organisation"]
        assert isinstance(chooser, forms.ModelChoiceField)
        chooser.queryset = organisations(for_user=user)

    def make(self, user: User, now: datetime) -> tuple[ApiKey, str] | None:
        """The key's record and the key; None where it was refused."""
        said = dict(self.cleaned_data)
        days = said.pop("days")
        expires_at = None if days == "never" else now + timedelta(days=int(days))
        return self.carry_out(
            operations.create_key, user=user, expires_at=expires_at, now=now, **said
        )


@for_staff(Permission.MANAGE_USERS)
def key_list(request: StaffRequest) -> HttpResponse:
    page = Paginator(queries.keys(for_user=request.user), PAGE).get_page(request.GET.get("page"))
    return render(request, "portal/keys.html", {"page_obj": page, "now": timezone.now()})


@for_staff(Permission.MANAGE_USERS)
def key_add(request: StaffRequest) -> HttpResponse:
    form = KeySheet(request.POST or None, user=request.user)
    if request.method == "POST" and form.is_valid():
        made = form.make(request.user, timezone.now())
        if made is not None:
            return _show_once(request, *made)
    return render(request, "portal/key_add.html", {"form": form})


def _show_once(request: StaffRequest, key: ApiKey, token: str) -> HttpResponse:
    context = {"key": key, "token": token, "snippet": _curl(request, token)}
    return render(request, "portal/key_made.html", context)


def _curl(request: StaffRequest, token: str) -> str:
    """Asks who the key is, which every key may."""
    address = request.build_absolute_uri(reverse("api:me"))
    return f"curl -sS -H 'Authorization: Bearer {token}' \\\n  {address}"


@for_staff(Permission.MANAGE_USERS)
@require_POST
def key_revoke(request: StaffRequest, pk: UUID) -> HttpResponse:
    key = queries.key_for(user=request.user, pk=pk)
    operations.revoke_key(user=request.user, key=key, now=timezone.now())
    messages.success(request, gettext("%(key)s is refused from now on.") % {"key": key.name})
    return redirect("portal:keys")
