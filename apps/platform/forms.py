"""The form of the operator's portal."""

from django import forms
from django.utils.translation import gettext_lazy as _

from apps.tenants.models import Plan


class TenantForm(forms.Form):
    """A new manufacturer."""

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
