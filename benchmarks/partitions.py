"""What detection judges with more partitions: the same connectors over 1, 4, 16 and 64 of them.

Readings lie in the logs as acquisition appends them, a batch of some connectors at a time, and a
detection worker's desk visits partition after partition until all is judged and committed, and the
newest state of each connector is written for people to see. More
partitions cut the same readings into more and smaller pieces, each with its share of what a visit
costs; the target is that this stays small. Processor time, on one core: others on the machine
change it least.
"""

import time
from collections.abc import Iterable, Iterator

import numpy as np

from apps.partitions.log import Chunk, PartitionLog
from apps.partitions.metrics import REGISTRY
from apps.partitions.models import Checkpoint
from apps.partitions.queries import positions
from apps.partitions.wakeups import REORDER_WINDOW_MS
from benchmarks import ground, load
from benchmarks.ground import QUANTITIES, TENANT, Ground
from benchmarks.harness import Measure, finish
from benchmarks.load import Recording
from tests.acquisition import now_ms
from workers.detection import passes, tasks
from workers.detection.desk import Desk

NEEDS_STORES = True
PARTITIONS = (1, 4, 16, 64)
TARGET = 0.8
READINGS_A_CHUNK, CHUNKS_A_BATCH = 50, 60
"""Of a connector in a message, and of messages in a batch of acquisition at full rate."""
ROUNDS = 3


class NotAllJudged(Exception):
    """The visits ended with something unjudged: the rate is of less than it claims."""


def main(quick: bool) -> int:
    devices, instants = (40, 100) if quick else (200, 200)
    on = ground.prepare(devices)
    recording = load.record(on.fleet, instants)
    rates = dict.fromkeys(PARTITIONS, 0.0)
    for _round in range(1 if quick else ROUNDS):
        for number in PARTITIONS:
            rates[number] = max(rates[number], _rate(on, recording, number))
    few = rates[PARTITIONS[0]]
    measures = [Measure(f"{PARTITIONS[0]} partition", few, "readings/s")] + [
        Measure.at_least(f"{number} partitions", rates[number], "readings/s", TARGET, few)
        for number in PARTITIONS[1:]
    ]
    finish("partitions", measures, quick)
    return 0


def _rate(on: Ground, recording: Recording, partitions: int) -> float:
    """Readings judged a second of processor time."""
    ground.flush_redis()
    Checkpoint.objects.all().delete()
    desk = _desk(partitions)
    for partition in range(partitions):  # a log that is new is no lost one to be read again
        passes.visit(partition, desk=desk)
    _took_s(
        desk, [_greeting(recording)]
    )  # all are met: making their records is not what is measured
    before = _judged()
    took_s = _took_s(desk, _batches(recording))
    if _judged() - before != len(recording):
        raise NotAllJudged(f"{_judged() - before:.0f} of {len(recording)}")
    _check(desk)
    return len(recording) / took_s


def _took_s(desk: Desk, batches: Iterable[list[Chunk]]) -> float:
    """Processor time to judge all of it, with checkpoints, and to write what people see."""
    for batch in batches:
        desk.log.append(batch)
    time.sleep(REORDER_WINDOW_MS / 1000 + 0.05)
    ends = {each: desk.log.last_entry(each) for each in range(desk.log.partitions)}
    began = time.process_time()
    for partition, last in ends.items():
        while last is not None and desk.holdings[partition].position.entry != last:
            passes.visit(partition, desk=desk)
    _commit(desk)
    while desk.board.is_waiting:
        time.sleep(0.01)
    return time.process_time() - began


def _judged() -> float:
    return REGISTRY.get_sample_value("ohmwatch_detection_readings_judged_total") or 0.0


def _desk(partitions: int) -> Desk:
    tasks.the_desk.cache_clear()
    desk = tasks.the_desk()
    desk.log = PartitionLog(desk.client, partitions, wake=lambda woken, delay_ms: None)
    desk.directory.load()
    return desk


def _commit(desk: Desk) -> None:
    """As many at once as are visited together: in operation they are due together."""
    holdings = list(desk.holdings.values())
    for first in range(0, len(holdings), passes.PARTY):
        passes._checkpoint(holdings[first : first + passes.PARTY], desk)


def _check(desk: Desk) -> None:
    known = positions()
    for partition in range(desk.log.partitions):
        last = desk.log.last_entry(partition)
        if last is not None and known[partition].entry != last:
            raise NotAllJudged(partition)


def _greeting(recording: Recording) -> list[Chunk]:
    """A reading of each connector, before all others."""
    at_ms = now_ms() - (recording.instants + 1) * recording.step_ms
    values = {"current_a": np.zeros(1)}
    return [
        Chunk(TENANT, unit.connector, now_ms(), np.array([at_ms], dtype=np.int64), values)
        for unit in recording.fleet.units
    ]


def _batches(recording: Recording) -> Iterator[list[Chunk]]:
    begin_ms = now_ms() - recording.instants * recording.step_ms
    columns = {name: np.array(recording.values[name], dtype=np.float64) for name in QUANTITIES}
    pieces = [
        (place, first)
        for first in range(0, recording.instants, READINGS_A_CHUNK)
        for place in range(len(recording.fleet.units))
    ]
    for start in range(0, len(pieces), CHUNKS_A_BATCH):
        arrived_ms = now_ms()
        yield [
            Chunk(
                TENANT,
                recording.fleet.units[place].connector,
                arrived_ms,
                begin_ms
                + recording.step_ms * np.arange(first, first + READINGS_A_CHUNK, dtype=np.int64),
                {
                    name: column[first : first + READINGS_A_CHUNK, place]
                    for name, column in columns.items()
                },
            )
            for place, first in pieces[start : start + CHUNKS_A_BATCH]
        ]
