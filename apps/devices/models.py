"""MQTT clients and which of their channels watches which connector."""

from django.db import models
from django.db.models import Q
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from apps.fleet.models import Connector
from apps.tenants.identifiers import new_id

IDENTIFIER_PATTERN = r"^[A-Za-z0-9_-]{1,64}$"
CHANNEL_LIMIT = 64


class DeviceState(models.TextChoices):
    ENABLED = "enabled", _("enabled")
    DISABLED = "disabled", _("disabled")


class Codec(models.TextChoices):
    GUESSED = "", _("by content type or first byte")
    JSON = "json", "JSON"
    CBOR = "cbor", "CBOR"


class ClockState(models.TextChoices):
    UNKNOWN = "", _("not known yet")
    RIGHT = "right", _("right")
    AHEAD = "ahead", _("ahead")
    BEHIND = "behind", _("behind")
    UNCLEAR = "unclear", _("can't be told: its readings come late")


class Device(models.Model):
    """A telematics unit, a battery controller, a gateway; on the wire `<tenant>.<identifier>`."""

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    identifier = models.CharField(_("identifier"), max_length=64, unique=True)
    label = models.CharField(_("label"), max_length=80, blank=True, default="")
    state = models.CharField(
        _("state"), max_length=10, choices=DeviceState.choices, default=DeviceState.ENABLED
    )
    codec = models.CharField(
        _("codec"), max_length=10, choices=Codec.choices, blank=True, default=Codec.GUESSED
    )
    password_hash = models.CharField(max_length=160, editable=False)
    firmware = models.CharField(_("firmware"), max_length=60, blank=True, default="")
    online = models.BooleanField(_("online"), default=False)
    last_seen_at = models.DateTimeField(_("last seen"), null=True, blank=True)
    clock_state = models.CharField(
        _("clock"), max_length=10, choices=ClockState.choices, blank=True, default="", db_default=""
    )
    clock_offset_ms = models.BigIntegerField(null=True, blank=True, help_text="its less ours")
    clock_delay_ms = models.BigIntegerField(null=True, blank=True)
    clock_judged_at = models.DateTimeField(null=True, blank=True)
    created_at = models.DateTimeField(default=timezone.now, editable=False)

    class Meta:
        ordering = ["identifier"]
        constraints = [
            models.CheckConstraint(
                name="device_identifier_format",
                condition=Q(identifier__regex=IDENTIFIER_PATTERN),
            ),
            models.CheckConstraint(
                name="device_state_known", condition=Q(state__in=DeviceState.values)
            ),
            models.CheckConstraint(name="device_codec_known", condition=Q(codec__in=Codec.values)),
            models.CheckConstraint(
                name="device_clock_known", condition=Q(clock_state__in=ClockState.values)
            ),
            models.CheckConstraint(
                name="device_password_is_hashed",
                condition=Q(password_hash__regex=r"^\$7\$"),  # noqa: S106 - a pattern, no secret
            ),
        ]

    def __str__(self) -> str:
        return self.identifier

    @property
    def has_wrong_clock(self) -> bool:
        return self.clock_state in (ClockState.AHEAD, ClockState.BEHIND)

    @property
    def clock_error_s(self) -> float:
        """How far the clock is off, either way."""
        return abs(self.clock_offset_ms or 0) / 1000


class Channel(models.Model):
    """One measuring channel of a device; a connector is watched by at most one."""

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    device = models.ForeignKey(Device, on_delete=models.CASCADE, related_name="channels")
    number = models.PositiveSmallIntegerField(_("channel"))
    connector = models.OneToOneField(Connector, on_delete=models.PROTECT, related_name="channel")

    class Meta:
        ordering = ["device", "number"]
        constraints = [
            models.UniqueConstraint(fields=["device", "number"], name="channel_number_unique"),
            models.CheckConstraint(
                name="channel_number_range",
                condition=Q(number__gte=0, number__lt=CHANNEL_LIMIT),
            ),
        ]

    def __str__(self) -> str:
        return f"{self.device}/{self.number}"
