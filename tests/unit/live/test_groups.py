"""Names of groups, and which page may open a socket."""

import uuid

import pytest

from apps.live import groups
from apps.live.tenancy import same_host
from apps.live.viewer import session_key_of


def test_a_group_carries_its_schema() -> None:
    key = uuid.UUID(int=7)
    assert groups.staff("t_kunlun") == "t.t_kunlun.alarms.staff"
    assert groups.organisation("t_kunlun", key) == f"t.t_kunlun.alarms.{key}"


@pytest.mark.parametrize("schema", ["", "t.kunlun", "T", "t_kunlun.alarms", "t" * 60, "t/../u"])
def test_no_name_can_be_forged(schema: str) -> None:
    with pytest.raises(ValueError, match="no group"):
        groups.staff(schema)


@pytest.mark.parametrize(
    ("origin", "host", "same"),
    [
        ("http://kunlun.localhost:8000", "kunlun.localhost:8000", True),
        ("https://KUNLUN.example", "kunlun.example", True),
        ("http://aurora.localhost:8000", "kunlun.localhost:8000", False),
        ("http://kunlun.localhost:8001", "kunlun.localhost:8000", False),
        ("http://kunlun.localhost:8000@evil.example", "kunlun.localhost:8000", False),
        ("null", "kunlun.localhost:8000", False),
        ("", "kunlun.localhost:8000", False),
        ("", "", False),
    ],
)
def test_only_a_page_of_the_same_host_opens_a_socket(origin: str, host: str, same: bool) -> None:
    assert same_host(origin, host) is same


def test_the_session_is_in_the_cookies() -> None:
    headers = [(b"host", b"x"), (b"cookie", b"a=b; ohmwatch-session=k3y; c=d")]
    assert session_key_of(headers) == "k3y"
    assert session_key_of([(b"cookie", b"a=b")]) == ""
    assert session_key_of([(b"cookie", b"\xff\x00;;=")]) == ""
    assert session_key_of([]) == ""
