"""What a mail says, and what becomes of each answer of a mail server."""

from collections.abc import Iterator
from dataclasses import replace

import pytest
from pytest_django.fixtures import Settings

from apps.notifications.channel import TransportError
from apps.notifications.channels.email.channel import CHANNEL, compose
from tests.messages import URL, item, message
from tests.outside import MailServer, free_port


def bodies() -> Iterator[str]:
    mail = compose(message())
    yield str(mail.body)
    yield str(mail.alternatives[0][0])


def test_it_says_what_where_since_when_and_what_to_do() -> None:
    for body in bodies():
        for said in (
            "Loose contact",
            "Taxi 1",
            "HH-BT 1",
            "SN-0001",
            "positive pole",
            "2026-11-23 20:00 Asia/Shanghai",
            "measured by the device",
            "131 °C",
            "1.5 h",
            "Stop in a safe place",
            URL,
        ):
            assert said in body, said


def test_the_subject_is_one_line_whatever_people_call_their_vehicles() -> None:
    mail = compose(message(item(vehicle="Taxi\r\nBcc: all@x.example" + "x" * 300), total=3))
    assert "\n" not in mail.subject
    assert "\r" not in mail.subject
    assert len(mail.subject) <= 150
    assert mail.subject.endswith("and 2 more")


def test_text_is_text_and_html_is_escaped() -> None:
    mail = compose(message(item(vehicle="<script>alert(1)</script> & co")))
    assert "<script>alert(1)</script> & co" in str(mail.body)
    html = str(mail.alternatives[0][0])
    assert "<script>" not in html
    assert "&lt;script&gt;" in html


def test_in_chinese_it_still_names_zone_and_link() -> None:
    mail = compose(message(language="zh-hans"))
    assert 'lang="zh-hans"' in str(mail.alternatives[0][0])
    assert "Asia/Shanghai" in str(mail.body)
    assert URL in str(mail.body)


def test_what_is_not_listed_is_counted() -> None:
    mail = compose(message(item(), item(number=8), total=40))
    assert "38 more alarms" in str(mail.body)


def test_a_repeat_has_the_same_message_id(mails: MailServer) -> None:
    receipts = {CHANNEL.send(message()), CHANNEL.send(message())}
    assert len(receipts) == 1
    assert {mail["Message-ID"] for mail in mails.mails} == receipts


@pytest.mark.parametrize(
    ("answer", "permanent"),
    [("550 no such user", True), ("554 refused", True), ("451 later", False), ("452 full", False)],
)
def test_each_answer_says_whether_a_repeat_can_help(
    mails: MailServer, answer: str, permanent: bool
) -> None:
    mails.answer = answer
    with pytest.raises(TransportError) as caught:
        CHANNEL.send(message())
    assert caught.value.permanent is permanent
    assert caught.value.code == f"smtp_{answer[:3]}"
    assert "ben@" not in str(caught.value)


def test_nobody_there_is_no_reason_to_give_up(mails: MailServer, settings: Settings) -> None:
    settings.EMAIL_PORT = free_port()
    with pytest.raises(TransportError) as caught:
        CHANNEL.send(message())
    assert (caught.value.permanent, caught.value.reached) == (False, False)


def test_what_comes_and_goes_is_said_so_in_both_languages() -> None:
    flapping = item(course="comes_and_goes")
    for language, said in (("en", "It comes and goes"), ("zh-hans", "时有时无")):
        mail = compose(message(flapping, language=language))
        assert said in str(mail.body)
        assert said in str(mail.alternatives[0][0])
    assert "comes and goes" not in str(compose(message()).body)


def test_a_program_finds_where_one_says_what_to_be_told() -> None:
    contacts = "http://kunlun.localhost:8000/contacts/"
    mail = compose(replace(message(), contacts_url=contacts + "\r\nBcc: all@x.example"))
    assert mail.extra_headers["List-Unsubscribe"].startswith(f"<{contacts}")
    assert "\n" not in mail.extra_headers["List-Unsubscribe"]
    assert "List-Unsubscribe" not in compose(message()).extra_headers
