"""What a detection worker has at hand."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from uuid import uuid4

import redis

from apps.devices.directory import Directory
from apps.partitions.lease import Lease
from apps.partitions.log import PartitionLog
from apps.telemetry.board import count_late
from apps.telemetry.store import TelemetryStore
from ohmwatch.detector import Ratings
from workers.detection.board import Board
from workers.detection.gathering import key_of
from workers.detection.holding import Holding
from workers.detection.listening import Ear
from workers.detection.panel import Panel
from workers.detection.plugins import Agency
from workers.detection.rulebooks import Rulebooks

VISITS_REMEMBERED = 16


@dataclass
class Desk:
    """The stores, the detectors, and the partitions that this process held before.

    `noticed_ms` is when each generation of the logs was first seen by this process, `visit_s` what
    its visits take of late.
    """

    client: redis.Redis
    log: PartitionLog
    directory: Directory
    telemetry: TelemetryStore
    panel: Panel
    clock: Callable[[], datetime]
    holder: str = field(default_factory=lambda: uuid4().hex)
    holdings: dict[int, Holding] = field(default_factory=dict)
    noticed_ms: dict[str, int] = field(default_factory=dict)
    visit_s: float = 0.0
    rulebooks: Rulebooks = field(init=False)
    agency: Agency = field(init=False)
    ear: Ear = field(init=False)
    board: Board = field(init=False)

    def __post_init__(self) -> None:
        self.rulebooks = Rulebooks(self.directory, self.panel.detectors)
        self.agency = Agency(self.client, self.clock)
        self.ear = Ear(self.client, self.directory)
        self.board = Board(self.telemetry, is_gone=self.directory.lacks_tenant)

    def admit_plugins(self) -> None:
        """Lets those join whose model is loaded by now; to be asked between visits.

        What is held is read again from its checkpoint, for the newcomers have records there.
        """
        if not self.agency.is_waiting:
            return
        detectors = self.agency.hire(beside=self.panel.detectors)
        if len(detectors) > len(self.panel.detectors):
            self.panel = self.panel.joined_by(detectors)
            self.rulebooks = Rulebooks(self.directory, detectors)
            self.holdings.clear()

    def now_ms(self) -> int:
        """The clock's time, ms since 1970."""
        return int(self.clock().timestamp() * 1000)

    def note_visit(self, took_s: float) -> None:
        """Takes in how long one took."""
        self.visit_s += (took_s - self.visit_s) / VISITS_REMEMBERED

    def count_late(self, what: str, number: int) -> None:
        """Adds to what became of late readings, on the notice board."""
        count_late(self.client, what, number)

    def lease(self, partition: int) -> Lease:
        """This worker's lease of a partition, taken or not."""
        return Lease(self.client, partition, self.holder)

    def schema_of(self, name: str) -> str | None:
        """Of the tenant whose connector bears this name; None where it is not known."""
        tenant = self.directory.tenant(key_of(name)[0])
        return None if tenant is None else tenant.schema_name

    def ratings(self, names: Sequence[str]) -> list[Ratings]:
        """What each connector is rated for; nothing known makes detectors silent."""
        found = (self.directory.ratings_of(*key_of(name)) for name in names)
        return [ratings or Ratings() for ratings in found]

    def note_failure(self, key: str, error: Exception) -> None:
        """A turn that failed, by the key of the state that it would have carried on."""
        for each in self.panel.detectors:
            if each.name == key.partition("@")[0]:
                self.agency.note(each, error)
