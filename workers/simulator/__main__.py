"""`python -m workers.simulator`: the demo fleet, and orders to it.

Without a command it plays the fleet until SIGTERM. `fault KIND CONNECTOR [--repair]` starts or
repairs a fault in the running one, `list` shows what can be given as CONNECTOR.
"""

import argparse
import logging
import os
import signal
import sys
import time
from pathlib import Path

from workers.simulator.control import Order, SimulatorSilent, give
from workers.simulator.faults import FaultKind, Pole
from workers.simulator.fleet import Fleet, read_fleet
from workers.simulator.history import Pace
from workers.simulator.memory import Memory
from workers.simulator.play import ANY_KIND, Settings, Simulator
from workers.simulator.session import Broker

log = logging.getLogger("workers.simulator")


def arguments() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m workers.simulator", description=__doc__)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--interval", type=float, default=1.5, metavar="S")
    parser.add_argument("--history-days", type=float, default=30.0, metavar="DAYS")
    parser.add_argument("--history-step", type=float, default=120.0, metavar="S")
    parser.add_argument("--history-rate", type=float, default=6_000.0, metavar="READINGS/S")
    parser.add_argument("--replay-days", type=float, default=0.0, metavar="DAYS")
    parser.add_argument("--speed", type=float, default=1.0)
    commands = parser.add_subparsers(dest="command")
    commands.add_parser("list", help="the demo's connectors and their faults")
    fault = commands.add_parser("fault", help="start a fault, or repair it")
    fault.add_argument("kind", choices=[*FaultKind, ANY_KIND])
    fault.add_argument("connector", help="serial number, tenant/serial, id, or demo")
    fault.add_argument("--repair", action="store_true")
    fault.add_argument("--pole", choices=[*Pole], default=Pole.POS.value)
    fault.add_argument("--over", type=float, default=120.0, metavar="S", help="time to grow")
    return parser


def main() -> int:
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s %(message)s")
    asked = arguments().parse_args()
    folder = Path(os.environ["OHMWATCH_DATA_DIR"]) / "demo"
    if asked.command == "fault":
        return order(folder, asked)
    if asked.command == "list":
        return show(folder)
    return play(folder, asked)


def order(folder: Path, asked: argparse.Namespace) -> int:
    wanted = Order(asked.kind, asked.connector, asked.repair, str(asked.pole), asked.over)
    try:
        answer = give(folder / "orders", wanted)
    except (SimulatorSilent, OSError) as error:
        print(error, file=sys.stderr)  # noqa: T201
        return 1
    print(answer.text, file=sys.stdout if answer.done else sys.stderr)
    return 0 if answer.done else 1


def show(folder: Path) -> int:
    memory = Memory.load(folder / "simulator.json")
    for unit in read_fleet(folder / "devices.json").units:
        faults = [fault.kind.value for fault in memory.faults if fault.connector == unit.connector]
        if unit.scenario is not None and not memory.scenario_repaired:
            faults.insert(0, f"{unit.scenario} (demo)")
        print(f"{unit.tenant}/{unit.serial:20} {unit.position:16} {', '.join(faults)}")  # noqa: T201
    return 0


def play(folder: Path, asked: argparse.Namespace) -> int:
    stopping: list[int] = []
    signal.signal(signal.SIGTERM, lambda number, frame: stopping.append(number))
    signal.signal(signal.SIGINT, lambda number, frame: stopping.append(number))
    fleet = awaited_fleet(folder / "devices.json", stopping)
    if fleet is None:
        return 0
    settings = Settings(
        folder=folder,
        broker=Broker.at(os.environ["OHMWATCH_MQTT_DEVICE_URL"]),
        seed=asked.seed,
        interval_s=asked.interval,
        history_days=asked.history_days,
        replay_days=asked.replay_days,
        speed=asked.speed,
        pace=Pace(int(asked.history_step * 1000), asked.history_rate),
    )
    simulator = Simulator(fleet, settings)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda number, frame: simulator.stop())
    if not stopping:
        simulator.run()
    log.info("stopped")
    return 0


def awaited_fleet(path: Path, stopping: list[int]) -> Fleet | None:
    """The fleet, as soon as seeding the demo has written it; None when told to stop before."""
    if not path.exists():
        log.info("waiting for %s", path)
    while not stopping:
        if path.exists():
            return read_fleet(path)
        time.sleep(0.5)
    return None


if __name__ == "__main__":
    sys.exit(main())
