"""Readings as lines of a `_bulk` request: text from columns, without an object for each reading.

A connector's readings share everything but their time and values, so one line with placeholders
is made for all of them, repeated, and filled by a single formatting call.
"""

import base64
from itertools import chain

import msgspec
import numpy as np
import orjson
from numpy.typing import NDArray

from apps.devices.directory import ConnectorEntry
from ohmwatch.readings import Columns

_json = msgspec.json.Encoder()


def reading_lines(
    *,
    index: str,
    tenant: str,
    connector: ConnectorEntry,
    device: str,
    columns: Columns,
    arrived_ms: int,
    batch_number: int,
) -> str:
    """Two lines a reading, action and document; NaN becomes null, which the store takes as none."""
    constant = _text(
        {
            "tenant": tenant,
            "connector": connector.id,
            **connector.dimensions,
            "device": device,
            "arrived_at": arrived_ms,
            "batch_id": batch_number,
        }
    )
    names = [name for name, values in columns.values.items() if not np.isnan(values).all()]
    pair = (
        f"{_text({'create': {'_index': index}})}\n"
        f'{constant[:-1]},"@timestamp":%s{"".join(f""","{name}":%s""" for name in names)}}}\n'
    )
    tokens = [_tokens(columns.time_ms), *(_tokens(columns.values[name]) for name in names)]
    return pair * len(columns) % tuple(chain.from_iterable(zip(*tokens, strict=True)))


def _text(fields: dict[str, object]) -> str:
    """JSON that is safe inside a %-format."""
    return _json.encode(fields).decode().replace("%", "%%")


def _tokens(column: NDArray[np.int64] | NDArray[np.float64]) -> list[str]:
    """Each number of a column as JSON text."""
    text = orjson.dumps(np.ascontiguousarray(column), option=orjson.OPT_SERIALIZE_NUMPY)
    return text[1:-1].decode().split(",")


def quarantine_lines(
    *, index: str, document_id: str, fields: dict[str, object], payload: bytes
) -> str:
    """Action and document of one refused message, with its bytes."""
    document = {**fields, "payload_bytes": len(payload)}
    if payload:
        document["payload"] = base64.b64encode(payload).decode()
    action = _json.encode({"create": {"_index": index, "_id": document_id}}).decode()
    return f"{action}\n{_json.encode(document).decode()}\n"
