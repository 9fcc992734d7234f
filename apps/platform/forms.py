"""The forms of the operator's portal."""

import phonenumbers
from django import forms
from django.utils.translation import gettext_lazy as _

from apps.tenants.models import Plan


def _countries() -> list[tuple[str, str]]:
    calling = phonenumbers.country_code_for_region
    codes = sorted(phonenumbers.SUPPORTED_REGIONS)
    return [("", "–"), *((code, f"{code} +{calling(code)}") for code in codes)]


class CountriesForm(forms.Form):
    """Where a manufacturer is at home, and where its SMS may go."""

    country = forms.ChoiceField(
        label=_("Country"),
        choices=_countries,
        required=False,
        help_text=_("SMS go to numbers of it and nowhere else, unless you name more below."),
    )
    sms_countries = forms.CharField(
        label=_("SMS may go to"),
        required=False,
        max_length=800,
        help_text=_("Codes of countries, as in: DE AT CH. Empty: only the own country."),
    )

    def clean_sms_countries(self) -> list[str]:
        codes: list[str] = self.cleaned_data["sms_countries"].upper().replace(",", " ").split()
        unknown = sorted(set(codes) - phonenumbers.SUPPORTED_REGIONS)
        if unknown:
            raise forms.ValidationError(
                _("Not a country's code: %(codes)s"), params={"codes": " ".join(unknown)}
            )
        return codes


class TenantForm(CountriesForm):
    """A new manufacturer."""

    field_order = ("name", "slug", "plan", "country", "sms_countries")

    name = forms.CharField(
        label=_("Name"), max_length=120, help_text=_("As people read it: Kunlun Connectors")
    )
    slug = forms.CharField(
        label=_("Short name"),
        max_length=31,
        help_text=_(
            "2 to 31 small letters, digits and hyphens. It becomes the address, the MQTT topics' "
            "root and part of each device's identity, and can't be changed later."
        ),
    )
    plan = forms.ModelChoiceField(
        Plan.objects.order_by("name"),
        label=_("Plan"),
        required=False,
        empty_label=_("The standard plan"),
    )
