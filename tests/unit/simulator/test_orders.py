"""Payloads, orders, memory, time: the simulator's small parts."""

import json
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ohmwatch.codecs import json as codec
from workers.simulator.control import Answer, Order, SimulatorSilent, give, obey
from workers.simulator.faults import Fault, FaultKind
from workers.simulator.fleet import REPORTED, Fleet, read_fleet
from workers.simulator.memory import Memory
from workers.simulator.payloads import column_message, live_message
from workers.simulator.plant import Plant
from workers.simulator.play import Clock, Settings, Simulator, _instants
from workers.simulator.session import Broker

NOON_MS = 1_795_420_800_000


def test_what_a_device_says_live_is_what_the_product_reads(fleet: Fleet) -> None:
    plant = Plant(fleet, seed=1)
    sample = plant.advance(NOON_MS)
    payload = live_message(fleet, fleet.devices[0], [(NOON_MS, sample)], mute=set())
    assert payload is not None
    decoded = codec.decode(payload)
    assert decoded.refused == []
    assert decoded.unknown_fields == {}
    assert decoded.columns.channel.tolist() == [0, 1]
    assert set(decoded.columns.values) == {*REPORTED, "mated", "mating_cycles"}


def test_a_muted_connector_is_left_out(fleet: Fleet) -> None:
    sample = Plant(fleet, seed=1).advance(NOON_MS)
    payload = live_message(fleet, fleet.devices[0], [(NOON_MS, sample)], mute={0})
    assert json.loads(payload or b"")["channel"] == 1
    assert live_message(fleet, fleet.devices[0], [(NOON_MS, sample)], mute={0, 1}) is None


def test_a_day_by_columns_is_read_and_fits_a_message(fleet: Fleet) -> None:
    plant = Plant(fleet, seed=1)
    samples = [plant.advance(NOON_MS + step * 300_000) for step in range(288)]
    payload = column_message(fleet.units[1], 1, samples, start_ms=NOON_MS, step_ms=300_000)
    assert len(payload) < 64 * 1024
    decoded = codec.decode(payload)
    assert len(decoded.columns) == 288
    assert decoded.refused == []
    assert decoded.columns.time_ms[-1] == NOON_MS + 287 * 300_000
    np.testing.assert_allclose(
        decoded.columns.values["current_a"], [each["current_a"][1] for each in samples], atol=0.051
    )


def test_a_fleet_is_found_by_serial_id_tenant_and_story(fleet: Fleet) -> None:
    assert fleet.named("SN-inv-2") == fleet.named("inv-2") == fleet.named("kunlun/SN-inv-2") == [3]
    assert fleet.named("demo") == [0]
    assert fleet.named("SN-none") == []


def test_a_serial_at_two_tenants_is_several(tmp_path: Path, devices: list[dict[str, Any]]) -> None:
    rival = json.loads(json.dumps(devices[0])) | {"identity": "aurora.tbox-1"}
    (tmp_path / "devices.json").write_text(json.dumps([*devices, rival]))
    fleet = read_fleet(tmp_path / "devices.json")
    assert fleet.named("SN-inlet-1") == [0, 4]
    assert fleet.named("aurora/SN-inlet-1") == [4]
    assert fleet.units[4].vehicle != fleet.units[0].vehicle


def test_an_order_is_answered(tmp_path: Path) -> None:
    orders: list[Order] = []

    def carry_out(order: Order) -> Answer:
        orders.append(order)
        return Answer(done=True, text="started")

    def simulator() -> None:
        while not orders:
            obey(tmp_path, carry_out)
            time.sleep(0.01)

    thread = threading.Thread(target=simulator)
    thread.start()
    answer = give(tmp_path, Order("loose", "SN-1", pole="neg"))
    thread.join()
    assert (answer.done, answer.text) == (True, "started")
    assert orders == [Order("loose", "SN-1", pole="neg")]
    assert list(tmp_path.iterdir()) == []


def test_an_order_to_nobody_is_taken_back(tmp_path: Path) -> None:
    with pytest.raises(SimulatorSilent):
        give(tmp_path, Order("loose", "SN-1"), patience_s=0.1)
    assert list(tmp_path.iterdir()) == []


def test_nonsense_in_the_folder_is_answered_too(tmp_path: Path) -> None:
    (tmp_path / "x.order").write_text("{")
    obey(tmp_path, lambda order: Answer(done=True, text=""))
    assert json.loads((tmp_path / "x.answer").read_text())["done"] is False


def test_memory_survives(tmp_path: Path) -> None:
    memory = Memory.load(tmp_path / "simulator.json")
    memory.history_rounds = 7
    memory.faults.append(Fault(FaultKind.COOLING, "inlet-1", began_ms=NOON_MS))
    memory.save()
    assert Memory.load(tmp_path / "simulator.json") == memory


@pytest.fixture
def simulator(fleet: Fleet, tmp_path: Path) -> Simulator:
    settings = Settings(folder=tmp_path, broker=Broker("127.0.0.1", 1))
    return Simulator(fleet, settings, wall_ms=lambda: NOON_MS)


@pytest.mark.parametrize(
    ("order", "done", "text"),
    [
        (Order("loose", "SN-none"), False, "no connector"),
        (Order("melting", "SN-inv-2"), False, "known are loose"),
        (Order("all", "SN-inv-2"), False, "no fault"),
        (Order("loose", "SN-inv-2", repair=True), False, "nothing to repair"),
        (Order("loose", "SN-inv-2"), True, "loose started at kunlun/SN-inv-2"),
    ],
)
def test_what_cannot_be_done_is_said(
    simulator: Simulator, order: Order, done: bool, text: str
) -> None:
    answer = simulator._carry_out(order)
    assert answer.done is done
    assert text in answer.text


def test_a_repair_ends_faults_and_the_story(simulator: Simulator, tmp_path: Path) -> None:
    simulator._begin()
    simulator._carry_out(Order("loose", "SN-inlet-1"))
    assert simulator._carry_out(Order("all", "demo", repair=True)).done
    memory = Memory.load(tmp_path / "simulator.json")
    assert memory.faults == []
    assert memory.scenario_repaired


def test_fast_time_catches_up_and_then_keeps_to_the_wall() -> None:
    clock = Clock(begin_ms=0, started_ms=1_000_000, speed=1000.0)
    assert clock.at(1_000_500) == 500_000
    assert clock.at(1_001_001) == 1_001_000
    assert clock.at(1_002_000) == 1_002_000


def test_instants_are_now_or_a_row_where_time_runs_fast() -> None:
    assert _instants(0, 100, 1500) == []
    assert _instants(0, 1600, 1500) == [1600]
    assert _instants(0, 300_000, 1500) == [60_000, 120_000, 180_000, 240_000]
