"""Contacts, and a delivery for each message that a contact must get: the row is the queue."""

from zoneinfo import available_timezones

from django.conf import settings
from django.core.exceptions import ValidationError
from django.db import models
from django.db.models import F, Q
from django.utils.translation import gettext_lazy as _

from apps.tenants.identifiers import new_id


def validate_timezone(name: str) -> None:
    """Raises ValidationError unless `name` is an IANA zone, as Asia/Shanghai is."""
    if name not in available_timezones():
        raise ValidationError(_("There is no such time zone."))


class Contact(models.Model):
    """An address of somebody who can act. Without an organisation: the manufacturer's own staff.

    One that was removed keeps its row, for the alarms' stories say who was told; its address goes.
    """

    class MinimumSeverity(models.TextChoices):
        NOTICE = "notice", _("Everything")
        WARNING = "warning", _("Warning and critical")
        CRITICAL = "critical", _("Critical only")

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    kind = models.CharField(
        _("channel"), max_length=40, help_text=_("email, sms, or a channel that was added.")
    )
    address = models.CharField(_("address"), max_length=254)
    name = models.CharField(_("name"), max_length=120)
    language = models.CharField(
        _("language"), max_length=10, choices=settings.LANGUAGES, default=settings.LANGUAGE_CODE
    )
    timezone = models.CharField(
        _("time zone"), max_length=64, default="UTC", validators=[validate_timezone]
    )
    organisation = models.ForeignKey(
        "accounts.Organisation",
        on_delete=models.CASCADE,
        null=True,
        blank=True,
        related_name="contacts",
        verbose_name=_("organisation"),
        help_text=_("Empty: the manufacturer's staff, told about every connector."),
    )
    user = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        on_delete=models.CASCADE,
        null=True,
        blank=True,
        related_name="contacts",
        verbose_name=_("user"),
    )
    minimum_severity = models.CharField(
        _("told about"),
        max_length=8,
        choices=MinimumSeverity,
        default=MinimumSeverity.WARNING,
    )
    verified_at = models.DateTimeField(_("verified"), null=True, blank=True)
    failures = models.PositiveSmallIntegerField(default=0, editable=False)
    disabled_at = models.DateTimeField(_("switched off"), null=True, blank=True)
    disabled_reason = models.CharField(max_length=200, blank=True, default="")
    removed_at = models.DateTimeField(null=True, blank=True, editable=False)

    class Meta:
        verbose_name = _("contact")
        verbose_name_plural = _("contacts")
        ordering = ["name", "kind"]
        constraints = [
            models.UniqueConstraint(
                fields=["kind", "address", "organisation"],
                nulls_distinct=False,
                condition=Q(removed_at__isnull=True),
                name="one_contact_per_address",
                violation_error_message=_("This address is among the contacts already."),
            ),
            models.CheckConstraint(
                condition=Q(removed_at__isnull=True) | Q(address="", disabled_at__isnull=False),
                name="contact_removed_has_no_address",
            ),
            models.CheckConstraint(
                condition=Q(minimum_severity__in=["notice", "warning", "critical"]),
                name="contact_severity_known",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.name} ({self.kind})"


class ContactCode(models.Model):
    """The code that was last sent to prove a contact's address; gone once it was used.

    Eight digits can be guessed from any hash of them alone, so the hash is keyed.
    """

    contact = models.OneToOneField(
        Contact, on_delete=models.CASCADE, primary_key=True, related_name="code"
    )
    code_hash = models.CharField(max_length=64, editable=False)
    sent_at = models.DateTimeField()
    expires_at = models.DateTimeField()
    tries = models.PositiveSmallIntegerField(default=0)

    def __str__(self) -> str:
        return f"code of {self.contact_id}"


class Delivery(models.Model):
    """One contact to be told about one alarm event.

    Deliveries that go out in one message share a `lead`, fixed when they are claimed: the lead's
    id is the idempotency key, so that a repeat after a crash says the same under the same key.
    """

    class State(models.TextChoices):
        DUE = "due", _("Waiting")
        SENDING = "sending", _("Being sent")
        SENT = "sent", _("Accepted by the channel")
        FAILED = "failed", _("Refused")
        ABANDONED = "abandoned", _("Given up")

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    contact = models.ForeignKey(Contact, on_delete=models.CASCADE, related_name="deliveries")
    event = models.ForeignKey(
        "alarms.AlarmEvent", on_delete=models.PROTECT, related_name="deliveries"
    )
    lead = models.ForeignKey(
        "self", on_delete=models.SET_NULL, null=True, blank=True, related_name="members"
    )
    channel = models.CharField(_("channel"), max_length=40)
    state = models.CharField(_("state"), max_length=9, choices=State, default=State.DUE)
    attempt = models.PositiveIntegerField(_("attempt"), default=0)
    leased_until = models.DateTimeField(null=True, blank=True)
    due_at = models.DateTimeField(_("due"))
    sent_at = models.DateTimeField(_("sent"), null=True, blank=True)
    receipt = models.CharField(_("receipt"), max_length=200, blank=True, default="")
    error = models.CharField(_("error"), max_length=500, blank=True, default="")

    class Meta:
        verbose_name = _("delivery")
        verbose_name_plural = _("deliveries")
        ordering = ["-due_at"]
        constraints = [
            models.UniqueConstraint(fields=["contact", "event"], name="one_delivery_per_event"),
            models.CheckConstraint(
                condition=Q(state__in=["due", "sending", "sent", "failed", "abandoned"]),
                name="delivery_state_known",
            ),
            models.CheckConstraint(
                condition=~Q(state="sent") | Q(sent_at__isnull=False),
                name="delivery_sent_has_its_time",
            ),
        ]
        indexes = [
            models.Index(
                fields=["due_at"],
                condition=Q(state__in=["due", "sending"]),
                name="deliveries_undone",
            ),
            models.Index(
                fields=["contact", "-sent_at"],
                condition=Q(lead=F("id")),
                name="messages_of_a_contact",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.channel} {self.state}"
