"""Stacks of the log as one batch for the detectors."""

from collections.abc import Sequence
from itertools import pairwise

import numpy as np

from apps.partitions.log import Stack
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


def as_batch(parts: Sequence[Sequence[Stack]]) -> tuple[Batch, list[int]]:
    """The readings of all stacks, in the stacks' order (not yet in order of time), and how many
    connectors each part has: they stand together among the batch's."""
    stacks = [stack for part in parts for stack in part]
    connectors: list[str] = []
    homes: list[int] = []
    counts: list[int] = []
    for part in parts:
        first = len(connectors)
        places: dict[str, int] = {}
        for stack in part:
            for owner in zip(stack.tenants, stack.connectors, strict=True):
                homes.append(first + places.setdefault(name_of(*owner), len(places)))
        connectors += places
        counts.append(len(places))
    sizes = [b - a for stack in stacks for a, b in pairwise((0, *stack.ends))]
    arrived_ms = [at_ms for stack in stacks for at_ms in stack.arrived_ms]
    batch = Batch(
        connectors=connectors,
        connector=np.repeat(np.array(homes, dtype=np.int32), sizes),
        time_ms=np.concatenate([_NONE, *(stack.time_ms for stack in stacks)]),
        arrived_ms=np.repeat(np.array(arrived_ms, dtype=np.int64), sizes),
        values=_values(stacks),
    )
    return batch, counts


_NONE = np.zeros(0, dtype=np.int64)


def _values(stacks: Sequence[Stack]) -> dict[str, np.ndarray]:
    """A column for each quantity that any has, NaN where a stack has none of it."""
    names = tuple(dict.fromkeys(name for stack in stacks for name in stack.names))
    sheets = [stack.matrix if stack.names == names else _spread(stack, names) for stack in stacks]
    if not sheets:
        return {}
    matrix = np.concatenate(sheets, axis=1).astype(np.float64, copy=False)
    return dict(zip(names, matrix, strict=True))


def _spread(stack: Stack, names: tuple[str, ...]) -> np.ndarray:
    """The stack's matrix with a row for each of these quantities."""
    wide = np.full((len(names), len(stack.time_ms)), np.nan)
    wide[[names.index(name) for name in stack.names]] = stack.matrix
    return wide
