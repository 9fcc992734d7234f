"""Contacts: who is told of alarms, on which way, in which language, and whether it works.

One set of pages for everybody: an owner keeps their organisation's, a driver their own, the
manufacturer's people those of their own house, and see who is told at the organisations.
"""

from typing import Any
from uuid import UUID
from zoneinfo import available_timezones

from django import forms
from django.conf import settings
from django.contrib import messages
from django.core.exceptions import ValidationError
from django.core.paginator import Paginator
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.utils import timezone
from django.utils.translation import get_language, gettext, ngettext
from django.utils.translation import gettext_lazy as _
from django.views.decorators.http import require_POST

from apps.accounts.models import Organisation, User
from apps.accounts.permissions import Permission
from apps.accounts.queries import organisations, users
from apps.console.people import PersonRequest, for_people
from apps.notifications import addressbook, queries
from apps.notifications.addressbook import NotNow, WrongCode
from apps.notifications.budget import sms_of_the_day
from apps.notifications.channel import Answer
from apps.notifications.models import Contact
from apps.notifications.registry import channels
from config.words import channel_word

PAGE = 50
DELIVERIES = 20
TABS = {"own": _("Our own"), "organisations": _("Of organisations"), "": _("All")}


def _zones() -> list[tuple[str, str]]:
    named = sorted(zone for zone in available_timezones() if "/" in zone)
    return [(zone, zone) for zone in ["UTC", *(z for z in named if not z.startswith("Etc/"))]]


class ContactForm(forms.Form):
    """What is said to a contact, and how."""

    name = forms.CharField(label=_("Name"), max_length=120)
    minimum_severity = forms.ChoiceField(
        label=_("Told about"), choices=Contact.MinimumSeverity.choices, initial="warning"
    )
    language = forms.ChoiceField(label=_("Language"), choices=settings.LANGUAGES)
    timezone = forms.ChoiceField(
        label=_("Time zone"), choices=_zones, help_text=_("Times in messages are written in it.")
    )


class NewContactForm(ContactForm):
    field_order = ("kind", "address", "name", "organisation", "person", "minimum_severity")

    kind = forms.ChoiceField(label=_("Channel"))
    address = forms.CharField(
        label=_("Address"),
        max_length=254,
        help_text=_("An email address, or a phone number with its country code: +49 …"),
    )
    organisation = forms.ModelChoiceField(
        Organisation.objects.none(),
        label=_("Organisation"),
        required=False,
        empty_label=_("none: our own staff"),
        help_text=_("Told of its vehicles only; our own staff of all."),
    )
    person = forms.ModelChoiceField(
        User.objects.none(),
        label=_("Whose address it is"),
        required=False,
        empty_label=_("nobody's: a shared one"),
        help_text=_("Messages to a person end when their access does."),
    )

    def __init__(self, *args: Any, user: User, **more: Any) -> None:
        super().__init__(*args, **more)
        ready = [kind for kind, channel in channels().items() if channel.is_ready()]
        self._choose("kind").choices = [(kind, channel_word(kind)) for kind in ready]
        self._rows("organisation").queryset = organisations(for_user=user)
        self._rows("person").queryset = users(for_user=user).filter(is_active=True)
        if not user.can(Permission.MANAGE_USERS):
            del self.fields["organisation"]
        if not _may_add_for_others(user):
            del self.fields["person"]

    def _choose(self, name: str) -> forms.ChoiceField:
        field = self.fields[name]
        assert isinstance(field, forms.ChoiceField)
        return field

    def _rows(self, name: str) -> forms.ModelChoiceField:
        field = self.fields[name]
        assert isinstance(field, forms.ModelChoiceField)
        return field

    def add(self, user: User) -> Contact | None:
        """The contact made of it; None where it was refused, with the reasons at their fields."""
        said = {"organisation": user.organisation, "person": user, **self.cleaned_data}
        try:
            return addressbook.add_contact(user=user, **said)
        except ValidationError as refusal:
            self.add_error(None, refusal)
            return None


def _may_add_for_others(user: User) -> bool:
    return addressbook.may_add(user, organisation=user.organisation, person=None)


@for_people
def contact_list(request: PersonRequest) -> HttpResponse:
    user = request.user
    found = queries.contacts(for_user=user)
    staff = user.is_staff_of_tenant
    tab = request.GET.get("of", "own") if staff else ""
    if staff and tab in ("own", "organisations"):
        found = found.filter(organisation__isnull=tab == "own")
    page = Paginator(found, PAGE).get_page(request.GET.get("page"))
    last = queries.last_deliveries(page.object_list)
    context: dict[str, Any] = {
        "page_obj": page,
        "rows": [(contact, last.get(contact.pk)) for contact in page],
        "tab": tab,
        "tabs": TABS.items() if staff else (),
    }
    if staff:
        context["sms"] = sms_of_the_day(request.tenant, now=timezone.now())
    return render(request, "console/contacts.html", context)


@for_people
def contact_add(request: PersonRequest) -> HttpResponse:
    user = request.user
    initial = {
        "name": user.get_full_name() or user.username,
        "address": user.email,
        "person": user.pk,
        "language": get_language() or user.language,
        "timezone": user.timezone,
    }
    form = NewContactForm(request.POST or None, user=user, initial=initial)
    if request.method == "POST" and form.is_valid() and (contact := form.add(user)):
        _ask_for_code(request, contact)
        return redirect("console:contact", pk=contact.pk)
    return render(request, "console/contact_add.html", {"form": form})


@for_people
def contact_page(request: PersonRequest, pk: UUID) -> HttpResponse:
    contact = queries.contact_for(user=request.user, pk=pk)
    if request.method != "POST":
        return _contact_page(request, contact, ContactForm(initial=_settings_of(contact)))
    form = ContactForm(request.POST)
    if form.is_valid():
        try:
            addressbook.change_contact(user=request.user, contact=contact, **form.cleaned_data)
        except ValidationError as refusal:
            form.add_error(None, refusal)
        else:
            messages.success(request, gettext("Saved. The next message goes out like that."))
            return redirect("console:contact", pk=pk)
    return _contact_page(request, contact, form)


def _settings_of(contact: Contact) -> dict[str, str]:
    return {name: getattr(contact, name) for name in ContactForm.base_fields}


def _contact_page(request: PersonRequest, contact: Contact, form: ContactForm) -> HttpResponse:
    code = getattr(contact, "code", None)
    deliveries = queries.deliveries_to(for_user=request.user, contact=contact)
    context = {
        "contact": contact,
        "form": form,
        "deliveries": deliveries[:DELIVERIES],
        "may_manage": addressbook.may_manage(request.user, contact),
        "code": code if code is not None and code.expires_at > timezone.now() else None,
        "digits": addressbook.CODE_DIGITS,
    }
    return render(request, "console/contact.html", context)


@for_people
@require_POST
def contact_code(request: PersonRequest, pk: UUID) -> HttpResponse:
    """Sends a new code: at the beginning, again, or to switch the contact on again."""
    contact = queries.contact_for(user=request.user, pk=pk)
    _ask_for_code(request, contact)
    return redirect("console:contact", pk=pk)


@for_people
@require_POST
def contact_verify(request: PersonRequest, pk: UUID) -> HttpResponse:
    """POST `code`."""
    contact = queries.contact_for(user=request.user, pk=pk)
    code = request.POST.get("code", "")[:40]
    try:
        addressbook.verify(user=request.user, contact=contact, code=code, now=timezone.now())
    except WrongCode as wrong:
        messages.error(request, _why_wrong(wrong))
    else:
        messages.success(request, gettext("Proved. Alarms are told here from now on."))
    return redirect("console:contact", pk=pk)


@for_people
@require_POST
def contact_test(request: PersonRequest, pk: UUID) -> HttpResponse:
    """Sends a test message, and shows what the mail server or gateway answered."""
    contact = queries.contact_for(user=request.user, pk=pk)
    try:
        answer = addressbook.send_test(user=request.user, contact=contact, now=timezone.now())
    except NotNow as full:
        messages.error(request, _why_not_now(full))
    except ValidationError as refusal:
        messages.error(request, " ".join(refusal.messages))
    else:
        done = gettext("Test message handed over; whether it arrived, only you can see.")
        _show(request, answer, done=done)
    return redirect("console:contact", pk=pk)


@for_people
@require_POST
def contact_remove(request: PersonRequest, pk: UUID) -> HttpResponse:
    contact = queries.contact_for(user=request.user, pk=pk)
    addressbook.remove_contact(user=request.user, contact=contact, now=timezone.now())
    messages.success(request, gettext("%(name)s is told nothing more.") % {"name": contact.name})
    return redirect("console:contacts")


def _ask_for_code(request: PersonRequest, contact: Contact) -> None:
    try:
        answer = addressbook.send_code(user=request.user, contact=contact, now=timezone.now())
    except NotNow as full:
        messages.error(request, _why_not_now(full))
        return
    except ValidationError as refusal:
        messages.error(request, " ".join(refusal.messages))
        return
    done = gettext("A code is on its way to %(address)s.") % {"address": contact.address}
    _show(request, answer, done=done)


def _show(request: PersonRequest, answer: Answer, *, done: str) -> None:
    said = gettext("The other side said: %(words)s") % {"words": answer.words}
    if answer.accepted:
        messages.success(request, f"{done} {said}")
    else:
        messages.error(request, f"{gettext('It was not taken.')} {said}")


def _why_not_now(full: NotNow) -> str:
    minutes = max(1, round(full.wait_s / 60))
    return ngettext(
        "That is often enough for now. Try again in %(count)d minute.",
        "That is often enough for now. Try again in %(count)d minutes.",
        minutes,
    ) % {"count": minutes}


def _why_wrong(wrong: WrongCode) -> str:
    if not wrong.tries_left:
        return gettext("This code is used up or too old: ask for a new one.")
    return ngettext(
        "That is not the code. %(count)d try is left.",
        "That is not the code. %(count)d tries are left.",
        wrong.tries_left,
    ) % {"count": wrong.tries_left}
