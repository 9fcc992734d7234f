"""Runs of replay, in a tenant's schema. The refused messages themselves are in Elasticsearch."""

from django.conf import settings
from django.db import models
from django.utils.translation import gettext_lazy as _

from apps.tenants.identifiers import new_id

BATCHES_LIMIT = 1 << 20
"""Messages a run may take up: its part of the batch numbers (decision 0005)."""
RUNS_LIMIT = 1 << 21
WORDS_LIMIT = 120


class ReplayState(models.TextChoices):
    WAITING = "waiting", _("waiting")
    RUNNING = "running", _("running")
    CANCELLING = "cancelling", _("being cancelled")
    DONE = "done", _("done")
    CANCELLED = "cancelled", _("cancelled")


class Replay(models.Model):
    """Refused messages that are taken in once more: which ones, how far, what came of it.

    `number` counts a tenant's runs from 1 and is a part of the numbers of their batches;
    `batches` is how many of these are given out. `total` was counted when the run began.
    `unclaimed` is set where the messages lie in the platform's own quarantine, because the tenant
    was not known when they came: it counts such runs over all tenants.
    """

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    number = models.PositiveIntegerField(unique=True)
    unclaimed = models.PositiveIntegerField(null=True, editable=False)
    state = models.CharField(
        _("state"), max_length=10, choices=ReplayState.choices, default=ReplayState.WAITING
    )
    requested_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.SET_NULL, null=True, related_name="+"
    )
    requested_at = models.DateTimeField(_("asked for"))
    worked_at = models.DateTimeField(null=True)
    finished_at = models.DateTimeField(_("finished"), null=True)
    # which messages
    message = models.CharField(max_length=128, blank=True, default="")
    reason = models.CharField(max_length=32, blank=True, default="")
    device = models.CharField(max_length=64, blank=True, default="")
    words = models.CharField(max_length=WORDS_LIMIT, blank=True, default="")
    start_at = models.DateTimeField(null=True)
    end_at = models.DateTimeField()
    # how far
    total = models.PositiveIntegerField(default=0)
    batches = models.PositiveIntegerField(default=0)
    replayed = models.PositiveIntegerField(_("became readings"), default=0)
    partly = models.PositiveIntegerField(_("in part"), default=0)
    refused = models.PositiveIntegerField(_("refused again"), default=0)
    stored = models.PositiveBigIntegerField(_("readings stored"), default=0)
    duplicate = models.PositiveBigIntegerField(_("duplicates"), default=0)

    class Meta:
        ordering = ["-number"]
        constraints = [
            models.CheckConstraint(
                name="replay_state_known", condition=models.Q(state__in=ReplayState.values)
            ),
            models.CheckConstraint(
                name="replay_numbers_fit",
                condition=models.Q(
                    number__gte=1, number__lt=RUNS_LIMIT, batches__lte=BATCHES_LIMIT
                ),
            ),
        ]

    def __str__(self) -> str:
        return f"replay {self.number}"

    @property
    def claim(self) -> int:
        """The number that documents bear which the run has taken up."""
        return self.number if self.unclaimed is None else self.unclaimed

    @property
    def tried(self) -> int:
        """Messages that are done with."""
        return self.replayed + self.partly + self.refused

    @property
    def is_over(self) -> bool:
        return self.state in (ReplayState.DONE, ReplayState.CANCELLED)

    @property
    def part(self) -> float:
        """How far it is, 0 … 1."""
        return 1.0 if self.is_over else min(1.0, self.tried / self.total) if self.total else 0.0
