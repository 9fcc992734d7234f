"""Readings with a sensor's noise as devices send them, and a publisher that costs next to nothing.

Payloads are made before the clock runs. The publisher is the tests' raw client with its packets
ready to send: on a small machine it would else be measured too.
"""

import select
import socket
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import orjson

from benchmarks.ground import QUANTITIES
from tests.mqtt import MqttClient, MqttError, _number, _text
from workers.simulator.fleet import Fleet
from workers.simulator.payloads import DECIMALS
from workers.simulator.plant import Plant

IN_FLIGHT = 900
"""Messages without a PUBACK; the shipped Mosquitto takes 1 000."""
_AT_ONCE = 128
_PACKET_IDS = 60_000


@dataclass(frozen=True)
class Recording:
    """What a fleet's sensors said at some instants: by quantity, [instant][connector]."""

    fleet: Fleet
    step_ms: int
    values: dict[str, list[list[Any]]]

    @property
    def instants(self) -> int:
        return len(self.values[QUANTITIES[0]])

    def __len__(self) -> int:
        return self.instants * len(self.fleet.units)

    def part(self, first: int, last: int) -> "Recording":
        """Some of the instants."""
        values = {name: rows[first:last] for name, rows in self.values.items()}
        return Recording(self.fleet, self.step_ms, values)


def record(fleet: Fleet, instants: int, *, step_ms: int = 1000) -> Recording:
    """Let the simulator's plant run for so long; the same for the same fleet."""
    plant, begin_ms = Plant(fleet, seed=1), 1_795_420_800_000
    samples = [plant.advance(begin_ms + n * step_ms) for n in range(instants)]
    values = {name: np.stack([sample[name] for sample in samples]) for name in QUANTITIES}
    rounded = {
        name: (
            column.round(DECIMALS[name]) if DECIMALS[name] else column.round().astype(np.int64)
        ).tolist()
        for name, column in values.items()
    }
    return Recording(fleet, step_ms, rounded)


Published = tuple[str, bytes, int]
"""Topic, payload, readings in it."""


def by_columns(recording: Recording, start_ms: int, readings: int) -> Iterator[Published]:
    """Messages with so many readings of one connector, by columns."""
    for first in range(0, recording.instants, readings):
        last = first + readings
        for topic, channel, place in _places(recording.fleet):
            columns = {
                name: [row[place] for row in recording.values[name][first:last]]
                for name in QUANTITIES
            }
            document = {
                "channel": channel,
                "start": start_ms + first * recording.step_ms,
                "step_ms": recording.step_ms,
                "columns": columns,
            }
            yield topic, orjson.dumps(document), readings


def by_rows(recording: Recording, start_ms: int, readings: int) -> Iterator[Published]:
    """Messages with so many readings of one connector, by rows."""
    for first in range(0, recording.instants, readings):
        for topic, channel, place in _places(recording.fleet):
            rows = [
                _row(recording, start_ms, instant, place)
                for instant in range(first, first + readings)
            ]
            yield topic, orjson.dumps({"channel": channel, "readings": rows}), readings


def one_by_one(recording: Recording, start_ms: int) -> Iterator[Published]:
    """A message for each reading."""
    for instant in range(recording.instants):
        for topic, channel, place in _places(recording.fleet):
            row = _row(recording, start_ms, instant, place)
            yield topic, orjson.dumps({"channel": channel, **row}), 1


def _row(recording: Recording, start_ms: int, instant: int, place: int) -> dict[str, Any]:
    values = {name: recording.values[name][instant][place] for name in QUANTITIES}
    return {"time": start_ms + instant * recording.step_ms, **values}


def _places(fleet: Fleet) -> Iterator[tuple[str, int, int]]:
    for device in fleet.devices:
        for place in device.units:
            yield f"ow/v1/{device.identity}/readings", fleet.units[place].channel, place


# --- publishing -------------------------------------------------------------------------------


@dataclass(frozen=True)
class Packets:
    """PUBLISH packets ready to send, and how many readings are in all up to each."""

    packets: list[bytes]
    readings: list[int]

    @classmethod
    def of(cls, messages: Iterator[Published]) -> "Packets":
        packets, readings, total = [], [], 0
        for number, (topic, payload, count) in enumerate(messages):
            body = _text(topic) + struct.pack("!HB", number % _PACKET_IDS + 1, 0) + payload
            packets.append(b"\x32" + _number(len(body)) + body)
            total += count
            readings.append(total)
        return cls(packets, readings)

    @property
    def total(self) -> int:
        return self.readings[-1]


def publish(client: MqttClient, load: Packets, *, may_send: Callable[[int], bool]) -> None:
    """Send all and see each accepted. `may_send(n)`: whether the broker may have n readings now;
    asked often, it keeps the broker's queue as short as workers that keep up would."""
    sent = acknowledged = 0
    acks = bytearray()
    sock = client.socket
    while acknowledged < len(load.packets):
        room = min(_AT_ONCE, IN_FLIGHT - (sent - acknowledged), len(load.packets) - sent)
        if room > 0 and may_send(load.readings[sent + room - 1]):
            sock.settimeout(30)
            sock.sendall(b"".join(load.packets[sent : sent + room]))
            sent += room
            wait_s = 0.0
        else:
            wait_s = 0.005
        acknowledged += _accepted(sock, acks, wait_s)


def _accepted(sock: socket.socket, acks: bytearray, wait_s: float) -> int:
    """PUBACKs that have come. Raises MqttError for one that isn't "success"."""
    if not select.select([sock], [], [], wait_s)[0]:
        return 0
    chunk = sock.recv(65_536)
    if not chunk:
        raise MqttError("the broker closed the connection")
    acks += chunk
    count = len(acks) // 4
    kinds, lengths = acks[0 : 4 * count : 4], acks[1 : 4 * count : 4]
    if kinds.count(0x40) != count or lengths.count(2) != count:
        raise MqttError("a message was not accepted")
    del acks[: 4 * count]
    return count
