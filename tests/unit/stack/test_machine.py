"""Processes, durations, logs and what `doctor` makes of a machine."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from deploy.stack import doctor, logs, processes
from deploy.stack.status import duration, slot_in_words


def test_only_marked_processes_are_ours() -> None:
    mark = f"a-test-{os.getpid()}"
    sleeper = [sys.executable, "-c", "import time; print('up', flush=True); time.sleep(60)"]
    ours = subprocess.Popen(sleeper, env={**os.environ, "A_MARK": mark}, stdout=subprocess.PIPE)
    other = subprocess.Popen(sleeper, env={**os.environ, "A_MARK": "x"}, stdout=subprocess.PIPE)
    for process in (ours, other):
        assert process.stdout
        process.stdout.readline()
    found = processes.marked("A_MARK", mark)
    assert [process.pid for process in found] == [ours.pid]
    processes.send(found, signal.SIGTERM)
    processes.wait_for_end(found, seconds=10)
    assert ours.wait(10) == -signal.SIGTERM
    assert other.poll() is None
    other.kill()
    other.wait()


def test_a_number_that_was_given_again_is_somebody_else() -> None:
    assert not processes.Process(os.getpid(), "1").is_alive()


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0s"), (7.9, "7s"), (310, "5m 10s"), (3600, "1h 0m"), (183600, "2d 3h")],
)
def test_durations_have_two_units(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def test_the_last_lines_of_a_log(tmp_path: Path) -> None:
    log = tmp_path / "web.log"
    log.write_text("".join(f"line {n}\n" for n in range(100_000)))
    assert logs.last_lines(log, 2) == ["line 99998", "line 99999"]
    assert logs.last_lines(tmp_path / "none.log", 2) == []


def test_doctor_mends_what_is_short() -> None:
    assert doctor.disk(2**40).mend == ""
    assert "free 6 GiB" in doctor.disk(2**30).mend
    assert doctor.open_files(1024).mend
    assert doctor.memory_maps(65530).warning
    assert doctor.clock(0).mend
    assert doctor.socket_path(Path("/" + "x" * 120)).mend


def test_a_slot_says_what_waits_and_what_it_waits_for() -> None:
    assert slot_in_words({"waiting_messages": 0}, now_ms=0) == "0 messages"
    starts = {"starting": True, "holding": {"postgres": 5_000}}
    assert slot_in_words(starts, now_ms=70_000) == "starting, holding for 1m 5s: postgres"
    said = {
        "waiting_messages": 12,
        "away_brokers": ["10.0.0.2:1883"],
        "holding": {"elasticsearch": 5_000, "redis": 64_000},
    }
    assert slot_in_words(said, now_ms=70_000) == (
        "12 messages, no connection to 10.0.0.2:1883, holding for 1m 5s: elasticsearch, "
        "holding for 6s: redis"
    )
