"""Codes in people's words, as template filters: conditions, positions, reasons, evidence."""

from django import template
from django.utils.formats import number_format
from django.utils.translation import gettext, pgettext_lazy
from django.utils.translation import gettext_lazy as _

from apps.accounts.models import User
from apps.alarms import wording
from apps.alarms.models import Alarm, Cause, Pole
from apps.catalog.models import Position
from apps.warning.detectors import known_detectors
from config.presentation import QUANTITY_WORDS

register = template.Library()
Words = dict[str, object]


def _spoken(code: str) -> str:
    return code.replace("_", " ")


@register.filter
def condition_name(condition: str) -> str:
    return wording.condition_name(condition)


@register.filter
def detector_word(name: str) -> str:
    """A detector is called by the condition that it states; one that is gone keeps its name."""
    known = known_detectors().get(name)
    return wording.condition_name(known.condition if known else name)


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
    "margin_from_k": _("Margin to the limit, at least"),
    "margin_to_k": _("Margin to the limit, at most"),
    "heating_k": _("Rise at rated current, as estimated"),
    "heating_sd_k": _("Its uncertainty"),
    "episodes": _("Drives and charges that it rests on"),
    "change_of_rated_rise": _("Change since new, in parts of the rated rise"),
    "between_poles_of_rated_rise": _("Between the poles, in parts of the rated rise"),
    "between_poles_before_of_rated_rise": _("Between the poles when new, in parts of it"),
    "log_odds": _("Strength of the evidence (logarithm of the odds)"),
    "restlessness": _("Restlessness under load, times its own when new"),
    "slower": _("How much slower it cools"),
    "moved_pos_k": _("Should have moved, positive pole"),
    "moved_neg_k": _("Should have moved, negative pole"),
    "still_air_h": _("Ambient sensor without a change"),
    "shift_pos_k": _("Drift at rest, positive pole"),
    "shift_neg_k": _("Drift at rest, negative pole"),
    "shift_air_k": _("Drift at rest, ambient"),
    "noise_pos_k": _("Noise, positive pole"),
    "noise_neg_k": _("Noise, negative pole"),
    "noise_air_k": _("Noise, ambient"),
    "leapt_pos_k": _("Leap, positive pole"),
    "leapt_neg_k": _("Leap, negative pole"),
    "leapt_air_k": _("Leap, ambient"),
    "largest_current_share": _("Largest current of a day, to its former one"),
    "change_log": _("Change of both poles' heating (logarithm)"),
    "delayed_s": _("Arrives after"),
    "trust": _("Trust in its sensors"),
    "resistance_uohm": _("Contact resistance"),
    "insulation_expected_kohm": _("Insulation expected in this air"),
    "insulation_usual_air_kohm": _("Insulation now, in usual air"),
    "insulation_wet_air_kohm": _("Insulation now, in wet air"),
    "time_left_from_s": _("Time left, at least"),
    "time_left_to_s": _("Time left, at most"),
    "time_left_unknown": _("Time left can't be said"),
    "duty_p99_a": _("Load it is told for: 99th percentile of this unit's use"),
    "thermal_time_constant_s": _("Time constant with which it warms up"),
    "thermal_time_constant_sd_s": _("Uncertainty of that time constant"),
    "mating_step_pct": _("Change of its heating at the last mating"),
    "recent_openings": _("Openings not long ago"),
    "recent_silences": _("Silences not long ago"),
    "last_silence_s": _("Last silence"),
    "silent_for_s": _("Silent for"),
    "growth_pct": _("Growth of its heating, of the rise usual for its model"),
    "growth_sd_pct": _("Uncertainty of the growth"),
    "expected_growth_pct": _("Growth of its like at this age"),
    "deviations": _("Ahead of them, in standard deviations"),
    "batch_fellows": _("Others of its batch"),
    "model_fellows": _("Others of its model"),
    "place": _("Place among them, 1 ages fastest"),
    "known_for_s": _("Watched for"),
    "derated_current_a": _("Current allowed in this air"),
    "rated_voltage_v": _("Rated voltage"),
    "rated_mating_cycles": _("Rated mating cycles"),
    "held_open_since": _("Held open since"),
}


@register.filter
def evidence_word(name: str) -> str:
    """What a figure of the evidence is; one of a plug-in keeps its name, without the unit."""
    return str(EVIDENCE_WORDS.get(name, _spoken(name.removeprefix("x_"))))


@register.filter
def unforeseen_word(reason: str) -> str:
    return wording.unforeseen(reason)


REASON_WORDS: Words = {
    "first_finding": _("The detector saw it for the first time."),
    "came_back": _("It came back soon after it was over."),
    "severity_rose": _("It got worse."),
    "severity_fell": _("It got less severe."),
    "ended_for_hold_time": _("It was well for long enough to be over."),
    "already_known": _("It goes on."),
    "still_holds_now": _("It still holds now."),
    "consequence_of_a_known_cause": _("It follows from what is known already: nobody was woken."),
    "cause_of_what_is_known": _("It explains what is known already: nobody was woken."),
    "comes_and_goes": _("It comes and goes: held open until it stays quiet."),
    "stayed_quiet": _("It came and went, and has stayed quiet since."),
    "late_readings": _("Readings that came late show that it was otherwise."),
    "by_person": _("By a person."),
    "found_fault": _("A fault was found."),
    "found_nothing": _("Nothing was found."),
    "found_unclear": _("It could not be told."),
    "rule_switched_off": _("A rule has switched its detector off for this connector."),
}


@register.filter
def reason_word(code: str) -> str:
    return str(REASON_WORDS.get(code, _spoken(code)))


@register.filter
def inspection_word(evidence: dict[str, object]) -> str:
    """What an inspection's event says: cause, pole and what was measured."""
    said = [
        str(dict(Cause.choices).get(str(evidence.get("cause", "")), "")),
        pole_word(str(evidence.get("pole", ""))),
    ]
    measured = evidence.get("resistance_uohm")
    if isinstance(measured, (int, float)):
        said.append(f"{measured / 1000:.3g} mΩ")
    return " · ".join(each for each in said if each)


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


REPLAY_WORDS: Words = {
    "claimed": _("being replayed"),
    "replayed": _("became readings"),
    "partly": _("in part"),
    "refused": _("refused again"),
}


@register.filter
def replay_word(state: str) -> str:
    """What a refused message's last replay came to."""
    return str(REPLAY_WORDS.get(state, _spoken(state)))


@register.filter
def in_seconds(milliseconds: int) -> str:
    """With its sign and one digit."""
    return number_format(milliseconds / 1000, 1)


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
