"""Which port is whose, and whether somebody sits on it."""

import random
import socket
from dataclasses import dataclass, fields

# Below the range from which the kernel lends ports to outgoing connections (32768 and up).
_FREE_BASES = range(20000, 32000, 10)


@dataclass(frozen=True)
class Ports:
    """The ten ports of a stack, in order from its base."""

    web: int
    mqtt_devices: int
    mqtt_workers: int
    postgres: int
    redis: int
    smtp: int
    inbox: int
    elasticsearch: int
    elasticsearch_transport: int
    spare: int

    @classmethod
    def from_base(cls, base: int) -> "Ports":
        if not 1024 <= base <= 65525:
            raise ValueError("the port base must lie in 1024 ... 65525")
        return cls(*(base + offset for offset in range(len(fields(cls)))))

    def named(self) -> dict[str, int]:
        """Name to port, in order; the spare one is nobody's."""
        return {f.name: getattr(self, f.name) for f in fields(self) if f.name != "spare"}


def is_free(port: int, host: str = "127.0.0.1") -> bool:
    """True where a server could listen there now."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
            probe.listen(1)
        except OSError:
            return False
    return True


def taken(ports: Ports, host: str) -> dict[str, int]:
    """The ports of the stack that somebody else listens on, by name."""
    return {
        name: port
        for name, port in ports.named().items()
        if not is_free(port) or not is_free(port, host)
    }


def free_base() -> int:
    """A base whose ten ports are all free now, for a stack that nobody types the address of."""
    for base in random.sample(_FREE_BASES, len(_FREE_BASES)):
        if not taken(Ports.from_base(base), "127.0.0.1"):
            return base
    raise OSError("no ten free ports in a row between 20000 and 32000")
