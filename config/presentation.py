"""What every page shares: who sees which menu, and the tags that templates are written with.

It lies beside the settings and not in an app, because the operator's portal, the manufacturer's
portal, the console and the sign-in pages stand in different layers and all show it. The tags are
template built-ins: no `{% load %}`.
"""

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from django import template
from django.conf import settings
from django.http import HttpRequest
from django.templatetags.static import static
from django.urls import NoReverseMatch, reverse
from django.utils import formats
from django.utils.html import format_html
from django.utils.safestring import SafeString, mark_safe
from django.utils.translation import gettext, gettext_lazy, ngettext

from apps.accounts.models import User
from apps.alarms.queries import alarms
from apps.tenants.schema import in_public

THEME_COOKIE = "ohmwatch-theme"
THEMES = {
    "system": gettext_lazy("System"),
    "light": gettext_lazy("Light"),
    "dark": gettext_lazy("Dark"),
}

register = template.Library()


# --- the frame --------------------------------------------------------------------------------
@dataclass(frozen=True)
class Place:
    """An entry of the menu; `current` when the page shown is at or below it."""

    url: str
    title: str
    icon: str
    current: bool = False


_PLACES = {
    "tenants": ("tenant-list", gettext_lazy("Manufacturers"), "tenant"),
    "overview": ("portal:overview", gettext_lazy("Overview"), "overview"),
    "alarms": ("console:alarms", gettext_lazy("Alarms"), "alarm"),
    "vehicles": ("console:vehicles", gettext_lazy("Vehicles"), "vehicle"),
    "base": ("portal:base", gettext_lazy("Installed base"), "base"),
    "analysis": ("portal:analysis", gettext_lazy("Analysis"), "analysis"),
    "models": ("portal:models", gettext_lazy("Connector models"), "model"),
    "fleets": ("portal:organisations", gettext_lazy("Organisations"), "organisation"),
    "devices": ("portal:devices", gettext_lazy("Devices"), "device"),
    "rules": ("portal:rules", gettext_lazy("Rules"), "settings"),
    "backtests": ("portal:backtests", gettext_lazy("Back-tests"), "clock"),
    "truth": ("portal:truth", gettext_lazy("Ground truth"), "search"),
    "quarantine": ("portal:quarantine", gettext_lazy("Quarantine"), "quarantine"),
    "contacts": ("console:contacts", gettext_lazy("Contacts"), "mail"),
    "users": ("portal:users", gettext_lazy("People"), "users"),
    "keys": ("portal:keys", gettext_lazy("API keys"), "key"),
}
_STAFF = (
    "overview",
    "base",
    "alarms",
    "vehicles",
    "analysis",
    "fleets",
    "models",
    "devices",
    "rules",
    "backtests",
    "truth",
    "quarantine",
    "contacts",
)


def _entries_for(user: Any) -> tuple[str, ...]:
    if not user.is_authenticated:
        return ()
    if in_public():
        return ("tenants",)
    if getattr(user, "is_staff_of_tenant", False):
        return (*_STAFF, "users", "keys") if user.role == "administrator" else _STAFF
    return ("vehicles", "alarms", "contacts")


def _places(request: HttpRequest) -> list[Place]:
    found = {}
    for name in _entries_for(request.user):
        with suppress(NoReverseMatch):
            found[name] = reverse(_PLACES[name][0])
    here = [url for url in found.values() if request.path.startswith(url)]
    nearest = max(here, key=len, default="")
    return [
        Place(url, str(_PLACES[name][1]), _PLACES[name][2], current=url == nearest)
        for name, url in found.items()
    ]


def _open_alarms(request: HttpRequest) -> int:
    user = getattr(request, "user", None)
    if in_public() or not isinstance(user, User):
        return 0
    return alarms(for_user=user, state="open").count()


def shell(request: HttpRequest) -> dict[str, object]:
    """Context processor: menu, theme and what the foot of the rail shows."""
    theme = request.COOKIES.get(THEME_COOKIE, "system")
    return {
        "places": _places(request) if hasattr(request, "user") else [],
        "tenant": getattr(request, "tenant", None),
        "theme": theme if theme in THEMES else "system",
        "themes": THEMES.items(),
        "on_platform": in_public(),
        "open_alarm_count": _open_alarms(request),
        "demo_inbox_url": settings.ENVIRONMENT.inbox_url if settings.DEMO else "",
    }


# --- tags -------------------------------------------------------------------------------------
@register.simple_tag
def icon(name: str, label: str = "") -> SafeString:
    """A drawing of static/icons.svg; hidden from a screen reader unless it has a label."""
    said = (
        format_html('role="img" aria-label="{}"', label)
        if label
        else mark_safe('aria-hidden="true"')
    )
    return format_html(
        '<svg class="icon" {} focusable="false"><use href="{}#{}"></use></svg>',
        said,
        static("icons.svg"),
        name,
    )


HEALTH_WORDS = {
    "ok": gettext_lazy("Healthy"),
    "notice": gettext_lazy("Notice"),
    "warning": gettext_lazy("Warning"),
    "critical": gettext_lazy("Critical"),
    "unknown": gettext_lazy("No readings yet"),
}


@register.simple_tag
def health(value: str | None) -> SafeString:
    """A pill with drawing, word and colour: health of a connector or severity of an alarm."""
    known = value if value in HEALTH_WORDS else "unknown"
    return format_html(
        '<span class="pill {}">{}<span>{}</span></span>', known, icon(known), HEALTH_WORDS[known]
    )


@register.simple_tag
def when(moment: datetime | int | None, style: str = "full") -> SafeString:
    """A moment; the browser rewrites it in the viewer's zone. `style`: full, short, ago, time.

    An int is milliseconds since 1970 UTC. Without JavaScript it stays in UTC and says so.
    """
    if moment is None:
        return mark_safe("–")
    if isinstance(moment, (int, float)):
        moment = datetime.fromtimestamp(moment / 1000, tz=UTC)
    written = formats.date_format(moment.astimezone(UTC), "Y-m-d H:i:s") + " UTC"
    return format_html(
        '<time datetime="{}" data-when="{}">{}</time>', moment.isoformat(), style, written
    )


_UNITS = (
    ("_uohm", "µΩ", 0),
    ("_kohm", "kΩ", 0),
    ("_k_per_w", "K/W", 3),
    ("_mv", "mV", 1),
    ("_pct", "%", 0),
    ("_ms", "ms", 0),
    ("_a", "A", 1),
    ("_v", "V", 1),
    ("_c", "°C", 1),
    ("_k", "K", 1),
    ("_g", "g", 2),
    ("_s", "s", 0),
    ("_h", "h", 1),
)


def unit_of(name: str) -> tuple[str, int]:
    """Unit and decimals that a quantity's name ends with: `current_a` is A, one decimal."""
    return next(((unit, digits) for end, unit, digits in _UNITS if name.endswith(end)), ("", 0))


@register.filter
def unit(name: str) -> str:
    return unit_of(name)[0]


@register.filter
def quantity(value: float | str | bool | None, name: str) -> SafeString | str:
    """`{{ 61.23|quantity:"temperature_pos_c" }}` is 61.2 °C with the number by locale."""
    if value is None or value != value:
        return mark_safe('<span class="muted">–</span>')
    if isinstance(value, str):
        return value
    if name in ("interlock", "mated"):
        return gettext("closed") if value else gettext("open")
    if name.endswith("_s") and not name.startswith("x_"):
        return duration(float(value))
    sign, digits = unit_of(name)
    number = formats.number_format(
        round(float(value), digits), decimal_pos=digits, force_grouping=True
    )
    return format_html(
        '<span class="num">{}&nbsp;<span class="unit">{}</span></span>', number, sign
    )


@register.filter
def signed(number: float) -> str:
    """A whole number with its sign: +4, −12."""
    return f"{number:+.0f}".replace("-", "−")


@register.filter
def percentage(share: float | None) -> str:
    """A share from 0 to 1 as a whole percentage; a dash where there is none."""
    return "–" if share is None else f"{share:.0%}".replace("%", " %")


@register.filter
def value_of(counts: Mapping[str, int], name: str) -> int:
    """How many there are of a name that is known at run time only."""
    return counts.get(name, 0)


@register.filter
def unlocalized(value: object) -> str:
    """A number as a form's hidden field takes it back."""
    return str(value)


QUANTITY_WORDS = {
    "current_a": gettext_lazy("Current"),
    "voltage_v": gettext_lazy("Voltage"),
    "temperature_pos_c": gettext_lazy("Temperature, positive pole"),
    "temperature_neg_c": gettext_lazy("Temperature, negative pole"),
    "ambient_c": gettext_lazy("Ambient"),
    "drop_pos_mv": gettext_lazy("Voltage drop, positive pole"),
    "drop_neg_mv": gettext_lazy("Voltage drop, negative pole"),
    "insulation_kohm": gettext_lazy("Insulation resistance"),
    "interlock": gettext_lazy("Interlock"),
    "humidity_pct": gettext_lazy("Humidity"),
    "vibration_g": gettext_lazy("Vibration"),
    "mated": gettext_lazy("Plug"),
    "mating_cycles": gettext_lazy("Mating cycles"),
}


@register.filter
def quantity_word(name: str) -> str:
    return str(QUANTITY_WORDS.get(name, name.removeprefix("x_").replace("_", " ")))


@register.filter
def duration(seconds: float | None) -> str:
    """A length of time in the two largest parts that matter: 1 d 4 h, 12 min, 8 s."""
    if seconds is None:
        return "–"
    rest = max(0, int(seconds))
    if rest < 60:
        return gettext("%(s)d s") % {"s": rest}
    if rest < 3600:
        return gettext("%(m)d min") % {"m": rest // 60}
    if rest < 86400:
        return gettext("%(h)d h %(m)d min") % {"h": rest // 3600, "m": rest % 3600 // 60}
    return ngettext("%(d)d day", "%(d)d days", rest // 86400) % {"d": rest // 86400}


@register.inclusion_tag("components/strip.html")
def strip(value_c: float | None, limit_c: float | None, state: str = "ok") -> dict[str, object]:
    """How near a temperature is to its limit: a bar from 0 °C to 20 K over the limit."""
    if value_c is None or not limit_c:
        return {"known": False}
    span = limit_c + 20
    return {
        "known": True,
        "value": value_c,
        "limit": limit_c,
        "width": round(min(max(value_c, 0) / span, 1) * 100, 1),
        "limit_at": round(limit_c / span * 100, 1),
        "state": state if state in HEALTH_WORDS else "unknown",
    }


@register.simple_tag(takes_context=True)
def query(context: Mapping[str, Any], **changes: object) -> str:
    """The page's own query string with some parameters changed; None or '' takes one away."""
    parameters = context["request"].GET.copy()
    parameters.pop("page", None)
    parameters.pop("after", None)
    for name, value in changes.items():
        parameters.pop(name, None)
        if value not in (None, ""):
            parameters[name] = str(value)
    return f"?{parameters.urlencode()}"


@register.simple_tag(takes_context=True)
def facet(context: Mapping[str, Any], name: str, value: str = "") -> str:
    """`query` for a field whose name is known at run time only."""
    return query(context, **{name: value})
