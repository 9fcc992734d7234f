"""Vehicle identification numbers: ISO 3779's form, and the check digit where a region has one."""

import re

from django.core.exceptions import ValidationError
from django.utils.translation import gettext as _

from apps.fleet.models import VIN_PATTERN

_WEIGHTS = (8, 7, 6, 5, 4, 3, 2, 10, 0, 9, 8, 7, 6, 5, 4, 3, 2)
_LETTERS = dict(
    zip(
        "ABCDEFGHJKLMNPRSTUVWXYZ",
        (1, 2, 3, 4, 5, 6, 7, 8, 1, 2, 3, 4, 5, 7, 9, 2, 3, 4, 5, 6, 7, 8, 9),
        strict=True,
    )
)
_CHECK_POSITION = 8
_REGIONS_WITH_CHECK_DIGIT = "12345L"
"""First characters: North America (1 to 5, FMVSS 565) and China (L, GB 16735)."""


def check_digit(vin: str) -> str:
    """The character that belongs at position 9: a digit, or X for ten."""
    total = sum(
        weight * (int(character) if character.isdigit() else _LETTERS[character])
        for weight, character in zip(_WEIGHTS, vin, strict=True)
    )
    return "0123456789X"[total % 11]


def has_check_digit(vin: str) -> bool:
    """Whether the vehicle comes from where position 9 is a check digit by law."""
    return vin[0] in _REGIONS_WITH_CHECK_DIGIT


def clean_vin(text: str) -> str:
    """The VIN in capitals without blanks. Raises ValidationError that tells what is wrong."""
    vin = "".join(text.split()).upper()
    if not re.match(VIN_PATTERN, vin):
        raise ValidationError(
            _("A VIN has 17 letters and digits, without I, O and Q."), code="vin_format"
        )
    if has_check_digit(vin) and vin[_CHECK_POSITION] != check_digit(vin):
        raise ValidationError(
            _(
                "This VIN has a typing error: its check digit (position 9) is %(found)s "
                "and should be %(expected)s."
            ),
            code="vin_check_digit",
            params={"found": vin[_CHECK_POSITION], "expected": check_digit(vin)},
        )
    return vin
