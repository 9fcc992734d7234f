"""The JSON columns of a connector model, checked deeper than a database constraint can."""

import itertools
import math

from django.core.exceptions import ValidationError
from django.utils.translation import gettext as _


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def validate_derating(pairs: object) -> None:
    """Pairs [ambient °C, current A]: ambient rises strictly, current is ≥ 0 and never rises."""
    if not isinstance(pairs, list) or not all(
        isinstance(pair, list) and len(pair) == 2 and all(map(_is_number, pair)) for pair in pairs
    ):
        raise ValidationError(_("Derating is a list of pairs: ambient temperature and current."))
    ambients = [pair[0] for pair in pairs]
    currents = [pair[1] for pair in pairs]
    if any(later <= earlier for earlier, later in itertools.pairwise(ambients)):
        raise ValidationError(_("The derating's ambient temperatures must rise from pair to pair."))
    if any(current < 0 for current in currents) or currents != sorted(currents, reverse=True):
        raise ValidationError(_("The derating's currents must be zero or more and never rise."))


def validate_time_constants(constants: object) -> None:
    """None, one or two thermal time constants in seconds, each above zero."""
    if (
        not isinstance(constants, list)
        or len(constants) > 2
        or not all(_is_number(constant) and constant > 0 for constant in constants)
    ):
        raise ValidationError(_("One or two time constants in seconds, each above zero."))


def validate_reports(names: object) -> None:
    """Names of the quantities that the model's devices report."""
    if not isinstance(names, list) or not all(isinstance(name, str) and name for name in names):
        raise ValidationError(_("A list of names of quantities."))
