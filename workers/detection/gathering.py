"""Chunks of the log as one batch for the detectors."""

from collections.abc import Sequence

import numpy as np

from apps.partitions.log import Chunk
from ohmwatch.detector import Batch

Key = tuple[str, str]
"""Tenant and connector: two tenants may have connectors of one id."""


def name_of(tenant: str, connector: str) -> str:
    """How a watch knows a connector; the tenant's slug holds no slash."""
    return f"{tenant}/{connector}"


def key_of(name: str) -> Key:
    """The tenant and the connector behind such a name."""
    tenant, _slash, connector = name.partition("/")
    return tenant, connector


def as_batch(chunks: Sequence[Chunk]) -> Batch:
    """The readings of all chunks, in the chunks' order (not yet in order of time)."""
    names: dict[str, int] = {}
    sizes = [len(chunk.time_ms) for chunk in chunks]
    homes = [
        names.setdefault(name_of(chunk.tenant, chunk.connector), len(names)) for chunk in chunks
    ]
    quantities = dict.fromkeys(name for chunk in chunks for name in chunk.values)
    return Batch(
        connectors=list(names),
        connector=np.repeat(np.array(homes, dtype=np.int32), sizes),
        time_ms=np.concatenate([_NO_TIMES, *(chunk.time_ms for chunk in chunks)]),
        arrived_ms=np.repeat(np.array([c.arrived_ms for c in chunks], dtype=np.int64), sizes),
        values={name: _column(name, chunks) for name in quantities},
    )


_NO_TIMES = np.zeros(0, dtype=np.int64)


def _column(quantity: str, chunks: Sequence[Chunk]) -> np.ndarray:
    return np.concatenate(
        [
            chunk.values.get(quantity, np.full(len(chunk.time_ms), np.nan)).astype(np.float64)
            for chunk in chunks
        ]
    )
