"""Memory of an acquisition worker while Elasticsearch is away under full load; nothing is lost.

The store goes out of reach in the middle of full load. The publisher goes on until the broker holds
several times what a worker takes in, large messages and small ones mixed; then the store comes back
and every reading has to be there.
"""

import threading
import time
from collections.abc import Iterator
from itertools import zip_longest

from benchmarks import ground, load
from benchmarks.ground import Broker, Ground
from benchmarks.harness import Measure, finish
from benchmarks.load import Packets, Published, Recording
from tests.acquisition import Worker, elasticsearch_behind, elasticsearch_port, now_ms
from tests.faults import proxy

NEEDS_STORES = True
LIMIT_MIB = 250.0
AWAY_S, QUICK_AWAY_S = 300.0, 12.0
HELD_READINGS = 600_000
"""With the broker at most: about 50 MiB, twice the worker's high-water mark."""
_BEFORE_S = 5.0
_PATIENCE_S = 240.0


def main(quick: bool) -> int:
    on = ground.prepare(100 if quick else 200)
    recording = load.record(on.fleet, 200 if quick else 400)
    with ground.broker() as broker, proxy.between(elasticsearch_port()) as store:
        url = elasticsearch_behind(store.port)
        with Worker(broker.worker_port, OHMWATCH_ELASTICSEARCH_URL=url) as worker:
            worker.start()
            measures = _measured(on, recording, broker, worker, store, quick)
    finish("memory", measures, quick)
    return 0


def _measured(
    on: Ground,
    recording: Recording,
    broker: Broker,
    worker: Worker,
    store: proxy.Proxy,
    quick: bool,
) -> list[Measure]:
    packets = Packets.of(_mixed(recording))
    publisher = _Publisher(broker, packets)
    before = _highest(worker, _BEFORE_S)
    store.cut()
    away = _highest(worker, QUICK_AWAY_S if quick else AWAY_S)
    published = publisher.sent
    store.mend()
    after = _highest_until_done(worker, packets.total)
    publisher.join()
    ground.close_account(on, [worker], packets.total)
    return [
        Measure("under load", before, "MiB"),
        Measure.at_most("store away", away, "MiB", LIMIT_MIB),
        Measure.at_most("catching up", after, "MiB", LIMIT_MIB),
        Measure("waiting for it, in broker and worker", published, "readings"),
    ]


def _mixed(recording: Recording) -> Iterator[Published]:
    """The first half of the instants in batches of 50, the second half one by one."""
    half = recording.instants // 2
    begin_ms = now_ms() - recording.instants * recording.step_ms
    large = load.by_columns(recording.part(0, half), begin_ms, 50)
    small = load.one_by_one(recording.part(half, half + 40), begin_ms + half * recording.step_ms)
    for one, other in zip_longest(large, small):
        yield from (each for each in (one, other) if each is not None)


class _Publisher:
    """Publishes in a thread; fails the run if a message is not accepted."""

    def __init__(self, broker: Broker, packets: Packets) -> None:
        self.sent = 0
        self._failure: BaseException | None = None
        self._thread = threading.Thread(target=self._run, args=(broker, packets), daemon=True)
        self._thread.start()

    def _run(self, broker: Broker, packets: Packets) -> None:
        counted, looked_at = 0, 0.0

        def may_send(readings: int) -> bool:
            nonlocal counted, looked_at
            if time.monotonic() - looked_at > 0.1:
                looked_at, counted = time.monotonic(), ground.counted()
            if readings - counted > HELD_READINGS:
                return False
            self.sent = readings
            return True

        try:
            with broker.loader() as loader:
                load.publish(loader, packets, may_send=may_send)
        except BaseException as failure:
            self._failure = failure

    def join(self) -> None:
        self._thread.join()
        if self._failure is not None:
            raise self._failure


def _highest(worker: Worker, for_s: float) -> float:
    """The most memory that the worker held in this time, in MiB."""
    worker.forget_peak()
    time.sleep(for_s)
    return worker.memory_mb()


def _highest_until_done(worker: Worker, readings: int) -> float:
    end = time.monotonic() + _PATIENCE_S
    worker.forget_peak()
    while ground.counted() < readings:
        if time.monotonic() > end:
            raise ground.AccountOpen(f"{ground.counted()} of {readings} after {_PATIENCE_S:.0f} s")
        time.sleep(0.2)
    return worker.memory_mb()
