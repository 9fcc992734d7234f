"""The simulator at a real broker, with its devices' own credentials."""

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from paho.mqtt.client import Client
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion

from ohmwatch.codecs import json as codec
from tests.integration.simulator.conftest import RunningBroker
from workers.simulator.fleet import read_fleet
from workers.simulator.history import Pace
from workers.simulator.memory import Memory
from workers.simulator.play import Settings, Simulator
from workers.simulator.session import Message, Session, drive

ROOT = Path(__file__).parents[3]
DAY_MS = 86_400_000


class Listener:
    """Reads everything, as an acquisition worker would."""

    def __init__(self, broker: RunningBroker) -> None:
        self.received: list[tuple[str, bytes]] = []
        self._client = Client(
            CallbackAPIVersion.VERSION2, client_id="worker", protocol=MQTTProtocolVersion.MQTTv5
        )
        self._client.username_pw_set("worker", "reads")
        self._client.on_message = lambda client, userdata, message: self.received.append(
            (message.topic, message.payload)
        )
        subscribed = threading.Event()
        self._client.on_connect = lambda client, *_: client.subscribe("ow/v1/#", qos=1)
        self._client.on_subscribe = lambda *_: subscribed.set()
        self._client.connect("127.0.0.1", broker.port)
        self._client.loop_start()
        assert subscribed.wait(5)

    def close(self) -> None:
        self._client.disconnect()
        self._client.loop_stop()

    def payloads(self, leaf: str) -> list[bytes]:
        return [payload for topic, payload in list(self.received) if topic.endswith(leaf)]

    def readings(self) -> set[tuple[str, int, int]]:
        """(identity, channel, ms) of all readings that came."""
        found: set[tuple[str, int, int]] = set()
        for topic, payload in list(self.received):
            if topic.endswith("/readings"):
                columns = codec.decode(payload).columns
                identity = topic.split("/")[2]
                pairs = zip(columns.channel.tolist(), columns.time_ms.tolist(), strict=True)
                found |= {(identity, channel, time_ms) for channel, time_ms in pairs}
        return found


@pytest.fixture
def listener(broker: RunningBroker) -> Iterator[Listener]:
    listening = Listener(broker)
    yield listening
    listening.close()


def settings_for(folder: Path, broker: RunningBroker, **changed: Any) -> Settings:
    wanted: dict[str, Any] = {
        "history_days": 2.0,
        "interval_s": 0.1,
        "pace": Pace(step_ms=600_000, readings_per_s=1e9),
    }
    return Settings(folder=folder, broker=broker.address, **(wanted | changed))


@contextmanager
def running(folder: Path, settings: Settings) -> Iterator[Simulator]:
    simulator = Simulator(read_fleet(folder / "devices.json"), settings)
    thread = threading.Thread(target=simulator.run)
    thread.start()
    try:
        yield simulator
    finally:
        simulator.stop()
        thread.join(10)
        assert not thread.is_alive()


def until(true: Callable[[], bool], *, seconds: float = 20.0) -> None:
    deadline_s = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline_s, "it did not come true in time"
        time.sleep(0.05)


def test_history_is_whole_then_it_is_live(
    folder: Path, broker: RunningBroker, listener: Listener
) -> None:
    with running(folder, settings_for(folder, broker)):
        until(lambda: Memory.load(folder / "simulator.json").live_since_ms > 0)
        until(lambda: sum(b"readings" in each for each in listener.payloads("/readings")) > 5)
    memory = Memory.load(folder / "simulator.json")
    newest_ms = memory.history_begin_ms + DAY_MS
    times = [*range(memory.history_begin_ms, newest_ms, 1_800_000)]
    times += range(newest_ms, memory.history_end_ms, 600_000)
    expected = {
        (identity, channel, time_ms)
        for identity in ("kunlun.tbox-1", "kunlun.tbox-2")
        for channel in (0, 1)
        for time_ms in times
    }
    got = listener.readings()
    assert expected <= got
    assert max(time_ms for _, _, time_ms in got) > memory.live_since_ms
    assert all(not codec.decode(each).refused for each in listener.payloads("/readings"))


def test_status_is_retained_and_says_goodbye(
    folder: Path, broker: RunningBroker, listener: Listener
) -> None:
    with running(folder, settings_for(folder, broker, history_days=0.0)):
        until(lambda: len(listener.payloads("/status")) >= 2)
        said = json.loads(listener.payloads("/status")[0])
        assert said == {
            "online": True,
            "firmware": "2.1.0",
            "codec": "json",
            "channels": [0, 1],
        }
    until(lambda: len(listener.payloads("/status")) >= 4)
    later = Listener(broker)
    until(lambda: len(later.payloads("/status")) == 2)
    assert all(json.loads(each) == {"online": False} for each in later.payloads("/status"))
    later.close()


def test_what_nobody_subscribed_to_is_sent_again(folder: Path, broker: RunningBroker) -> None:
    """The broker answers 0x10, a success code, and throws the message away."""
    with running(folder, settings_for(folder, broker, history_days=1.0)):
        time.sleep(2.5)
        assert Memory.load(folder / "simulator.json").history_rounds == 0
        listener = Listener(broker)
        until(lambda: Memory.load(folder / "simulator.json").history_rounds == 1)
    memory = Memory.load(folder / "simulator.json")
    times = range(memory.history_begin_ms, memory.history_end_ms, 600_000)
    assert {("kunlun.tbox-1", 0, time_ms) for time_ms in times} <= listener.readings(), (
        "every reading of the history came in the end"
    )
    listener.close()


def test_a_history_cut_short_goes_on_where_it_was(
    folder: Path, broker: RunningBroker, listener: Listener
) -> None:
    slow = settings_for(folder, broker, pace=Pace(step_ms=600_000, readings_per_s=500))
    with running(folder, slow):
        until(lambda: Memory.load(folder / "simulator.json").history_rounds == 1)
    cut = Memory.load(folder / "simulator.json")
    first = {name: payload for name, payload in listener.received if name.endswith("readings")}
    assert cut.history_rounds < 2 or not cut.live_since_ms
    listener.received.clear()
    with running(folder, settings_for(folder, broker)):
        until(lambda: Memory.load(folder / "simulator.json").live_since_ms > 0)
    begin_ms = cut.history_begin_ms
    again = {time_ms for _, _, time_ms in listener.readings()}
    assert first
    assert min(again) >= begin_ms + DAY_MS
    assert begin_ms + DAY_MS in again


def test_a_device_with_a_wrong_password_stays_outside(broker: RunningBroker) -> None:
    session = Session(broker.address, identity="kunlun.tbox-1", password="guess", status={})
    session.offer(Message(b"{}"))
    for _ in range(20):
        drive([session], seconds=0.05)
    assert not session.connected
    assert session.undelivered == 1


def test_what_was_not_confirmed_is_sent_again_after_a_cut(
    broker: RunningBroker, listener: Listener
) -> None:
    taken: list[int] = []
    session = Session(broker.address, identity="kunlun.tbox-1", password="one", status={})
    while not session.connected:
        drive([session], seconds=0.05)
    for number in range(5):
        session.offer(Message(b'{"time":%d}' % number, taken=lambda: taken.append(1)))
    session.work(time.monotonic())
    cut = session.connection()
    assert cut is not None
    cut.shutdown(socket.SHUT_RDWR)  # type: ignore[attr-defined]
    until(lambda: not drive([session], seconds=0.05) and len(taken) == 5)
    until(lambda: len({*listener.payloads("/readings")}) == 5)


def test_a_device_keeps_only_what_it_can_store(broker: RunningBroker) -> None:
    session = Session(broker.address, identity="kunlun.tbox-1", password="one", status={})
    for _ in range(2_010):
        session.offer(Message(b"{}"))
    assert (session.undelivered, session.dropped) == (2_000, 10)


def test_weeks_pass_in_minutes_with_correct_times(
    folder: Path, broker: RunningBroker, listener: Listener
) -> None:
    fast = settings_for(folder, broker, history_days=1.0, replay_days=1.0, speed=20_000.0)
    started_ms = time.time_ns() // 1_000_000
    with running(folder, fast):
        until(lambda: max((t for _, _, t in listener.readings()), default=0) >= started_ms)
    times = sorted({time_ms for _, _, time_ms in listener.readings()})
    assert times[0] <= started_ms - 0.99 * DAY_MS
    assert times[-1] <= time.time_ns() // 1_000_000
    replayed = [time_ms for time_ms in times if time_ms < started_ms - 120_000]
    assert len(replayed) > 1_300, "about one a minute for a day"


def in_a_process(folder: Path, broker: RunningBroker, *arguments: str) -> subprocess.Popen[str]:
    environment = os.environ | {
        "OHMWATCH_DATA_DIR": str(folder.parent),
        "OHMWATCH_MQTT_DEVICE_URL": f"mqtt://127.0.0.1:{broker.port}",
        "PYTHONPATH": f"{ROOT / 'src'}:{ROOT}",
    }
    return subprocess.Popen(
        [sys.executable, "-m", "workers.simulator", *arguments],
        cwd=ROOT,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_a_fault_by_the_command_line_is_seen_and_repaired(
    folder: Path, broker: RunningBroker, listener: Listener
) -> None:
    player = in_a_process(folder, broker, "--history-days", "0", "--interval", "0.2")

    def newest(field: str) -> float | None:
        for topic, payload in reversed(list(listener.received)):
            if topic == "ow/v1/kunlun.tbox-2/readings":
                said = json.loads(payload)
                rows = said.get("readings", [said])
                return next((row[field] for row in rows if row["channel"] == 0), None)
        return None

    until(lambda: newest("insulation_kohm") is not None)
    order = in_a_process(folder, broker, "fault", "insulation", "SN-traction-2", "--over", "1")
    out, err = order.communicate(timeout=30)
    assert (order.returncode, out) == (0, "insulation started at kunlun/SN-traction-2\n"), err
    until(lambda: (newest("insulation_kohm") or 9e9) < 100)
    order = in_a_process(folder, broker, "fault", "insulation", "SN-traction-2", "--repair")
    assert order.wait(30) == 0
    until(lambda: (newest("insulation_kohm") or 0) > 1_000)
    order = in_a_process(folder, broker, "fault", "loose", "SN-none")
    _, err = order.communicate(timeout=30)
    assert (order.returncode, err) == (1, "SN-none is no connector of the demo\n")
    player.send_signal(signal.SIGTERM)
    assert player.wait(10) == 0
    shown = in_a_process(folder, broker, "list").communicate(timeout=30)[0]
    assert "kunlun/SN-inlet-1" in shown
    assert "ageing (demo)" in shown
