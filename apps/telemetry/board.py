"""The notice board in Redis, as those read it who show it: counts and the last account.

Acquisition and upkeep write it. All of it are copies: the truth is in Elasticsearch, and an empty
board says nothing about it.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import datetime, timedelta
from typing import Any

import msgspec
import redis
from django.conf import settings

from apps.telemetry.answers import shown
from apps.telemetry.slices import from_ms

REPORT_KEY = "ow:account"
ROLLUPS_KEY = "ow:rollup-lag"
COUNTS_KEY = "ow:counts:"
COUNTED_KEY = "ow:counted:"
FULLEST_KEY = "ow:fullest-shards"
LATE_KEY = "ow:late"
PRESSED_KEY = "ow:acquisition-pressed"
RETIRED_KEY = "ow:acquisition-retired:"
LAG_KEY = "ow:lag"
OVERDUE = timedelta(hours=2)
"""The account is closed every hour; one that is older says nothing of now."""
UNKNOWN_KEY = "ow:unknown-fields:"
UNHEARD = "unheard:"
_LIMIT_S = 2


@dataclass(frozen=True)
class AccountReport:
    """What the hourly account came to over from_ms ≤ arrival < to_ms, of all tenants.

    `open` are the tenants whose account is open, and by how many readings; `told` those of whom
    operators have been told that it is, and not yet that it closed again.
    """

    closed: bool
    apart: int
    from_ms: int
    to_ms: int
    at_ms: int
    received: int
    open: dict[str, int] = field(default_factory=dict)
    told: list[str] = field(default_factory=list)

    def is_overdue(self, now: datetime) -> bool:
        """Whether the account should have been closed again by now: what it says is old."""
        return now - self.at > OVERDUE

    @property
    def at(self) -> datetime:
        return from_ms(self.at_ms)

    @property
    def start(self) -> datetime:
        return from_ms(self.from_ms)

    @property
    def end(self) -> datetime:
        return from_ms(self.to_ms)


_report = msgspec.json.Decoder(AccountReport)


def client() -> redis.Redis:
    """A connection to the database of the board."""
    return redis.Redis.from_url(
        settings.REDIS_LOG_URL, socket_timeout=_LIMIT_S, socket_connect_timeout=_LIMIT_S
    )


def put_account(report: AccountReport) -> None:
    """Raises redis.RedisError."""
    with client() as board:
        board.set(REPORT_KEY, json.dumps(asdict(report)))


def last_account() -> AccountReport | None:
    """The last one; None where there was none yet, or the board can't be read."""
    try:
        with client() as board:
            found: Any = board.get(REPORT_KEY)
        return _report.decode(found) if found else None
    except (redis.RedisError, msgspec.MsgspecError):
        return None


@dataclass(frozen=True)
class RollupLag:
    """How far rollups were behind at at_ms, by level: documents to take in, and seconds."""

    at_ms: int
    documents: dict[str, int] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)


_lag = msgspec.json.Decoder(RollupLag)


def put_rollup_lag(lag: RollupLag) -> None:
    """Raises redis.RedisError."""
    with client() as board:
        board.set(ROLLUPS_KEY, json.dumps(asdict(lag)))


def rollup_lag() -> RollupLag | None:
    """As the last run left it; None where there was none yet, or the board can't be read."""
    try:
        with client() as board:
            found: Any = board.get(ROLLUPS_KEY)
        return _lag.decode(found) if found else None
    except (redis.RedisError, msgspec.MsgspecError):
        return None


FULLEST = 20


def put_fullest(used: Mapping[str, float]) -> None:
    """By index, what its fullest shard holds as a share of what one should: the highest of them.

    Raises redis.RedisError.
    """
    highest = sorted(used.items(), key=lambda each: each[1], reverse=True)[:FULLEST]
    with client() as board:
        board.set(FULLEST_KEY, json.dumps(dict(highest)))


def fullest() -> dict[str, float]:
    """As told last; empty where nobody did yet, or the board can't be read."""
    try:
        with client() as board:
            found: Any = board.get(FULLEST_KEY)
        return msgspec.json.decode(found, type=dict[str, float]) if found else {}
    except (redis.RedisError, msgspec.MsgspecError):
        return {}


def is_acquisition_pressed() -> bool:
    """Whether a slot had more than it could take a moment ago; False where nobody knows."""
    try:
        with client() as board:
            return bool(board.exists(PRESSED_KEY))
    except redis.RedisError:
        return False


def counts(tenant: str) -> dict[str, int]:
    """What acquisition has counted of a tenant since the board is there: received, stored, late,
    quarantined:<reason>, released:<reason>, … Raises redis.RedisError."""
    with client() as board:
        return _numbers(board.hgetall(f"{COUNTS_KEY}{tenant}"))


def counts_of_all(board: redis.Redis) -> dict[str, dict[str, int]]:
    """The same of every tenant, by slug, in that order. Raises redis.RedisError."""
    keys = sorted(board.scan_iter(f"{COUNTS_KEY}*"))
    return {key.decode().removeprefix(COUNTS_KEY): _numbers(board.hgetall(key)) for key in keys}


class _Last(msgspec.Struct):
    device: str
    at_ms: int


class Sample(msgspec.Struct, frozen=True):
    """A message that had an unknown field."""

    device: str
    at_ms: int
    payload: bytes

    @property
    def shown(self) -> str:
        """Its beginning, as a page shows it."""
        return shown(self.payload)


@dataclass(frozen=True)
class UnknownField:
    """A name that is no field, how often it came, and who sent it last, when (ms)."""

    name: str
    times: int
    device: str = ""
    at_ms: int | None = None


@dataclass(frozen=True)
class UnknownFields:
    """Of one tenant: the newest first, and the newest message that was kept of one an hour."""

    fields: list[UnknownField]
    sample: Sample | None = None


_last = msgspec.json.Decoder(_Last)
_sample = msgspec.json.Decoder(Sample)


def unknown_fields(tenant: str) -> UnknownFields:
    """What a tenant's devices send that is no field. Raises redis.RedisError."""
    key = UNKNOWN_KEY + tenant
    with client() as board, board.pipeline(transaction=False) as pipe:
        times, last, sample = (
            pipe.hgetall(key).hgetall(f"{key}:last").get(f"{key}:sample").execute()
        )
    found = [_unknown_field(name, int(number), last.get(name)) for name, number in times.items()]
    found.sort(key=lambda each: (-(each.at_ms or 0), each.name))
    return UnknownFields(found, _sample.decode(sample) if sample else None)


def _unknown_field(name: bytes, times: int, said: bytes | None) -> UnknownField:
    if said is None:
        return UnknownField(name.decode(), times)
    last = _last.decode(said)
    return UnknownField(name.decode(), times, last.device, last.at_ms)


def count_late(board: redis.Redis, what: str, number: int) -> None:
    """Adds to what became of late readings. Raises redis.RedisError."""
    if number:
        board.hincrby(LATE_KEY, what, number)


def late_counts() -> dict[str, int]:
    """What became of late readings since the board is there; empty where it can't be read."""
    try:
        with client() as board:
            return _numbers(board.hgetall(LATE_KEY))
    except redis.RedisError:
        return {}


def _numbers(found: Any) -> dict[str, int]:
    known: Mapping[bytes, bytes] = found
    return {name.decode(): int(number) for name, number in known.items()}
