"""Who the manufacturers are. These tables stand in the public schema only."""

from typing import ClassVar

from django.db import models
from django.db.models.functions import Concat, Replace
from django.utils import timezone
from django.utils.translation import gettext_lazy as _
from django_tenants.models import DomainMixin, TenantMixin

from apps.telemetry.slices import Retention
from apps.tenants.identifiers import SLUG_PATTERN, new_id


class Plan(models.Model):  # type: ignore[django-manager-missing]  # TenantMixin is untyped
    """What a tenant may use. `limits`: {"devices": 1000, "readings_per_s": 2000, ...}."""

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    code = models.SlugField(unique=True)
    name = models.CharField(max_length=80)
    limits = models.JSONField(default=dict, blank=True)

    def __str__(self) -> str:
        return self.name


class TenantState(models.TextChoices):
    CREATING = "creating", _("being created")
    READY = "ready", _("ready")
    FAILED = "failed", _("failed")


class Tenant(TenantMixin):
    """A manufacturer of connectors: a schema, hosts, a topic root, a dimension of the telemetry."""

    # operations.create_tenant makes the schema, step by step and repeatable; save() never does.
    auto_create_schema = False
    auto_drop_schema = False

    objects: ClassVar[models.Manager["Tenant"]] = models.Manager()

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    slug = models.CharField(max_length=31, unique=True)
    name = models.CharField(max_length=120)
    state = models.CharField(
        max_length=10, choices=TenantState.choices, default=TenantState.CREATING
    )
    failure = models.TextField(blank=True, default="")
    plan = models.ForeignKey(Plan, on_delete=models.PROTECT, related_name="tenants")
    country = models.CharField(
        max_length=2, blank=True, default="", help_text=_("ISO 3166 code: DE, CN.")
    )
    sms_countries = models.JSONField(
        default=list, blank=True, help_text=_("Codes SMS may go to; empty: the own country.")
    )
    retention_class = models.CharField(max_length=20, default="30d")
    # [[class, ms that its time ended before], ...], oldest first
    former_classes = models.JSONField(default=list, blank=True, editable=False)
    created_at = models.DateTimeField(default=timezone.now, editable=False)

    class Meta:
        ordering = ["slug"]
        constraints = [
            models.CheckConstraint(
                name="tenant_slug_format", condition=models.Q(slug__regex=SLUG_PATTERN)
            ),
            models.CheckConstraint(
                name="tenant_schema_follows_slug",
                condition=models.Q(
                    schema_name=Concat(
                        models.Value("t_"),
                        Replace("slug", models.Value("-"), models.Value("_")),
                    )
                ),
            ),
            models.CheckConstraint(
                name="tenant_state_known", condition=models.Q(state__in=TenantState.values)
            ),
            models.CheckConstraint(
                name="tenant_retention_class_format",
                condition=models.Q(retention_class__regex=r"^[a-z0-9]{1,20}$"),
            ),
            models.CheckConstraint(
                name="tenant_country_format", condition=models.Q(country__regex=r"^([A-Z]{2})?$")
            ),
        ]

    def __str__(self) -> str:
        return self.name

    @property
    def is_ready(self) -> bool:
        return self.state == TenantState.READY

    @property
    def retention(self) -> Retention:
        """The class of its readings, by when they were measured."""
        former = tuple((str(name), int(end_ms)) for name, end_ms in self.former_classes)
        return Retention(self.retention_class, former)

    @property
    def reachable_countries(self) -> frozenset[str]:
        """Where its SMS may go, as ISO 3166 codes; none where no country was ever named."""
        return frozenset(self.sms_countries or ([self.country] if self.country else ()))

    @property
    def topic_root(self) -> str:
        """All topics of the tenant's devices begin with this."""
        return f"ow/v1/{self.slug}."


class Erasure(models.Model):
    """What was erased, and when: the only thing that is kept of a tenant, but for its slug.

    `report`: {"documents": {kind: n}, "indices": [...], "rows": {table: n}, "keys": n}.
    """

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    slug = models.CharField(max_length=31)
    connector = models.CharField(max_length=64, blank=True, default="")
    began_at = models.DateTimeField()
    ended_at = models.DateTimeField()
    failure = models.TextField(blank=True, default="")
    report = models.JSONField(default=dict)

    class Meta:
        ordering = ["-began_at"]

    def __str__(self) -> str:
        return f"{self.slug} {self.connector}".strip()


class Domain(DomainMixin):
    """A host name, lower case and without port, on which a tenant answers."""

    class Meta:
        constraints = [
            models.CheckConstraint(
                name="domain_format",
                condition=models.Q(domain__regex=r"^[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?$"),
            )
        ]
