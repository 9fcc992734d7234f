"""Rules. A tenant without a single row is watched by every detector with the ratings' defaults."""

from django.db import models
from django.utils.translation import gettext_lazy as _

from apps.tenants.identifiers import new_id


class Rule(models.Model):
    """Changes one detector's parameters, or switches it off, for one model or for all of them."""

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    name = models.CharField(_("name"), max_length=120)
    detector = models.CharField(_("detector"), max_length=80)
    enabled = models.BooleanField(_("enabled"), default=True)
    model = models.ForeignKey(
        "catalog.ConnectorModel",
        on_delete=models.CASCADE,
        null=True,
        blank=True,
        related_name="rules",
        verbose_name=_("connector model"),
        help_text=_("Empty: for every model that has no rule of its own."),
    )
    parameters = models.JSONField(_("parameters"), default=dict, blank=True)
    version = models.PositiveIntegerField(_("version"), default=1, editable=False)

    class Meta:
        verbose_name = _("rule")
        verbose_name_plural = _("rules")
        ordering = ["detector", "name"]
        constraints = [
            models.UniqueConstraint(
                fields=["detector", "model"],
                nulls_distinct=False,
                name="one_rule_per_detector_and_model",
            ),
        ]

    def __str__(self) -> str:
        return self.name
