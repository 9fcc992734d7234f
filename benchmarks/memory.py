"""Memory of an acquisition worker while Elasticsearch is away under full load; nothing is lost.

The store goes out of reach in the middle of full load. The publisher goes on, large messages and
small ones mixed, until broker and worker hold several times what a worker takes in; the worker has
to say that it reads no more. Then the store comes back and every reading has to be there.

Messages are so large that the worker's high-water mark of 16 MiB ends its reading: where they are
small, a broker that keeps to the receive maximum stops before, at 4 000 of them, and the worker
holds less.
"""

import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import chain, count, islice

from benchmarks import ground, load
from benchmarks.ground import Broker
from benchmarks.harness import AccountOpen, Measure, close, finish
from benchmarks.ingest import AHEAD_READINGS
from benchmarks.load import Packets, Published, Recording
from tests.acquisition import Worker, elasticsearch_behind, elasticsearch_port, now_ms
from tests.faults import proxy

NEEDS_STORES = True
LIMIT_MIB = 250.0
LARGE, SMALL = 400, 2
"""Readings in a large message, and how many single ones come after it."""
LOOK_BACK_MS = 20_000_000
"""How long ago the first round's readings were measured; each round's are newer than the last's."""
_BEFORE_S = 5.0
_PATIENCE_S = 600.0
_LOOK_S, _FULL_WITHIN_S = 0.2, 60.0


@dataclass(frozen=True)
class Size:
    """How much is measured.

    A recording is sent again and again, the first `ready` times made before the clock runs;
    `away_s` without the store; `held` readings that wait at its end, at least: 16 MiB are some
    270 000.
    """

    devices: int
    ready: int
    away_s: float
    held: int

    @classmethod
    def of(cls, quick: bool) -> "Size":
        return cls(40, 8, 5.0, 500_000) if quick else cls(200, 4, 300.0, 1_000_000)


class NeverFull(Exception):
    """The worker was never asked to hold more than it may: its memory says nothing."""


def main(quick: bool) -> int:
    size = Size.of(quick)
    on = ground.prepare(size.devices)
    recording = load.record(on.fleet, LARGE + SMALL)
    with ground.broker() as broker, proxy.between(elasticsearch_port()) as store:
        url = elasticsearch_behind(store.port)
        with Worker(broker.worker_port, OHMWATCH_ELASTICSEARCH_URL=url) as worker:
            worker.start()
            publisher = Publisher(broker, _rounds(recording, size.ready))
            measures = _measured(publisher, worker, store, size)
            line = ground.close_account(on, [worker], publisher.sent)
    closed = close("readings", published=publisher.sent, received=line.received, stored=line.stored)
    finish("memory", measures, quick, closed=[closed])
    return 0


def _measured(
    publisher: "Publisher", worker: Worker, store: proxy.Proxy, size: Size
) -> list[Measure]:
    publisher.start()
    before = _highest(worker, until=_after(_BEFORE_S))
    store.cut()
    publisher.limit = size.held
    away = _highest(worker, until=_after(size.away_s))
    away = max(away, _highest(worker, until=_full(publisher, worker, size.held)))
    held, state = publisher.ahead, worker.state()
    store.mend()
    publisher.end()
    after = _highest(worker, until=publisher.is_all_counted)
    return [
        Measure("under load", before, "MiB"),
        Measure.at_most("store away", away, "MiB", LIMIT_MIB),
        Measure.at_most("catching up", after, "MiB", LIMIT_MIB),
        Measure("waiting when it came back, in broker and worker", held, "readings"),
        Measure("of it messages in the worker, which reads no more", _number(state), ""),
    ]


_NEARLY = 0.95
"""The publisher sends some hundred messages at once, and none that would go beyond."""


def _full(publisher: "Publisher", worker: Worker, held: int) -> Callable[[], bool]:
    """Whether so much waits that the worker reads no more. NeverFull where it never is."""
    give_up = time.monotonic() + _FULL_WITHIN_S

    def is_full() -> bool:
        state = worker.state()
        if publisher.ahead >= held * _NEARLY and state.get("reading") is False:
            return True
        if publisher.failure is not None or time.monotonic() > give_up:
            said = f"{publisher.ahead} of {held} readings wait, and the worker says {state}"
            raise NeverFull(said) from publisher.failure
        return False

    return is_full


def _number(state: dict[str, object]) -> float:
    return float(str(state["waiting_messages"]))


def _rounds(recording: Recording, ready: int) -> Iterator[Packets]:
    """The recording for ever, each time measured after the last; so many are made now."""
    length_ms = recording.instants * recording.step_ms
    begins_ms = count(now_ms() - LOOK_BACK_MS, length_ms)
    made = [Packets.of(_mixed(recording, next(begins_ms))) for _ in range(ready)]
    return chain(made, (Packets.of(_mixed(recording, begin_ms)) for begin_ms in begins_ms))


def _mixed(recording: Recording, begin_ms: int) -> Iterator[Published]:
    large = load.by_columns(recording.part(0, LARGE), begin_ms, LARGE)
    singles_ms = begin_ms + LARGE * recording.step_ms
    small = load.one_by_one(recording.part(LARGE, LARGE + SMALL), singles_ms)
    for message in large:
        yield message
        yield from islice(small, SMALL)


class Publisher:
    """Publishes in a thread, as fast as it may; fails the run if a message is not accepted."""

    def __init__(self, broker: Broker, rounds: Iterator[Packets]) -> None:
        self.limit = AHEAD_READINGS
        """How many readings it may be ahead of what is counted."""
        self.sent = 0
        self._over = threading.Event()
        self.failure: BaseException | None = None
        self._thread = threading.Thread(target=self._run, args=(broker, rounds), daemon=True)

    def start(self) -> None:
        self._thread.start()

    def end(self) -> None:
        """Finish the round in hand: nothing comes after it."""
        self._over.set()

    @property
    def ahead(self) -> int:
        """Readings sent and not yet counted: they wait, in the broker or in the worker."""
        return self.sent - ground.counted()

    def is_all_counted(self) -> bool:
        """Whether all of it has been sent, and received. Raises what made it fail."""
        if self.failure is not None:
            raise self.failure
        return not self._thread.is_alive() and ground.counted() >= self.sent

    def _run(self, broker: Broker, rounds: Iterator[Packets]) -> None:
        try:
            with broker.loader() as loader:
                for packets in rounds:
                    load.publish(loader, packets, may_send=self._may_send(self.sent))
                    if self._over.is_set():
                        return
        except BaseException as failure:
            self.failure = failure

    def _may_send(self, before: int) -> Callable[[int], bool]:
        counted, looked_at = 0, 0.0

        def may_send(readings: int) -> bool:
            nonlocal counted, looked_at
            if time.monotonic() - looked_at > 0.1:
                looked_at, counted = time.monotonic(), ground.counted()
            if before + readings - counted > self.limit:
                return False
            self.sent = before + readings
            return True

        return may_send


def _after(seconds: float) -> Callable[[], bool]:
    end = time.monotonic() + seconds
    return lambda: time.monotonic() >= end


def _highest(worker: Worker, *, until: Callable[[], bool]) -> float:
    """The most memory that the worker held until then, in MiB."""
    give_up = time.monotonic() + _PATIENCE_S
    worker.forget_peak()
    while not until():
        if time.monotonic() > give_up:
            raise AccountOpen(f"only {ground.counted()} readings have been received")
        time.sleep(_LOOK_S)
    return worker.memory_mb()
