"""A TCP proxy between a worker and a store or broker, which a test cuts, freezes or makes deaf."""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from tests.mqtt import free_port

_CHUNK = 65_536


class Proxy:
    """Listens on `port` of this machine; forwards to `host`:`target` while it is whole."""

    def __init__(self, target: int, *, host: str = "127.0.0.1") -> None:
        self._target = (host, target)
        self.port = free_port()
        self._listener: socket.socket | None = None
        self._pairs: set[tuple[socket.socket, socket.socket]] = set()
        self._lock = threading.Lock()
        self._flows = threading.Event()
        self._flows.set()
        self.swallows_answers = False
        """Requests arrive, answers don't: the worker can't know what was done."""
        self.is_mute = False
        """The same, and the connection stays: the worker waits for an answer that never comes."""
        self.unheard = bytearray()
        """The answers that came meanwhile."""
        self.passed = 0
        """Bytes that went to the target."""

    # --- what a test does ---------------------------------------------------------------------

    def mend(self) -> None:
        """Whole again: new connections are taken and bytes flow."""
        self.swallows_answers = self.is_mute = False
        self.unheard.clear()
        self._flows.set()
        if self._listener is None:
            listener = socket.socket()
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind(("127.0.0.1", self.port))
            listener.listen(64)
            self._listener = listener
            threading.Thread(target=self._accept, args=(listener,), daemon=True).start()

    def cut(self) -> None:
        """Every connection is reset, new ones are refused."""
        listener, self._listener = self._listener, None
        if listener is not None:
            with suppress(OSError):
                listener.shutdown(socket.SHUT_RDWR)
            listener.close()
        self.cut_connections()

    def cut_connections(self) -> None:
        """Every connection is reset, new ones are welcome."""
        with self._lock:
            pairs, self._pairs = self._pairs, set()
        for pair in pairs:
            for one in pair:
                _reset(one)

    def freeze(self) -> None:
        """Connections stay, nothing passes: as when a cable is pulled."""
        self._flows.clear()

    # --- how it does it -----------------------------------------------------------------------

    def _accept(self, listener: socket.socket) -> None:
        while True:
            try:
                near, _ = listener.accept()
            except OSError:
                return
            try:
                far = socket.create_connection(self._target, timeout=5)
            except OSError:
                near.close()
                continue
            far.settimeout(None)
            with self._lock:
                self._pairs.add((near, far))
            threading.Thread(target=self._pump, args=(near, far, True), daemon=True).start()
            threading.Thread(target=self._pump, args=(far, near, False), daemon=True).start()

    def _pump(self, source: socket.socket, sink: socket.socket, forth: bool) -> None:
        with suppress(OSError):
            while chunk := source.recv(_CHUNK):
                self._flows.wait()
                if forth:
                    self.passed += len(chunk)
                elif self.swallows_answers:
                    _reset(sink)
                    break
                elif self.is_mute:
                    self.unheard += chunk
                    continue
                sink.sendall(chunk)
        for one in (source, sink):
            with suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)


def _reset(one: socket.socket) -> None:
    with suppress(OSError):
        one.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        one.shutdown(socket.SHUT_RDWR)
        one.close()


@contextmanager
def between(target: int, *, host: str = "127.0.0.1") -> Iterator[Proxy]:
    proxy = Proxy(target, host=host)
    proxy.mend()
    try:
        yield proxy
    finally:
        proxy.cut()
