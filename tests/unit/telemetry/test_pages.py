"""A page of the store's answer as records: what is there, what is not, and what looks like it."""

import math

import numpy as np

from apps.telemetry import pages
from apps.telemetry.stretches import as_batch

HEAD = b'{"pit_id":"abc","took":5,"timed_out":%s,"_shards":{"total":1},"hits":{"max_score":null,'
DIMENSIONS = b'"batch":"a \\"x_no\\": 7","batch_id":1,"model":"x_not","organisation":"[}"'


def answer(*sources: bytes, timed_out: bool = False) -> bytes:
    hits = b",".join(
        b'{"_index":"readings","_id":"a","_score":null,"_source":{%s},"sort":[%d,99]}' % (each, at)
        for at, each in enumerate(sources)
    )
    return HEAD % (b"true" if timed_out else b"false") + b'"hits":[' + hits + b"]}}"


def reading(connector: str, time_ms: int, values: bytes, arrived: bytes = b"") -> bytes:
    told = b'"@timestamp":"%d",%s%s,"connector":"%s","tenant":"kunlun"'
    more = b"," + values if values else b""
    return told % (time_ms, arrived, DIMENSIONS, connector.encode()) + more


def test_page_becomes_columns_in_its_order() -> None:
    page = pages.readings(
        answer(
            reading("c-2", 2_000, b'"current_a":61.2,"mated":1.0', b'"arrived_at":"2500",'),
            reading("c-1", 1_000, b'"x_own":-1.5E-7,"current_a":-0.001'),
        )
    )
    batch = as_batch([hit.source for hit in page.hits.hits])

    assert batch.connectors == ["c-2", "c-1"]
    assert batch.connector.tolist() == [0, 1]
    assert batch.time_ms.tolist() == [2_000, 1_000]
    assert batch.arrived_ms.tolist() == [2_500, 0]
    assert sorted(batch.values) == ["current_a", "mated", "x_own"]
    assert batch.column("current_a").tolist() == [np.float32(61.2), np.float32(-0.001)]
    assert batch.column("x_own")[1] == -1.5e-7
    assert math.isnan(batch.column("mated")[1])
    assert bytes(page.hits.hits[-1].sort) == b"[1,99]"


def test_empty_page_is_no_readings() -> None:
    page = pages.readings(answer(timed_out=True))

    assert page.timed_out
    assert len(as_batch([hit.source for hit in page.hits.hits])) == 0


def test_documents_can_be_counted_without_a_look_at_them() -> None:
    assert len(pages.untold(answer(*[reading("c-1", at, b"") for at in range(3)])).hits.hits) == 3
