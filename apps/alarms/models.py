"""Alarms, the numbered events of their stories, and the outbox of what must be told.

Three times are kept apart in every row: `measured_at` is the device's clock, `arrived_at` is when
the reading came, `judged_at` is when Ohmwatch stated it.
"""

from django.conf import settings
from django.core.validators import MinValueValidator
from django.db import models
from django.db.models import F, Q
from django.utils.translation import gettext_lazy as _

from apps.tenants.identifiers import new_id


class Severity(models.TextChoices):
    """By what a person should do: look at the next service, act within days, stop now."""

    NOTICE = "notice", _("Notice")
    WARNING = "warning", _("Warning")
    CRITICAL = "critical", _("Critical")

    @property
    def rank(self) -> int:
        """1 for a notice … 3 for critical, so that severities can be compared."""
        return list(Severity).index(self) + 1


class Pole(models.TextChoices):
    """The contact that shows it; empty where the condition is not of a pole."""

    NONE = "", _("—")
    POSITIVE = "pos", _("Positive")
    NEGATIVE = "neg", _("Negative")
    BOTH = "both", _("Both")


class State(models.TextChoices):
    OPEN = "open", _("Open")
    CLEARED = "cleared", _("Cleared")


class Kind(models.TextChoices):
    """What an event did to its alarm."""

    OPENED = "opened", _("Opened")
    REOPENED = "reopened", _("Opened again")
    WORSENED = "worsened", _("Worsened")
    EASED = "eased", _("Eased")
    EVIDENCE = "evidence", _("New evidence")
    ACKNOWLEDGED = "acknowledged", _("Acknowledged")
    NOTED = "noted", _("Note")
    INSPECTED = "inspected", _("Inspected")
    CLEARED = "cleared", _("Cleared")
    WITHDRAWN = "withdrawn", _("Withdrawn")


class Consumer(models.TextChoices):
    """Who must be told of an event: people, open browsers, the search index."""

    NOTIFY = "notify", "notify"
    LIVE = "live", "live"
    INDEX = "index", "index"


class OutboxState(models.TextChoices):
    DUE = "due", "due"
    SENDING = "sending", "sending"
    DONE = "done", "done"


class Judged(models.Model):
    """Who judged: the detector with its version, the rule with its version.

    Without a rule the detector's defaults judged; without a detector it is not known, or a person
    did it. Rules are never deleted, and a finding of one that were gone must not stop the others:
    so no constraint holds the key.
    """

    detector = models.CharField(_("detector"), max_length=80, blank=True, default="", db_default="")
    detector_version = models.CharField(max_length=40, blank=True, default="", db_default="")
    rule = models.ForeignKey(
        "warning.Rule",
        on_delete=models.DO_NOTHING,
        db_constraint=False,
        db_index=False,
        null=True,
        blank=True,
        related_name="+",
        verbose_name=_("rule"),
    )
    rule_version = models.PositiveIntegerField(_("version of the rule"), null=True, blank=True)

    class Meta:
        abstract = True


class Alarm(Judged):
    """One condition of one connector, from its first finding until it is over."""

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    connector = models.ForeignKey(
        "fleet.Connector",
        on_delete=models.PROTECT,
        related_name="alarms",
        verbose_name=_("connector"),
    )
    condition = models.CharField(_("condition"), max_length=80)
    pole = models.CharField(_("pole"), max_length=4, choices=Pole, blank=True, default="")
    severity = models.CharField(_("severity"), max_length=8, choices=Severity)
    state = models.CharField(_("state"), max_length=7, choices=State, default=State.OPEN)
    since = models.DateTimeField(_("since"), help_text=_("By the device's clock."))
    last_measured_at = models.DateTimeField(_("last measured"))
    opened_at = models.DateTimeField(_("opened"), help_text=_("When it was judged."))
    acknowledged_at = models.DateTimeField(_("acknowledged"), null=True, blank=True)
    acknowledged_by = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        on_delete=models.SET_NULL,
        null=True,
        blank=True,
        related_name="+",
        verbose_name=_("acknowledged by"),
    )
    cleared_at = models.DateTimeField(_("cleared"), null=True, blank=True)
    evidence = models.JSONField(_("evidence"), default=dict, blank=True)
    time_left_s = models.FloatField(_("time left, s"), null=True, blank=True)
    occurrences = models.PositiveIntegerField(
        _("occurrences"), default=1, validators=[MinValueValidator(1)]
    )
    # The highest severity that people were told of in this occurrence; empty: all was old news.
    told_severity = models.CharField(max_length=8, choices=Severity, blank=True, default="")

    class Meta:
        verbose_name = _("alarm")
        verbose_name_plural = _("alarms")
        ordering = ["-opened_at", "-id"]
        constraints = [
            models.UniqueConstraint(
                fields=["connector", "condition"],
                condition=Q(state="open"),
                name="one_open_alarm_per_condition",
            ),
            models.CheckConstraint(
                condition=Q(severity__in=["notice", "warning", "critical"]),
                name="alarm_severity_known",
            ),
            models.CheckConstraint(
                condition=Q(pole__in=["", "pos", "neg", "both"]), name="alarm_pole_known"
            ),
            models.CheckConstraint(
                condition=Q(state="open", cleared_at__isnull=True)
                | Q(state="cleared", cleared_at__isnull=False),
                name="alarm_cleared_has_its_time",
            ),
            models.CheckConstraint(
                condition=Q(last_measured_at__gte=F("since")), name="alarm_times_in_order"
            ),
        ]
        indexes = [
            models.Index(fields=["connector", "-opened_at"]),
            models.Index(fields=["-opened_at"], condition=Q(state="open"), name="alarms_open"),
        ]

    def __str__(self) -> str:
        return f"{self.condition} ({self.severity})"


class EventCounter(models.Model):
    """The last event number given out: one row a tenant.

    Whoever writes events locks it first and holds it until the commit. So numbers have no gaps,
    appear in their order, and alarms of a tenant have one writer at a time.
    """

    id = models.PositiveSmallIntegerField(primary_key=True, default=1)
    last = models.BigIntegerField(default=0)

    class Meta:
        constraints = [
            models.CheckConstraint(condition=Q(id=1), name="one_event_counter"),
        ]


class AlarmEvent(Judged):
    """One step of an alarm's story, for a named reason; never changed once written."""

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    number = models.BigIntegerField(_("number"), unique=True)
    alarm = models.ForeignKey(
        Alarm, on_delete=models.PROTECT, related_name="events", verbose_name=_("alarm")
    )
    kind = models.CharField(_("kind"), max_length=12, choices=Kind)
    severity = models.CharField(_("severity"), max_length=8, choices=Severity)
    reason = models.CharField(_("reason"), max_length=80)
    measured_at = models.DateTimeField(_("measured"), null=True, blank=True)
    arrived_at = models.DateTimeField(_("arrived"), null=True, blank=True)
    judged_at = models.DateTimeField(_("judged"))
    evidence = models.JSONField(_("evidence"), default=dict, blank=True)
    actor = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        on_delete=models.SET_NULL,
        null=True,
        blank=True,
        related_name="+",
        verbose_name=_("by"),
    )
    note = models.TextField(_("note"), blank=True, default="", max_length=2000)
    # Measured so long before it was judged that it woke nobody.
    old_news = models.BooleanField(default=False)
    # What late readings have shown to be otherwise: this stands in its place, or withdraws it.
    corrects = models.OneToOneField(
        "self", on_delete=models.PROTECT, null=True, blank=True, related_name="corrected_by"
    )

    class Meta:
        verbose_name = _("alarm event")
        verbose_name_plural = _("alarm events")
        ordering = ["number"]
        constraints = [
            models.CheckConstraint(
                condition=Q(severity__in=["notice", "warning", "critical"]),
                name="event_severity_known",
            ),
            models.CheckConstraint(condition=Q(number__gte=1), name="event_number_positive"),
        ]
        indexes = [models.Index(fields=["alarm", "number"])]

    def __str__(self) -> str:
        return f"#{self.number} {self.kind}"


class Outbox(models.Model):
    """An event that one consumer has still to be told of, written with the event itself."""

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    event = models.ForeignKey(AlarmEvent, on_delete=models.CASCADE, related_name="outbox")
    consumer = models.CharField(max_length=6, choices=Consumer)
    state = models.CharField(max_length=7, choices=OutboxState, default=OutboxState.DUE)
    attempt = models.PositiveIntegerField(default=0)
    leased_until = models.DateTimeField(null=True, blank=True)

    class Meta:
        verbose_name = "outbox entry"
        verbose_name_plural = "outbox"
        constraints = [
            models.UniqueConstraint(fields=["event", "consumer"], name="one_entry_per_consumer"),
        ]
        indexes = [
            models.Index(
                fields=["consumer", "leased_until"],
                condition=~Q(state="done"),
                name="outbox_undone",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.consumer} {self.state}"


class Outcome(models.TextChoices):
    """What was found by who looked."""

    FAULT = "fault", _("A fault was found")
    NOTHING = "nothing", _("Nothing was found")
    UNCLEAR = "unclear", _("It could not be told")


class Cause(models.TextChoices):
    """What kind of fault it was."""

    TERMINAL_LOOSE = "terminal_loose", _("Terminal loose")
    CONTACT_WORN = "contact_worn", _("Contact worn or without tension")
    CONTACT_CORRODED = "contact_corroded", _("Contact corroded or burnt")
    COOLING = "cooling", _("Cooling failed")
    INSULATION = "insulation", _("Insulation damaged or wet")
    INTERLOCK = "interlock", _("Interlock faulty")
    SENSOR = "sensor", _("Sensor or its wiring faulty")
    OTHER = "other", _("Something else")


class Inspection(models.Model):
    """Ground truth: what a person found at a connector, about an alarm or without one.

    Never changed once written. Of several about one alarm the newest counts.
    """

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    connector = models.ForeignKey(
        "fleet.Connector",
        on_delete=models.PROTECT,
        related_name="inspections",
        verbose_name=_("connector"),
    )
    alarm = models.ForeignKey(
        Alarm,
        on_delete=models.PROTECT,
        null=True,
        blank=True,
        related_name="inspections",
        verbose_name=_("alarm"),
        help_text=_("Empty: a fault of which nobody was warned."),
    )
    outcome = models.CharField(_("what was found"), max_length=8, choices=Outcome)
    cause = models.CharField(_("cause"), max_length=16, choices=Cause, blank=True, default="")
    pole = models.CharField(_("pole"), max_length=4, choices=Pole, blank=True, default="")
    resistance_uohm = models.FloatField(_("resistance measured, µΩ"), null=True, blank=True)
    text = models.TextField(_("in words"), blank=True, default="", max_length=2000)
    found_at = models.DateTimeField(_("found"))
    entered_at = models.DateTimeField(_("entered"))
    entered_by = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        on_delete=models.SET_NULL,
        null=True,
        blank=True,
        related_name="+",
        verbose_name=_("by"),
    )

    class Meta:
        verbose_name = _("inspection")
        verbose_name_plural = _("inspections")
        ordering = ["-entered_at", "-id"]
        constraints = [
            models.CheckConstraint(
                condition=Q(outcome__in=["fault", "nothing", "unclear"]),
                name="inspection_outcome_known",
            ),
            models.CheckConstraint(
                condition=Q(outcome="fault") | Q(cause=""), name="inspection_cause_of_a_fault"
            ),
            models.CheckConstraint(
                condition=Q(outcome="fault") | Q(alarm__isnull=False),
                name="inspection_without_alarm_is_a_fault",
            ),
            models.CheckConstraint(
                condition=Q(resistance_uohm__isnull=True) | Q(resistance_uohm__gt=0),
                name="inspection_resistance_positive",
            ),
        ]
        indexes = [models.Index(fields=["connector", "-found_at"])]

    def __str__(self) -> str:
        return f"{self.outcome} {self.cause}".rstrip()
