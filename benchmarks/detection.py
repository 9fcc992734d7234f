"""What one core judges: readings through all default detectors, state, checkpoints, growth.

Connectors that drive and charge, each with a current that changes each minute, temperatures that
follow it with noise, and everything else that a device may report. Batches hold an hour of each
connector, as a replay does, or some minutes of many, as live detection does. The yardstick is the
watch without any detector: sorting, clocks and copies, which nobody can do without.
"""

import gc
import os
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from benchmarks.harness import Measure, finish
from ohmwatch.checks.detectors import EXAMPLE
from ohmwatch.detector import Batch, Detector
from ohmwatch.detectors.defaults import default_detectors
from ohmwatch.watch import Watch, warm_up

START_MS = 1_795_420_800_000
STEP_MS = 5_000
TARGET_READINGS_S = 200_000
TARGET_STATE_BYTES = 2_048
ROUNDS = 3
MILLION = 1_000_000
MINUTE, HOUR = 12, 720
"""Readings of a connector."""
SIZES, QUICK_SIZES = (1_000, 10_000, 100_000, MILLION), (200, 2_000)
HOURLY_SIZES = (1_000, 10_000)
"""An hour of 100 000 connectors is 9 GiB of readings, and sorting takes as much again."""
FLAT = 0.7
BATCHES_MEASURED = 400_000
"""Readings, at least, over which a size is measured; a whole batch for the large ones."""


def main(quick: bool) -> int:
    detectors = default_detectors()
    warm_up(detectors)
    few = 200 if quick else 1_000
    replayed = readings_per_s(detectors, few, steps=HOUR, batches=4)
    bare = readings_per_s((), few, steps=HOUR, batches=4)
    live = readings_per_s(detectors, few, steps=MINUTE, batches=40)
    state = state_bytes(detectors)
    measures = [
        Measure.at_least(
            "all default detectors, an hour a batch", replayed, "readings/s", TARGET_READINGS_S
        ),
        Measure("the watch without detectors", bare, "readings/s"),
        Measure.at_least(
            "all default detectors, a minute a batch", live, "readings/s", TARGET_READINGS_S
        ),
        *growth(detectors, "a minute a batch", MINUTE, QUICK_SIZES if quick else SIZES),
        *growth(detectors, "an hour a batch", HOUR, QUICK_SIZES if quick else HOURLY_SIZES),
        Measure.at_most("state of a connector", state, "B", TARGET_STATE_BYTES),
        *crowd(detectors, 50_000 if quick else MILLION),
    ]
    finish("detection", measures, quick)
    return 0


def readings_per_s(
    detectors: tuple[Detector, ...], connectors: int, *, steps: int, batches: int
) -> float:
    """The best round, on one core: others on the machine only ever make it slower."""
    best = 0.0
    for _round in range(ROUNDS):
        watch, ratings = Watch(detectors), [EXAMPLE] * connectors
        took_s = 0.0
        for number in range(batches):
            batch = recorded(connectors, first=number * steps, steps=steps)
            started = time.process_time()
            judged = watch.observe(batch, ratings)
            took_s += time.process_time() - started
            if judged.failed:
                raise RuntimeError(judged.failed)
        best = max(best, connectors * steps * batches / took_s)
    return best


def growth(
    detectors: tuple[Detector, ...], name: str, steps: int, sizes: Sequence[int]
) -> list[Measure]:
    """The rate by number of connectors, as many readings of each in a batch, all met before."""
    rates = {count: known_readings_per_s(detectors, count, steps) for count in sizes}
    first = rates[sizes[0]]
    return [
        Measure(f"{name}, {sizes[0]:,} connectors", first, "readings/s"),
        *(
            Measure.at_least(f"{name}, {count:,} connectors", rate, "readings/s", FLAT, first)
            for count, rate in list(rates.items())[1:]
        ),
    ]


def known_readings_per_s(detectors: tuple[Detector, ...], connectors: int, steps: int) -> float:
    """The best round over connectors whose records have been made, on one core."""
    watch, ratings, best = Watch(detectors), [EXAMPLE] * connectors, 0.0
    batches = max(1, BATCHES_MEASURED // (connectors * steps))
    rounds = 1 if connectors * steps > 10 * BATCHES_MEASURED else ROUNDS
    watch.observe(recorded(connectors, first=0, steps=1), ratings)
    first = 1
    for _round in range(rounds):
        took_s = 0.0
        for _batch in range(batches):
            batch = recorded(connectors, first=first, steps=steps)
            first += steps
            started = time.process_time()
            judged = watch.observe(batch, ratings)
            took_s += time.process_time() - started
            if judged.failed or len(judged.judged) != len(batch):
                raise RuntimeError(judged.failed)
            del batch, judged
        best = max(best, batches * connectors * steps / took_s)
    return best


def state_bytes(detectors: tuple[Detector, ...]) -> float:
    """Everything kept of a connector: stages, detectors, clock."""
    watch = Watch(detectors)
    turns = (*watch.stages, *watch.detectors)
    return float(8 + sum(each.state_dtype.itemsize for each in turns))


def checkpoint(watch: Watch) -> list[Measure]:
    """Dumping and loading all that a watch holds; nothing is scaled."""
    connectors = len(watch.connectors)
    started = time.process_time()
    dumped = watch.dump()
    dumped_s = time.process_time() - started
    started = time.process_time()
    Watch.load(dumped, watch.detectors)
    loaded_s = time.process_time() - started
    return [
        Measure(f"a checkpoint of {connectors:,} connectors", dumped_s, "s"),
        Measure(f"restoring {connectors:,} connectors", loaded_s, "s"),
        Measure("bytes of it a connector", len(dumped) / connectors, "B"),
    ]


def crowd(detectors: tuple[Detector, ...], connectors: int) -> list[Measure]:
    """So many connectors in one watch, all of whose records have been written to."""
    names = [f"connector-{number}" for number in range(connectors)]
    ratings = [EXAMPLE] * connectors
    gc.collect()
    before, watch, best = resident_bytes(), Watch(detectors), 0.0
    for number in range(1 + ROUNDS):
        batch = replace(recorded(connectors, first=number, steps=1), connectors=names)
        started = time.process_time()
        judged = watch.observe(batch, ratings)
        took_s = time.process_time() - started
        if judged.failed or len(judged.judged) != connectors:
            raise RuntimeError(judged.failed)
        if number:  # at the first the records are made
            best = max(best, connectors / took_s)
        del batch, judged
    gc.collect()
    held = resident_bytes() - before
    return [
        Measure(f"memory that {connectors:,} connectors take", held / 2**30, "GiB"),
        Measure(f"a reading of each of {connectors:,} connectors", best, "readings/s"),
        *checkpoint(watch),
    ]


def resident_bytes() -> int:
    """What of this process lies in memory."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def recorded(connectors: int, *, first: int, steps: int) -> Batch:
    """Readings `first` to `first + steps` of each connector; the same each time."""
    chance = np.random.default_rng(first + 1)
    count = connectors * steps
    step = np.tile(np.arange(first, first + steps), connectors)
    owner = np.repeat(np.arange(connectors, dtype=np.int32), steps)
    minute = step // 12 + 7 * owner
    share = 0.45 + 0.4 * np.sin(minute / 9.0)
    warm_k = 32.0 * share**2
    times = START_MS + STEP_MS * step.astype(np.int64)
    return Batch(
        connectors=[f"connector-{number}" for number in range(connectors)],
        connector=owner,
        time_ms=times,
        arrived_ms=times,
        values={
            "current_a": 250.0 * share + chance.normal(0, 1, count),
            "voltage_v": 750.0 + chance.normal(0, 1, count),
            "temperature_pos_c": 22.0 + warm_k + chance.normal(0, 0.3, count),
            "temperature_neg_c": 22.5 + warm_k + chance.normal(0, 0.3, count),
            "ambient_c": 22.0 + chance.normal(0, 0.2, count),
            "drop_pos_mv": 45.0 * share + chance.normal(0, 0.2, count),
            "drop_neg_mv": 45.0 * share + chance.normal(0, 0.2, count),
            "insulation_kohm": 20_000.0 * chance.normal(1, 0.05, count),
            "interlock": np.ones(count),
            "humidity_pct": np.full(count, 45.0),
            "vibration_g": np.abs(chance.normal(0.3, 0.1, count)),
            "mated": np.ones(count),
            "mating_cycles": np.full(count, 120.0),
        },
    )
