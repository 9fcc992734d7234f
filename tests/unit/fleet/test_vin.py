"""VINs: the form everywhere, the check digit where a region has one."""

import pytest
from django.core.exceptions import ValidationError
from hypothesis import given
from hypothesis import strategies as st

from apps.fleet.vin import check_digit, clean_vin, has_check_digit

CHARACTERS = "ABCDEFGHJKLMNPRSTUVWXYZ0123456789"


@pytest.mark.parametrize("vin", ["1M8GDM9AXKP042788", "11111111111111111", "1HGCM82633A004352"])
def test_published_examples_have_their_check_digit(vin: str) -> None:
    assert check_digit(vin) == vin[8]
    assert clean_vin(vin) == vin


def test_blanks_and_small_letters_are_forgiven() -> None:
    assert clean_vin(" 1m8gdm9a xkp042788 ") == "1M8GDM9AXKP042788"


@pytest.mark.parametrize("vin", ["WVWZZZE1ZMP012345", "VF1RFB00X55555555", "JTDBR32E720012345"])
def test_europe_and_japan_have_no_check_digit(vin: str) -> None:
    assert not has_check_digit(vin)
    assert clean_vin(vin) == vin


@pytest.mark.parametrize("vin", ["", "1M8GDM9AXKP04278", "1M8GDM9AXKP0427888", "1M8GDM9AXKPO42788"])
def test_a_malformed_vin_is_told_the_form(vin: str) -> None:
    with pytest.raises(ValidationError, match="17 letters and digits"):
        clean_vin(vin)


def test_a_typing_error_is_told_with_both_digits() -> None:
    with pytest.raises(ValidationError) as refused:
        clean_vin("1M8GDM9A1KP042788")
    assert "is 1 and should be X" in refused.value.messages[0]


@given(
    st.text(CHARACTERS, min_size=17, max_size=17), st.integers(0, 16), st.sampled_from(CHARACTERS)
)
def test_a_single_wrong_digit_in_a_chinese_vin_is_noticed(
    draft: str, place: int, other: str
) -> None:
    draft = "L" + draft[1:]
    vin = draft[:8] + check_digit(draft) + draft[9:]
    assert clean_vin(vin) == vin
    wrong = vin[:place] + other + vin[place + 1 :]
    if place in (0, 8) or not (vin[place] + other).isdigit() or wrong == vin:
        return
    with pytest.raises(ValidationError):
        clean_vin(wrong)
