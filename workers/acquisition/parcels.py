"""What a batch is taken apart into: messages of known devices, and readings of connectors.

Two forms of the same thing. A parcel is a message with all that is known of it, and may hold any
number of readings. Singles are many messages of one reading each, right in every way, side by side
as one table: no object is made for any of them, unless one turns out to be special after all.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from apps.devices.directory import ConnectorEntry, DeviceEntry
from apps.telemetry.slices import Retention
from ohmwatch.codecs.json import Decoded
from ohmwatch.readings import Columns, Sheet
from workers.acquisition.batches import Message


@dataclass
class Parcel:
    """A message of a known device, decoded."""

    number: int
    message: Message
    identity: str
    device: DeviceEntry
    retention: Retention
    decoded: Decoded


@dataclass
class ConnectorReadings:
    """Readings of one connector from one message. `rows`: where each stood in the message."""

    parcel: Parcel
    connector: ConnectorEntry
    columns: Columns
    rows: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.rows)

    def part(self, cut: slice) -> "ConnectorReadings":
        """A stretch of them."""
        return replace(self, columns=chosen(self.columns, cut), rows=self.rows[cut])

    @property
    def tenant(self) -> str:
        return self.parcel.device.tenant

    @property
    def device(self) -> str:
        return self.parcel.device.identifier

    @property
    def texts(self) -> Sequence[bytes] | None:
        """As `Decoded.texts`; none where these are not all of the message's readings."""
        texts = self.parcel.decoded.texts
        return texts if texts is not None and len(texts) == len(self.columns) else None


@dataclass
class Singles:
    """Single readings of one form, one of a message: `numbers[i]` is the place of row i's message
    in its batch. `connectors` is filled when channels are resolved."""

    numbers: list[int]
    messages: list[Message]
    identities: list[str]
    devices: list[DeviceEntry]
    columns: Columns
    retentions: dict[str, Retention]
    """By tenant."""
    texts: list[bytes] | None = None
    """As those of `Decoded`."""
    connectors: Sequence[ConnectorEntry] = ()

    def __len__(self) -> int:
        return len(self.numbers)

    def parted(self, these: NDArray[np.bool_]) -> "tuple[Singles, list[Parcel]]":
        """Those where the mask is true, and the others as parcels."""
        others = [self._parcel(row) for row in np.flatnonzero(~these).tolist()]
        rows = np.flatnonzero(these).tolist()
        kept = replace(
            self,
            numbers=[self.numbers[row] for row in rows],
            messages=[self.messages[row] for row in rows],
            identities=[self.identities[row] for row in rows],
            devices=[self.devices[row] for row in rows],
            columns=chosen(self.columns, these),
            texts=None if self.texts is None else [self.texts[row] for row in rows],
            connectors=[self.connectors[row] for row in rows] if self.connectors else (),
        )
        return kept, others

    def readings(self, rows: Sequence[int]) -> "Iterator[ConnectorReadings]":
        """Some rows as the readings of a connector that they are."""
        for row in rows:
            parcel = self._parcel(row)
            decoded = parcel.decoded
            yield ConnectorReadings(parcel, self.connectors[row], decoded.columns, decoded.rows)

    def _parcel(self, row: int) -> Parcel:
        columns = chosen(self.columns, slice(row, row + 1))
        device = self.devices[row]
        return Parcel(
            self.numbers[row],
            self.messages[row],
            self.identities[row],
            device,
            self.retentions[device.tenant],
            Decoded(columns, np.zeros(1, dtype=np.int64)),
        )


def chosen(columns: Columns, these: NDArray[np.bool_] | slice) -> Columns:
    """The readings where a mask is true, or a stretch of them."""
    sheet = Sheet.of(columns.values)
    values = Sheet(sheet.names, sheet.matrix[:, these])
    return Columns(columns.time_ms[these], columns.channel[these], values)
