"""Rules and their versions, what shadows would have raised, and back-tests.

A tenant without a single row is watched by every detector with the ratings' defaults.
"""

from django.conf import settings
from django.db import models
from django.db.models import F, Q
from django.utils.translation import gettext_lazy as _

from apps.tenants.identifiers import new_id
from ohmwatch import rules as core


class Mode(models.TextChoices):
    """What a rule does; see ohmwatch.rules.Mode."""

    LIVE = core.Mode.LIVE.value, _("In force")
    SHADOW = core.Mode.SHADOW.value, _("In shadow")
    OFF = core.Mode.OFF.value, _("Switches the detector off")
    DISABLED = core.Mode.DISABLED.value, _("Disabled")


class RuleContent(models.Model):
    """What a rule says: the same fields in the rule as it is and in each of its versions.

    `selection` is {dimension: [values]}, `parameters` {name: number}, `severities`
    {severity stated: severity meant, or "none"}.
    """

    name = models.CharField(_("name"), max_length=120)
    mode = models.CharField(
        _("what it does"), max_length=8, choices=Mode, default=Mode.LIVE, db_default=Mode.LIVE
    )
    share_pct = models.FloatField(_("share of the connectors"), default=100.0, db_default=100.0)
    selection = models.JSONField(_("selection"), default=dict, db_default={}, blank=True)
    parameters = models.JSONField(_("parameters"), default=dict, blank=True)
    severities = models.JSONField(_("severities"), default=dict, db_default={}, blank=True)

    class Meta:
        abstract = True


class Rule(RuleContent):
    """Changes one detector for the connectors that it selects. Removed ones stay readable."""

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    detector = models.CharField(_("detector"), max_length=80)
    version = models.PositiveIntegerField(_("version"), default=1, editable=False)
    removed_at = models.DateTimeField(_("removed"), null=True, blank=True, editable=False)

    class Meta:
        verbose_name = _("rule")
        verbose_name_plural = _("rules")
        ordering = ["detector", "name"]
        constraints = [
            models.UniqueConstraint(
                fields=["name"], condition=Q(removed_at__isnull=True), name="one_rule_of_a_name"
            ),
            models.CheckConstraint(
                condition=Q(share_pct__gte=0, share_pct__lte=100), name="rule_share_is_a_percentage"
            ),
        ]

    def __str__(self) -> str:
        return self.name


class Change(models.TextChoices):
    """How a version came about."""

    MADE = "made", _("Made")
    CHANGED = "changed", _("Changed")
    TAKEN_BACK = "taken_back", _("Taken back")
    IMPORTED = "imported", _("Imported from a file")
    REMOVED = "removed", _("Removed")


class RuleVersion(RuleContent):
    """A rule as it once was; never changed once written. Findings and alarms name it."""

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    rule = models.ForeignKey(Rule, on_delete=models.CASCADE, related_name="versions")
    number = models.PositiveIntegerField(_("version"))
    change = models.CharField(_("change"), max_length=10, choices=Change)
    changed_at = models.DateTimeField(_("changed"))
    changed_by = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        on_delete=models.SET_NULL,
        null=True,
        blank=True,
        related_name="+",
        verbose_name=_("by"),
    )
    # Of a version that was taken back to: which one.
    restores = models.PositiveIntegerField(null=True, blank=True)

    class Meta:
        verbose_name = _("version of a rule")
        verbose_name_plural = _("versions of rules")
        ordering = ["rule", "-number"]
        constraints = [
            models.UniqueConstraint(fields=["rule", "number"], name="one_version_of_a_number"),
        ]

    def __str__(self) -> str:
        return f"{self.name} {self.number}"


class ShadowAlarm(models.Model):
    """What a rule in shadow would have raised: counted and kept, told to nobody.

    It opens, worsens and ends by the same decisions as an alarm.
    """

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    rule = models.ForeignKey(Rule, on_delete=models.CASCADE, related_name="shadow_alarms")
    rule_version = models.PositiveIntegerField(_("version"))
    connector = models.ForeignKey(
        "fleet.Connector", on_delete=models.CASCADE, related_name="shadow_alarms"
    )
    condition = models.CharField(_("condition"), max_length=80)
    pole = models.CharField(_("pole"), max_length=4, blank=True, default="")
    severity = models.CharField(_("severity"), max_length=8)
    worst_severity = models.CharField(_("worst severity"), max_length=8)
    since = models.DateTimeField(_("since"))
    last_measured_at = models.DateTimeField(_("last measured"))
    opened_at = models.DateTimeField(_("opened"))
    ended_at = models.DateTimeField(_("ended"), null=True, blank=True)
    occurrences = models.PositiveIntegerField(_("occurrences"), default=1)
    evidence = models.JSONField(_("evidence"), default=dict, blank=True)

    class Meta:
        verbose_name = _("alarm in shadow")
        verbose_name_plural = _("alarms in shadow")
        ordering = ["-opened_at", "-id"]
        constraints = [
            models.UniqueConstraint(
                fields=["rule", "connector", "condition"],
                condition=Q(ended_at__isnull=True),
                name="one_open_shadow_per_condition",
            ),
            models.CheckConstraint(
                condition=Q(last_measured_at__gte=F("since")), name="shadow_times_in_order"
            ),
        ]
        indexes = [models.Index(fields=["rule", "-opened_at"])]

    def __str__(self) -> str:
        return f"{self.condition} ({self.worst_severity})"


class ShadowStep(models.Model):
    """What an alarm in shadow was from a finding on: what it is rewound to where late readings show
    that it was another from then on. Kept for as long as readings may be judged again.

    `begins`: the alarm is one from this finding on.
    """

    alarm = models.ForeignKey(ShadowAlarm, on_delete=models.CASCADE, related_name="steps")
    begins = models.BooleanField()
    measured_at = models.DateTimeField()
    judged_at = models.DateTimeField()
    since = models.DateTimeField()
    pole = models.CharField(max_length=4, blank=True)
    severity = models.CharField(max_length=8)
    worst_severity = models.CharField(max_length=8)
    occurrences = models.PositiveIntegerField()
    is_open = models.BooleanField()
    evidence = models.JSONField(default=dict, blank=True)

    class Meta:
        ordering = ["pk"]
        indexes = [
            models.Index(fields=["alarm", "measured_at"], name="warning_sha_alarm_i_step_idx")
        ]

    def __str__(self) -> str:
        return f"{self.severity} at {self.measured_at:%Y-%m-%d %H:%M:%S}"


class Progress(models.TextChoices):
    """How far a back-test has come."""

    WAITING = "waiting", _("Waiting")
    RUNNING = "running", _("Running")
    DONE = "done", _("Done")
    FAILED = "failed", _("Failed")
    CANCELLED = "cancelled", _("Cancelled")


class BackTest(RuleContent):
    """What a rule would have done over stored history, beside the rules that are in force.

    The row is the queue: a worker claims it for a while (`leased_until`) under the number of its
    attempt, and writes only while that number stands. `result` grows by each group of connectors
    that is through (`connectors_done`), so that who takes over goes on from there.
    """

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    detector = models.CharField(_("detector"), max_length=80)
    # The rule that it is about, as it was then; none where a rule was tried before it was made.
    rule = models.ForeignKey(
        Rule, on_delete=models.SET_NULL, null=True, blank=True, related_name="back_tests"
    )
    rule_version = models.PositiveIntegerField(_("version"), null=True, blank=True)
    # The set of ground truth that it is judged on: its connectors (keys), and of which model and
    # month they were ("" for all). Empty: all that the rule selects, in service now.
    among = models.JSONField(default=list, db_default=[], blank=True)
    truth = models.JSONField(default=dict, db_default={}, blank=True)
    start = models.DateTimeField(_("from"))
    end = models.DateTimeField(_("to"))
    state = models.CharField(_("state"), max_length=9, choices=Progress, default=Progress.WAITING)
    requested_at = models.DateTimeField(_("asked for"))
    requested_by = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        on_delete=models.SET_NULL,
        null=True,
        blank=True,
        related_name="+",
        verbose_name=_("by"),
    )
    started_at = models.DateTimeField(_("started"), null=True, blank=True)
    finished_at = models.DateTimeField(_("finished"), null=True, blank=True)
    attempt = models.PositiveIntegerField(default=0)
    # Claims since the last group of connectors was through.
    barren = models.PositiveSmallIntegerField(default=0)
    leased_until = models.DateTimeField(null=True, blank=True)
    connectors_total = models.PositiveIntegerField(default=0)
    connectors_done = models.PositiveIntegerField(default=0)
    readings = models.BigIntegerField(default=0)
    result = models.JSONField(default=dict, blank=True)
    error = models.CharField(max_length=500, blank=True, default="")

    class Meta:
        verbose_name = _("back-test")
        verbose_name_plural = _("back-tests")
        ordering = ["-requested_at", "-id"]
        constraints = [
            models.CheckConstraint(
                condition=Q(state__in=["waiting", "running", "done", "failed", "cancelled"]),
                name="back_test_state_known",
            ),
            models.CheckConstraint(condition=Q(start__lt=F("end")), name="back_test_has_a_range"),
        ]
        indexes = [
            models.Index(
                fields=["requested_at"],
                condition=Q(state__in=["waiting", "running"]),
                name="back_tests_undone",
            ),
        ]

    def __str__(self) -> str:
        return self.name

    @property
    def is_undone(self) -> bool:
        """Whether something is still to come."""
        return self.state in (Progress.WAITING, Progress.RUNNING)

    @property
    def percent(self) -> int:
        """How much of it is through."""
        return 100 * self.connectors_done // self.connectors_total if self.connectors_total else 0
