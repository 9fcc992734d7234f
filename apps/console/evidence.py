"""The figures that made a detector say it, in the order in which a person reads them."""

from collections.abc import Mapping

_FIRST = (
    "rise_k",
    "allowed_rise_k",
    "difference_k",
    "allowed_difference_k",
    "expected_rise_k",
    "insulation_kohm",
    "insulation_minimum_kohm",
    "temperature_pos_c",
    "temperature_neg_c",
    "temperature_limit_c",
    "margin_k",
    "resistance_uohm",
    "current_a",
    "ambient_c",
)
"""What was seen, then what was allowed, then under which load."""


def in_order(evidence: Mapping[str, object]) -> list[tuple[str, object]]:
    """(name, value) of all figures; those that nobody put in order follow by name."""
    known = {name: place for place, name in enumerate(_FIRST)}
    return sorted(evidence.items(), key=lambda item: (known.get(item[0], len(known)), item[0]))
