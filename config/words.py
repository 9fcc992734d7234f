"""Codes in people's words, as template filters: conditions, positions, reasons, evidence."""

from django import template
from django.utils.translation import gettext, pgettext_lazy
from django.utils.translation import gettext_lazy as _

from apps.accounts.models import User
from apps.alarms import wording
from apps.alarms.models import Alarm, Pole
from apps.catalog.models import Position
from config.presentation import QUANTITY_WORDS

register = template.Library()
Words = dict[str, object]


def _spoken(code: str) -> str:
    return code.replace("_", " ")


@register.filter
def condition_name(condition: str) -> str:
    return wording.condition_name(condition)


@register.filter
def advice(alarm: Alarm) -> str:
    return wording.advice(alarm.condition, alarm.severity)


@register.filter
def position(code: str) -> str:
    """Where a connector sits; a position of the tenant's own keeps its name."""
    return str(dict(Position.choices).get(code, _spoken(code).capitalize()))


POLE_WORDS: Words = {
    Pole.POSITIVE: _("positive pole"),
    Pole.NEGATIVE: _("negative pole"),
    Pole.BOTH: _("both poles"),
}


@register.filter
def pole_word(code: str) -> str:
    return str(POLE_WORDS.get(code, ""))


EVIDENCE_WORDS: Words = {
    **QUANTITY_WORDS,
    "insulation_minimum_kohm": _("Least allowed insulation"),
    "temperature_limit_c": _("Temperature limit"),
    "margin_k": _("Margin to the limit"),
    "difference_k": _("Difference of the poles"),
    "allowed_difference_k": _("Allowed difference"),
    "expected_rise_k": _("Rise expected at this current"),
    "rise_k": _("Rise over ambient"),
    "allowed_rise_k": _("Allowed rise at this current"),
    "rise_pos_k": _("Rise, positive pole"),
    "rise_neg_k": _("Rise, negative pole"),
    "load_current_a": _("Current that heats (mean square)"),
    "resistance_uohm": _("Contact resistance"),
}


@register.filter
def evidence_word(name: str) -> str:
    """What a figure of the evidence is; one of a plug-in keeps its name, without the unit."""
    return str(EVIDENCE_WORDS.get(name, _spoken(name.removeprefix("x_"))))


REASON_WORDS: Words = {
    "first_finding": _("The detector saw it for the first time."),
    "came_back": _("It came back soon after it was over."),
    "severity_rose": _("It got worse."),
    "severity_fell": _("It got less severe."),
    "ended_for_hold_time": _("It was well for long enough to be over."),
    "already_known": _("It goes on."),
    "still_holds_now": _("It still holds now."),
    "by_person": _("By a person."),
}


@register.filter
def reason_word(code: str) -> str:
    return str(REASON_WORDS.get(code, _spoken(code)))


REFUSAL_WORDS: Words = {
    "unknown_tenant": _("No such manufacturer"),
    "unknown_device": _("No such device: enrol it"),
    "unknown_channel": _("The channel has no connector: map it"),
    "device_disabled": _("The device is disabled"),
    "connector_retired": _("The connector is retired"),
    "undecodable": _("The bytes can't be read"),
    "wrong_shape": _("Not a reading nor a batch"),
    "too_large": _("The message is too large"),
    "too_many_readings": _("Too many readings in a message"),
    "time_missing": _("The time is missing"),
    "time_invalid": _("The time can't be read"),
    "time_in_future": _("The time is in the future: check the device's clock"),
    "time_too_old": _("The time is too long ago"),
    "wrong_type": _("A field has the wrong type"),
    "out_of_range": _("A value is out of range"),
    "no_quantity": _("Nothing was measured"),
    "codec_failed": _("The codec failed"),
    "store_refused": _("The store refused it"),
}


@register.filter
def refusal_word(code: str) -> str:
    return str(REFUSAL_WORDS.get(code, _spoken(code)))


@register.filter
def person(user: User | None) -> str:
    return (user.get_full_name() or user.username) if user else ""


CHANNEL_WORDS: Words = {"email": pgettext_lazy("channel", "email"), "sms": "SMS"}


@register.filter
def channel_word(code: str) -> str:
    return str(CHANNEL_WORDS.get(code, _spoken(code)))


DELIVERY_TONES = {"sent": "ok", "failed": "critical", "abandoned": "critical"}


@register.filter
def delivery_tone(state: str) -> str:
    """Which drawing and colour a delivery's state has."""
    return DELIVERY_TONES.get(state, "unknown")


FAILURE_WORDS: Words = {
    "contact_switched_off": _("The contact was switched off before."),
    "gateway_unreachable": _("The SMS gateway can't be reached."),
    "smtp_unreachable": _("The mail server can't be reached."),
    "channel_failed": _("The channel failed."),
    "restored_from_backup": _("It waited when a backup was made: old news."),
    "country_not_allowed": _("SMS to this country are not allowed."),
    "sms_cap_reached": _("The day's SMS were used up: said by email instead."),
}


@register.filter
def failure_word(error: str) -> str:
    """Why a message did not go out: of `smtp_550: detail` what the code says."""
    code = error.partition(":")[0]
    if code.startswith("gateway_") and code[8:].isdigit():
        return gettext("The SMS gateway refused it (%(status)s).") % {"status": code[8:]}
    if code.startswith("smtp_") and code[5:].isdigit():
        return gettext("The mail server refused it (%(status)s).") % {"status": code[5:]}
    return str(FAILURE_WORDS.get(code, _spoken(code)))


RANGE_WORDS: Words = {
    "1h": _("1 hour"),
    "24h": _("24 hours"),
    "7d": _("7 days"),
    "30d": _("30 days"),
}


@register.filter
def range_word(code: str) -> str:
    return str(RANGE_WORDS[code])
