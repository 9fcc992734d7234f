"""The manufacturer's products and what they are rated for."""

from django.db import models
from django.db.models import Func, Q
from django.db.models.lookups import Exact
from django.utils.translation import gettext_lazy as _

from apps.catalog.validators import validate_derating, validate_reports, validate_time_constants
from apps.tenants.identifiers import new_id


class Position(models.TextChoices):
    """Where connectors of a model usually sit. Others are allowed; these have translations."""

    TRACTION = "traction", _("Traction battery")
    INVERTER = "inverter", _("Inverter")
    CHARGING_INLET = "charging_inlet", _("Charging inlet")
    AUXILIARY = "auxiliary", _("Auxiliary")


POSITION_PATTERN = r"^[a-z][a-z0-9_]{0,31}$"


class JsonbType(Func):
    """jsonb_typeof(...), for check constraints."""

    function = "jsonb_typeof"
    output_field = models.TextField()


def _positive_or_missing(field: str) -> models.CheckConstraint:
    return models.CheckConstraint(
        name=f"model_{field}_above_zero"[:60],
        condition=Q(**{f"{field}__isnull": True}) | Q(**{f"{field}__gt": 0, f"{field}__lt": 1e9}),
    )


def _is_array(field: str) -> models.CheckConstraint:
    return models.CheckConstraint(
        name=f"model_{field}_is_array",
        condition=Exact(JsonbType(field), models.Value("array")),
    )


class ConnectorModel(models.Model):
    """A product with its ratings; names and units are those of the readings' contract."""

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    code = models.CharField(_("code"), max_length=40, unique=True)
    name = models.CharField(_("name"), max_length=120)
    position = models.CharField(_("position"), max_length=32)
    rated_current_a = models.FloatField(_("rated current, A"))
    rated_voltage_v = models.FloatField(_("rated voltage, V"))
    temperature_limit_c = models.FloatField(_("temperature limit at the contact, °C"))
    derating = models.JSONField(
        _("derating: ambient °C, current A"),
        default=list,
        blank=True,
        validators=[validate_derating],
    )
    temperature_rise_rated_k = models.FloatField(
        _("temperature rise at rated current when new, K"), null=True, blank=True
    )
    temperature_rise_limit_k = models.FloatField(
        _("temperature rise allowed at rated current, K"), null=True, blank=True
    )
    contact_resistance_new_uohm = models.FloatField(
        _("contact resistance when new, µΩ"), null=True, blank=True
    )
    contact_resistance_end_uohm = models.FloatField(
        _("contact resistance at end of life, µΩ"), null=True, blank=True
    )
    thermal_resistance_k_per_w = models.FloatField(
        _("thermal resistance, K/W"), null=True, blank=True
    )
    thermal_time_constants_s = models.JSONField(
        _("thermal time constants, s"),
        default=list,
        blank=True,
        validators=[validate_time_constants],
    )
    insulation_minimum_kohm = models.FloatField(
        _("insulation resistance, minimum, kΩ"), null=True, blank=True
    )
    rated_mating_cycles = models.PositiveIntegerField(
        _("rated mating cycles"), null=True, blank=True
    )
    reports = models.JSONField(
        _("quantities its devices report"), default=list, blank=True, validators=[validate_reports]
    )
    interval_s = models.FloatField(_("reporting interval, s"), null=True, blank=True)

    class Meta:
        ordering = ["code"]
        constraints = [
            models.CheckConstraint(
                name="model_code_format", condition=Q(code__regex=r"^[A-Za-z0-9][A-Za-z0-9 ._/-]*$")
            ),
            models.CheckConstraint(
                name="model_position_format", condition=Q(position__regex=POSITION_PATTERN)
            ),
            models.CheckConstraint(
                name="model_rated_current_range",
                condition=Q(rated_current_a__gt=0, rated_current_a__lte=2000),
            ),
            models.CheckConstraint(
                name="model_rated_voltage_range",
                condition=Q(rated_voltage_v__gt=0, rated_voltage_v__lte=1500),
            ),
            models.CheckConstraint(
                name="model_temperature_limit_range",
                condition=Q(temperature_limit_c__gt=0, temperature_limit_c__lte=400),
            ),
            *(
                _positive_or_missing(field)
                for field in (
                    "temperature_rise_rated_k",
                    "temperature_rise_limit_k",
                    "contact_resistance_new_uohm",
                    "contact_resistance_end_uohm",
                    "thermal_resistance_k_per_w",
                    "insulation_minimum_kohm",
                    "rated_mating_cycles",
                    "interval_s",
                )
            ),
            models.CheckConstraint(
                name="model_rise_limit_above_rated",
                condition=Q(temperature_rise_rated_k__isnull=True)
                | Q(temperature_rise_limit_k__isnull=True)
                | Q(temperature_rise_limit_k__gte=models.F("temperature_rise_rated_k")),
            ),
            models.CheckConstraint(
                name="model_end_resistance_above_new",
                condition=Q(contact_resistance_new_uohm__isnull=True)
                | Q(contact_resistance_end_uohm__isnull=True)
                | Q(contact_resistance_end_uohm__gte=models.F("contact_resistance_new_uohm")),
            ),
            *(_is_array(field) for field in ("derating", "thermal_time_constants_s", "reports")),
        ]

    def __str__(self) -> str:
        return self.code
