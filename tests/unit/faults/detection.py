"""Detection in a hundred lines: a log, a lease, checkpoints, alarms, and a zombie.

As model.py is for acquisition: the right model is what the product promises, and each mutant breaks
one promise. An alarm opens at the third hot reading in a row and clears at a cold one.
"""

import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from tests.faults.checker import Judged, Key

PAGE = 4
READINGS = 80
IN_A_ROW = 3
HOT = 0.6
CONNECTORS = (("kunlun", "a"), ("kunlun", "b"), ("aurora", "a"))
FENCING, CONSTRAINT, EARLY, HEADERLESS = MUTANTS = (
    "no fencing",
    "no unique constraint",
    "checkpoint before the findings are committed",
    "a task without its tenant's header works in public",
)


class Killed(Exception):
    """The worker is gone."""


class Entry(NamedTuple):
    """A reading in the partition's log."""

    key: Key
    hot: bool


@dataclass
class Partition:
    """What outlives a worker. `rows`: how often in a row each connector was hot, by the checkpoint;
    `open`: connectors with an open alarm."""

    position: int = 0
    rows: dict[tuple[str, str], int] = field(default_factory=dict)
    token: int = 0
    open: list[tuple[str, str]] = field(default_factory=list)
    alarms: list[Key] = field(default_factory=list)
    judged: list[Key] = field(default_factory=list)


@dataclass
class Worker:
    """A life: the number of its lease, and what it knew when it took it."""

    token: int
    position: int
    rows: dict[tuple[str, str], int]

    @classmethod
    def of(cls, partition: Partition) -> "Worker":
        """Takes the lease over from whoever had it."""
        partition.token += 1
        return cls(partition.token, partition.position, dict(partition.rows))


def play(seed: int, mutant: str = "") -> Judged:
    """A run: kills between any two steps, and workers that come back from a long sleep."""
    chance = random.Random(seed)
    log = _log(chance)
    partition = Partition()
    sleeper: Worker | None = None
    while partition.position < len(log):
        worker = Worker.of(partition)
        if chance.random() < 0.15:
            sleeper = Worker.of(partition)
            continue
        _visit(partition, worker, log, chance, mutant)
        if sleeper is not None and chance.random() < 0.3:
            _visit(partition, sleeper, log, chance, mutant)
            sleeper = None
    accepted = {entry.key for entry in log}
    return Judged(seed, accepted, _expected(log), partition.alarms, partition.judged)


def _log(chance: random.Random) -> Sequence[Entry]:
    return [
        Entry((*CONNECTORS[number % len(CONNECTORS)], 1_000 + number), chance.random() < HOT)
        for number in range(READINGS)
    ]


def _visit(
    partition: Partition, worker: Worker, log: Sequence[Entry], chance: random.Random, mutant: str
) -> None:
    """Pages until it is killed or the log is read."""
    try:
        while worker.position < len(log):
            page = log[worker.position : worker.position + PAGE]
            findings = [each for entry in page if (each := _finding(worker, entry))]
            worker.position += len(page)
            _die_perhaps(chance)
            if mutant == EARLY:
                _checkpoint(partition, worker)
                _die_perhaps(chance)
            if worker.token != partition.token and mutant != FENCING:
                return  # the transaction finds a newer number and is rolled back
            _state(partition, findings, chance, mutant)
            partition.judged.extend(entry.key for entry in page)
            _checkpoint(partition, worker)
            _die_perhaps(chance)
    except Killed:
        return


def _die_perhaps(chance: random.Random) -> None:
    if chance.random() < 0.05:
        raise Killed


def _finding(worker: Worker, entry: Entry) -> tuple[Key, bool] | None:
    """(reading, whether it begins or ends), where it does either."""
    who = entry.key[:2]
    before = worker.rows.get(who, 0)
    worker.rows[who] = before + 1 if entry.hot else 0
    if worker.rows[who] == IN_A_ROW:
        return entry.key, True
    return (entry.key, False) if before >= IN_A_ROW and not entry.hot else None


def _state(
    partition: Partition,
    findings: Sequence[tuple[Key, bool]],
    chance: random.Random,
    mutant: str,
) -> None:
    """Findings become alarms. At times a sweep has stated the same a moment before."""
    for key, begins in findings:
        who = key[:2]
        if not begins:
            partition.open = [each for each in partition.open if each != who]
            continue
        for _ in range(1 + (chance.random() < 0.1)):
            if mutant != CONSTRAINT and who in partition.open:
                continue
            partition.open.append(who)
            headerless = mutant == HEADERLESS and chance.random() < 0.1
            partition.alarms.append(("public", *key[1:]) if headerless else key)


def _checkpoint(partition: Partition, worker: Worker) -> None:
    partition.position, partition.rows = worker.position, dict(worker.rows)


def _expected(log: Sequence[Entry]) -> set[Key]:
    rows: dict[tuple[str, str], int] = {}
    expected = set()
    for key, hot in log:
        rows[key[:2]] = rows.get(key[:2], 0) + 1 if hot else 0
        if rows[key[:2]] == IN_A_ROW:
            expected.add(key)
    return expected
