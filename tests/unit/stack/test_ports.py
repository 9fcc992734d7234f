"""A port that somebody sits on is noticed before anything starts."""

import socket

import pytest

from deploy.stack import running
from deploy.stack.errors import StackError
from deploy.stack.ports import Ports, free_base, is_free, taken
from deploy.stack.stack import Stack


def test_ten_ports_follow_the_base() -> None:
    ports = Ports.from_base(8100)
    assert (ports.web, ports.mqtt_devices, ports.elasticsearch, ports.spare) == (
        8100,
        8101,
        8107,
        8109,
    )


@pytest.mark.parametrize("base", [80, 65530])
def test_a_base_out_of_range_is_refused(base: int) -> None:
    with pytest.raises(ValueError, match="port base"):
        Ports.from_base(base)


def test_a_stranger_on_a_port_is_named(stack: Stack) -> None:
    base = free_base()
    with socket.socket() as stranger:
        stranger.bind(("127.0.0.1", base + 3))
        stranger.listen()
        assert taken(Ports.from_base(base), "127.0.0.1") == {"postgres": base + 3}
        moved = Stack(stack.home, stack.owner, Ports.from_base(base))
        with pytest.raises(StackError, match=rf"{base + 3}  postgres(?s:.*)--port-base"):
            running.refuse_taken_ports(moved)
    assert is_free(base + 3)


def test_a_free_base_has_ten_free_ports() -> None:
    assert taken(Ports.from_base(free_base()), "127.0.0.1") == {}
