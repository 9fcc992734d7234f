"""Devices: who reports, on which channels, with which credentials."""

from uuid import UUID

from django import forms
from django.contrib import messages
from django.core.paginator import Paginator
from django.db.models import Q
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.utils import timezone
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _
from django.views.decorators.http import require_POST

from apps.accounts.models import User
from apps.accounts.permissions import Permission
from apps.devices import operations, queries
from apps.devices.clocks import with_wrong_clock
from apps.devices.models import Channel, Codec, Device, DeviceState
from apps.devices.operations import Enrolled, identity_of
from apps.devices.trial import publish_command
from apps.fleet.models import Connector
from apps.fleet.queries import connectors
from apps.portal.people import StaffRequest, for_staff
from apps.portal.sheets import Sheet
from apps.telemetry.answers import QuarantinePage, State
from apps.telemetry.errors import TelemetryError
from apps.telemetry.tenant import TenantTelemetry

PAGE = 50


class DeviceSheet(Sheet):
    identifier = forms.CharField(
        label=_("Identifier"),
        max_length=64,
        help_text=_(
            "Letters, digits, - and _. With the manufacturer's name before it, it is the "
            "MQTT user name and client id."
        ),
    )
    label = forms.CharField(label=_("Label"), max_length=80, required=False)
    codec = forms.ChoiceField(label=_("Payload"), choices=Codec.choices, required=False)


class ChannelSheet(Sheet):
    number = forms.IntegerField(label=_("Channel"), min_value=0, max_value=63)
    serial = forms.CharField(label=_("Serial number of the connector"), max_length=64)

    def connector_for(self, user: User) -> Connector | None:
        """The connector named; None, with an error at the field, where there is none."""
        serial = self.cleaned_data["serial"].strip()
        found = connectors(for_user=user).filter(serial=serial).first()
        if found is None:
            self.add_error("serial", _("No connector has this serial number: add it first."))
        return found


@for_staff()
def device_list(request: StaffRequest) -> HttpResponse:
    found = queries.devices(for_user=request.user)
    search, shown = request.GET.get("q", "").strip(), request.GET.get("show", "")
    if search:
        found = found.filter(Q(identifier__icontains=search) | Q(label__icontains=search))
    if shown in ("online", "offline"):
        found = found.filter(online=shown == "online", state=DeviceState.ENABLED)
    elif shown == "clock":
        found = with_wrong_clock(found)
    elif shown == "disabled":
        found = found.filter(state=DeviceState.DISABLED)
    page = Paginator(found, PAGE).get_page(request.GET.get("page"))
    context = {"page_obj": page, "search": search, "shown": shown, "tabs": TABS.items()}
    return render(request, "portal/devices.html", context)


TABS = {
    "": _("All"),
    "online": _("Online"),
    "offline": _("Offline"),
    "disabled": _("Disabled"),
    "clock": _("Wrong clock"),
}


@for_staff()
def device_page(request: StaffRequest, pk: UUID) -> HttpResponse:
    device = queries.device_for(user=request.user, pk=pk)
    return _device_page(request, device, ChannelSheet())


def _device_page(request: StaffRequest, device: Device, form: ChannelSheet) -> HttpResponse:
    channels = list(device.channels.select_related("connector__vehicle", "connector__model"))
    states, refused = _heard_of(device, channels, TenantTelemetry(request.tenant.slug))
    first = channels[0].number if channels else 0
    context = {
        "device": device,
        "identity": identity_of(device),
        "channels": [(each, states.get(str(each.connector_id))) for each in channels],
        "refused": refused,
        "form": form,
        "may_enrol": request.user.can(Permission.ENROL_DEVICE),
        "snippet": publish_command(device, number=first),
        "heard": any(state.measured_ms for state in states.values()),
    }
    return render(request, "portal/device.html", context)


def _heard_of(
    device: Device, channels: list[Channel], telemetry: TenantTelemetry
) -> tuple[dict[str, State], QuarantinePage | None]:
    try:
        states = telemetry.latest([each.connector_id for each in channels])
        return states, telemetry.quarantine(device=device.identifier, size=5)
    except TelemetryError:
        return {}, None


@for_staff(Permission.ENROL_DEVICE)
def device_add(request: StaffRequest) -> HttpResponse:
    form = DeviceSheet(request.POST or None)
    if request.method == "POST" and form.is_valid():
        enrolled = form.carry_out(operations.enrol_device, now=timezone.now(), **form.cleaned_data)
        if enrolled:
            return _credentials(request, enrolled)
    return render(request, "portal/device_add.html", {"form": form})


@for_staff(Permission.ENROL_DEVICE)
@require_POST
def device_password(request: StaffRequest, pk: UUID) -> HttpResponse:
    device = queries.device_for(user=request.user, pk=pk)
    return _credentials(request, operations.rotate_password(device=device))


def _credentials(request: StaffRequest, enrolled: Enrolled) -> HttpResponse:
    """Shown once, in the answer itself: the password is kept nowhere, so no page can repeat it."""
    snippet = publish_command(enrolled.device, password=enrolled.password)
    context = {"enrolled": enrolled, "snippet": snippet}
    return render(request, "portal/device_credentials.html", context)


@for_staff(Permission.ENROL_DEVICE)
@require_POST
def device_state(request: StaffRequest, pk: UUID) -> HttpResponse:
    """Enables or disables: POST `state`."""
    device = queries.device_for(user=request.user, pk=pk)
    if request.POST.get("state") == DeviceState.DISABLED:
        operations.disable_device(device=device)
        messages.success(request, gettext("Disabled. It can't sign in any more."))
    else:
        operations.enable_device(device=device)
        messages.success(request, gettext("Enabled. It may sign in within seconds."))
    return redirect("portal:device", pk=pk)


@for_staff(Permission.ENROL_DEVICE)
@require_POST
def channel_map(request: StaffRequest, pk: UUID) -> HttpResponse:
    device = queries.device_for(user=request.user, pk=pk)
    form = ChannelSheet(request.POST)
    if form.is_valid() and (connector := form.connector_for(request.user)):
        number = form.cleaned_data["number"]
        done = form.carry_out(
            operations.map_channel, device=device, number=number, connector=connector
        )
        if done:
            messages.success(
                request, gettext("Mapped. Readings of the channel are this one's now.")
            )
            return redirect("portal:device", pk=pk)
    return _device_page(request, device, form)


@for_staff(Permission.ENROL_DEVICE)
@require_POST
def channel_unmap(request: StaffRequest, pk: UUID, number: int) -> HttpResponse:
    device = queries.device_for(user=request.user, pk=pk)
    operations.unmap_channel(device=device, number=number)
    messages.success(request, gettext("Unmapped. What the channel still reports is quarantined."))
    return redirect("portal:device", pk=pk)
