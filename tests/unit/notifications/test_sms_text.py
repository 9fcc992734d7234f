"""What a phone shows: three parts at most, the link whole."""

import pytest

from apps.notifications.channels.sms.text import parts, text_of
from tests.messages import URL, item, message


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", 1),
        ("a" * 160, 1),
        ("a" * 161, 2),
        ("a" * 459, 3),
        ("a" * 460, 4),
        ("€" * 80, 1),
        ("€" * 81, 2),
        ("电" * 70, 1),
        ("电" * 71, 2),
        ("电" * 201, 3),
        ("🔥" * 35, 1),
        ("🔥" * 36, 2),
    ],
)
def test_parts_on_air(text: str, expected: int) -> None:
    assert parts(text) == expected


def test_what_where_since_when_what_to_do_and_the_link() -> None:
    text = text_of(message())
    assert text.startswith("Critical: Loose contact. Taxi 1, HH-BT 1, SN-0001. ")
    assert "since 2026-11-23 20:00 CST" in text
    assert "Stop in a safe place" in text
    assert text.endswith(f" {URL}")
    assert parts(text) <= 3


def test_several_alarms_are_counted_and_linked_together() -> None:
    text = text_of(message(item(), item(), total=40))
    assert "39 more alarms." in text
    assert text.endswith(" http://kunlun.localhost:8000/alarms/")


def test_the_end_of_an_alarm_asks_for_nothing() -> None:
    text = text_of(message(item(kind="cleared")))
    assert text.startswith("Over: ")
    assert "Stop" not in text


@pytest.mark.parametrize("language", ["en", "zh-hans"])
@pytest.mark.parametrize("name", ["Taxi 1", "电" * 80, "x" * 80, "a b " * 20, "🔥" * 80])
@pytest.mark.parametrize("severity", ["notice", "warning", "critical"])
@pytest.mark.parametrize("condition", ["insulation_low", "plugin_" + "y" * 70])
def test_never_more_than_three_parts(
    language: str, name: str, severity: str, condition: str
) -> None:
    worst = item(vehicle=name, plate=name, condition=condition, severity=severity)
    text = text_of(message(worst, total=999, language=language))
    assert parts(text) <= 3
    assert text.endswith("http://kunlun.localhost:8000/alarms/")


def test_names_can_not_forge_lines() -> None:
    text = text_of(message(item(vehicle="Taxi\r\n1\nCritical: pay", plate="\u2028")))
    assert len(text.splitlines()) == 1


def test_what_comes_and_goes_is_said_so_in_both_languages() -> None:
    flapping = item(course="comes_and_goes")
    said = text_of(message(flapping))
    assert "It comes and goes" in said
    assert parts(said) <= 3
    assert "时有时无" in text_of(message(flapping, language="zh-hans"))
    assert "comes and goes" not in text_of(message())
    calm = item(kind="cleared", course="stayed_quiet")
    assert "has stayed quiet since" in text_of(message(calm))
