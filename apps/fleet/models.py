"""Vehicles and the connectors installed in them."""

from django.db import models
from django.db.models import Q
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from apps.accounts.models import Organisation
from apps.catalog.models import POSITION_PATTERN, ConnectorModel
from apps.tenants.identifiers import new_id

VIN_PATTERN = r"^[A-HJ-NPR-Z0-9]{17}$"


class Vehicle(models.Model):
    """What carries connectors, and whose it is."""

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    organisation = models.ForeignKey(
        Organisation, on_delete=models.PROTECT, related_name="vehicles"
    )
    vin = models.CharField(_("VIN"), max_length=17, unique=True)
    plate = models.CharField(_("plate"), max_length=20, blank=True, default="")
    label = models.CharField(_("label"), max_length=80, blank=True, default="")
    created_at = models.DateTimeField(default=timezone.now, editable=False)

    class Meta:
        ordering = ["label", "plate", "vin"]
        constraints = [
            models.CheckConstraint(name="vehicle_vin_format", condition=Q(vin__regex=VIN_PATTERN)),
        ]

    def __str__(self) -> str:
        return self.label or self.plate or self.vin


class ConnectorState(models.TextChoices):
    IN_SERVICE = "in_service", _("in service")
    RETIRED = "retired", _("retired")


class Connector(models.Model):
    """One installed unit of a model. Retired ones stay for their history."""

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    model = models.ForeignKey(ConnectorModel, on_delete=models.PROTECT, related_name="connectors")
    serial = models.CharField(_("serial number"), max_length=64, unique=True)
    batch = models.CharField(_("batch"), max_length=64, blank=True, default="")
    vehicle = models.ForeignKey(
        Vehicle, on_delete=models.PROTECT, null=True, blank=True, related_name="connectors"
    )
    position = models.CharField(_("position"), max_length=32)
    installed_at = models.DateTimeField(_("installed at"), null=True, blank=True)
    state = models.CharField(
        _("state"), max_length=10, choices=ConnectorState.choices, default=ConnectorState.IN_SERVICE
    )

    class Meta:
        ordering = ["serial"]
        constraints = [
            models.CheckConstraint(
                name="connector_serial_format",
                condition=Q(serial__regex=r"^[A-Za-z0-9][A-Za-z0-9._/-]*$"),
            ),
            models.CheckConstraint(
                name="connector_position_format", condition=Q(position__regex=POSITION_PATTERN)
            ),
            models.CheckConstraint(
                name="connector_state_known", condition=Q(state__in=ConnectorState.values)
            ),
        ]

    def __str__(self) -> str:
        return self.serial
