"""A document is the same whether its reading is written anew or stands in it as it came."""

import json
from dataclasses import replace
from typing import Any

import pytest

from apps.devices.directory import Carrier, ConnectorEntry, DeviceEntry, ModelEntry
from apps.telemetry.slices import Retention
from ohmwatch.codecs.json import Decoded
from ohmwatch.codecs.together import TABLE_LEAST, decode_together, tables_of_singles
from ohmwatch.detector import Ratings
from workers.acquisition.batches import Message
from workers.acquisition.documents import batch_lines, single_lines
from workers.acquisition.parcels import ConnectorReadings, Parcel, Singles

T = 1_795_420_800_000
KEPT = Retention("30d")
MODEL = ModelEntry("100 %s", Ratings(model="100 %s", position="traction"))
CONNECTORS = tuple(
    ConnectorEntry(f"c-{n}", True, MODEL, "50 %", "traction", Carrier("v-1", "o-1"))
    for n in range(3)
)
DEVICE = DeviceEntry("kunlun", KEPT, "tbox-1", True, "", CONNECTORS)
ABOUT = {"arrived_ms": T + 5_000, "batch_number": 7}
QUANTITIES = {"current_a": -1.5e-3, "ambient_c": None, "interlock": 1, "x_own": 1e300}


def index_of(kept: str, time_ms: int) -> str:
    return f"readings-{kept}-{time_ms // 10_000}"


def compact(document: Any) -> bytes:
    return json.dumps(document, separators=(",", ":")).encode()


def lines(body: bytes) -> list[dict[str, Any]]:
    """Without nulls: to the store they are nothing."""
    documents = [json.loads(line) for line in body.splitlines()]
    return [{name: v for name, v in each.items() if v is not None} for each in documents]


def by_rows(begin_ms: int, count: int, channel: int) -> ConnectorReadings:
    rows = [{"time": begin_ms + n, **QUANTITIES, "drop_pos_mv": n} for n in range(count)]
    payload = compact({"channel": channel, "readings": rows})
    (decoded,) = decode_together([payload])
    assert isinstance(decoded, Decoded)
    assert decoded.texts is not None
    parcel = Parcel(0, Message("", payload), "kunlun.tbox-1", DEVICE, KEPT, decoded)
    return ConnectorReadings(parcel, CONNECTORS[channel], decoded.columns, decoded.rows)


def written_anew(one: ConnectorReadings) -> ConnectorReadings:
    return replace(one, parcel=replace(one.parcel, decoded=replace(one.parcel.decoded, texts=None)))


@pytest.mark.parametrize("begin_ms", [T, T + 9_998], ids=["one index", "two indices"])
def test_of_batches_by_rows(begin_ms: int) -> None:
    readings = [by_rows(begin_ms, 4, 0), by_rows(begin_ms + 100, 1, 2), by_rows(begin_ms, 2, 1)]
    anew = [written_anew(one) for one in readings]
    came = lines(batch_lines(readings, index_of=index_of, **ABOUT))
    assert came == lines(batch_lines(anew, index_of=index_of, **ABOUT))
    assert came == lines(batch_lines([anew[0], *readings[1:]], index_of=index_of, **ABOUT))
    assert came[1] == {
        "tenant": "kunlun",
        "connector": "c-0",
        "model": "100 %s",
        "batch": "50 %",
        "organisation": "o-1",
        "vehicle": "v-1",
        "position": "traction",
        "device": "tbox-1",
        "arrived_at": T + 5_000,
        "batch_id": 7,
        "@timestamp": begin_ms,
        "current_a": -1.5e-3,
        "interlock": 1,
        "x_own": 1e300,
        "drop_pos_mv": 0,
    }


def test_where_a_row_was_taken_out_the_others_are_written_anew() -> None:
    one = by_rows(T, 4, 0)
    columns = replace(one.columns, time_ms=one.columns.time_ms[1:])
    assert replace(one, columns=columns).texts is None


def singles() -> Singles:
    payloads = [
        compact({"channel": n % 3, "time": T + n, **QUANTITIES}) for n in range(TABLE_LEAST)
    ]
    (table,) = tables_of_singles(payloads)
    assert table.texts is not None
    return Singles(
        table.places,
        [Message("", payload) for payload in payloads],
        ["kunlun.tbox-1"] * TABLE_LEAST,
        [DEVICE] * TABLE_LEAST,
        table.columns,
        {"kunlun": KEPT},
        table.texts,
        [CONNECTORS[n % 3] for n in range(TABLE_LEAST)],
    )


def test_of_single_readings() -> None:
    came = lines(single_lines(singles(), index_of=index_of, **ABOUT))
    anew = replace(singles(), texts=None)
    assert came == lines(single_lines(anew, index_of=index_of, **ABOUT))
    assert len(came) == 2 * TABLE_LEAST


def test_of_those_that_are_left_of_single_readings() -> None:
    every_third = singles().columns.channel == 0
    kept, _others = singles().parted(every_third)
    came = lines(single_lines(kept, index_of=index_of, **ABOUT))
    assert came == lines(single_lines(replace(kept, texts=None), index_of=index_of, **ABOUT))
    assert [each["@timestamp"] - T for each in came[1::2]] == list(range(0, TABLE_LEAST, 3))
