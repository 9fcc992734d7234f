"""`ohmwatch backtest` on a recording larger than what it holds: how fast, and in how much memory.

A thousand connectors of the scenario generator, each reporting every ten seconds, as Parquet. The
command runs as anybody runs it, in a process of its own, once over the first quarter of the
recording and once over all of it: what it holds must not grow with what it reads.
"""

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median

import numpy as np

from benchmarks.harness import Measure, finish
from benchmarks.warning.profiles import NOMINAL
from benchmarks.warning.recording import CONNECTORS, READINGS, write_connectors, write_parquet
from benchmarks.warning.scenarios import generate
from ohmwatch.backtest.recording import ROWS

SEED = 7
CONNECTORS_JUDGED, QUICK_CONNECTORS = 1_000, 40
PARTS = 4
PART_HOURS = 6
TARGET_TIMES = 100.0
TARGET_GROWTH = 1.1
PROFILE = replace(
    NOMINAL,
    intervals_s=(10.0,),
    asleep=0.0,
    onset_from_days=0.05,
    onset_to_days=0.5,
    growth_days=(0.1, 0.3),
)
"""Often enough to be much, and with alarms all the way, for they are held as well."""


@dataclass(frozen=True)
class Run:
    """One run of the command, in seconds, MiB and readings.

    `usual_mib` is the median of its second half: memory goes up and down with each block of the
    file, and the highest of more blocks is higher.
    """

    wall_s: float
    processor_s: float
    peak_mib: float
    usual_mib: float
    readings: int


def main(quick: bool) -> int:
    count = QUICK_CONNECTORS if quick else CONNECTORS_JUDGED
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        parts = record(folder, count)
        run(folder, [parts[0]])  # compiles what is not compiled yet
        short, long = run(folder, [parts[0]]), run(folder, parts)
    span_s = PARTS * PART_HOURS * 3600.0
    times, rate = span_s / long.wall_s, long.readings / long.wall_s
    measures = [
        Measure.at_least(f"{count:,} connectors, times real time", times, "", TARGET_TIMES),
        Measure("readings judged", rate, "readings/s"),
        Measure("the same by processor time", long.readings / long.processor_s, "readings/s"),
        Measure("readings of the recording", long.readings, ""),
        Measure("times what is held of them", long.readings / ROWS, ""),
        Measure.at_most(
            "memory, of that over a quarter", long.usual_mib, "MiB", TARGET_GROWTH, short.usual_mib
        ),
        Measure("peak memory", long.peak_mib, "MiB"),
        Measure("peak memory over a quarter", short.peak_mib, "MiB"),
    ]
    finish("backtest", measures, quick)
    return 0


def record(folder: Path, connectors: int) -> list[Path]:
    """Writes the recording, a file a part, and connectors.csv beside it."""
    scenario = generate(replace(PROFILE, days=PARTS * PART_HOURS / 24), SEED, connectors)
    (folder / READINGS).mkdir()
    files = []
    for number, batch in enumerate(scenario.batches(PART_HOURS)):
        files.append(folder / READINGS / f"part-{number + 1}.parquet")
        write_parquet(files[-1], batch, np.argsort(batch.arrived_ms, kind="stable"))
    write_connectors(folder / CONNECTORS, scenario)
    return files


def run(folder: Path, files: Sequence[Path]) -> Run:
    """Judges these files of the recording. Raises RuntimeError where the command fails."""
    chosen = folder / "chosen"
    chosen.mkdir(exist_ok=True)
    for file in chosen.iterdir():
        file.unlink()
    for file in files:
        (chosen / file.name).hardlink_to(file)
    command = [sys.executable, "-m", "ohmwatch", "backtest", "--readings", str(chosen)]
    command += ["--connectors", str(folder / CONNECTORS), "--out", str(folder / "alarms.csv")]
    before_s, began = _children_s(), time.perf_counter()
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        peak_mib, usual_mib = _memory_mib(process)
        assert process.stdout is not None
        said = process.stdout.read()
    wall_s = time.perf_counter() - began
    if process.returncode:
        raise RuntimeError(f"ohmwatch backtest ended with {process.returncode}: {said}")
    readings = int(said.partition(" ")[0].replace(",", ""))
    return Run(wall_s, _children_s() - before_s, peak_mib, usual_mib, readings)


def _children_s() -> float:
    times = os.times()
    return times.children_user + times.children_system


def _memory_mib(process: subprocess.Popen[str]) -> tuple[float, float]:
    """The most that lay in memory, and the median of the second half of the run.

    The kernel keeps the first; what rusage says of it is of before exec too.
    """
    path, highest, lying = Path(f"/proc/{process.pid}/status"), 0.0, [0.0]
    while process.poll() is None:
        for line in path.read_text().splitlines():
            if line.startswith("VmHWM:"):
                highest = int(line.split()[1]) / 1024
            elif line.startswith("VmRSS:"):
                lying.append(int(line.split()[1]) / 1024)
        time.sleep(0.05)
    return highest, median(lying[len(lying) // 2 :])
