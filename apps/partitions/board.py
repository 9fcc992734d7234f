"""What detection counts, on the notice board in Redis: its workers write it, /metrics reads it.

Detection is as many processes as one likes, in containers and on machines of their own, and each
of them ends one day. So each adds to sums that outlive it what it has counted since it told last.
Keys, in the database of the partitions' logs:
    ow:detection:sums           hash, sample of a counter or histogram → its sum over all workers
    ow:detection:lags           hash, partition → "<seconds> <ms when it was told>"
    ow:detection:told:<worker>  the number of the worker's last word that is in the sums
All of it can be lost, and begins anew. A killed worker takes along what it has not told yet.
"""

import json
import threading
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

import redis
from prometheus_client import CollectorRegistry
from prometheus_client.samples import Sample

from apps.partitions.metrics import LAG_SECONDS, REGISTRY

SUMS_KEY = "ow:detection:sums"
LAGS_KEY = "ow:detection:lags"
TOLD_KEY = "ow:detection:told:"
LAG_HOLDS_MS = 5 * 60_000
"""A lag that nobody has told for so long says nothing of now: the partition's devices are silent,
or nobody judges it, which `PartitionLog.unjudged_s` tells."""

(_LAG,) = (metric.name for metric in LAG_SECONDS.describe())
_REMEMBERED_MS = 3_600_000
"""How long a word may wait for its answer, and is still not counted twice."""

_ADD = """
if redis.call('get', KEYS[2]) == ARGV[1] then return end
for at = 3, #ARGV, 2 do redis.call('hincrbyfloat', KEYS[1], ARGV[at], ARGV[at + 1]) end
redis.call('set', KEYS[2], ARGV[1], 'px', ARGV[2])
"""
"""Adds (sample, number) for each, unless this word was heard before: its answer may have been
lost."""


@dataclass(frozen=True, slots=True)
class _Word:
    """By how much each sample has grown, and to what."""

    number: int
    added: dict[str, float]
    totals: dict[str, float]


class Teller:
    """Tells what one process has counted. Safe to use from any thread."""

    def __init__(self, client: redis.Redis, registry: CollectorRegistry = REGISTRY) -> None:
        self._redis = client
        self._registry = registry
        self._key = f"{TOLD_KEY}{uuid4().hex}"
        self._lock = threading.Lock()
        self._told: dict[str, float] = {}
        self._number = 0
        self._lags: dict[str, float] = {}
        self._unanswered: _Word | None = None

    def tell(self, *, now_ms: int) -> None:
        """Adds what was counted since; nothing where nothing was.

        Raises redis.RedisError: the next call says the same once more, and it counts once.
        """
        with self._lock:
            if self._unanswered:
                self._say(self._unanswered)
            samples = [
                each
                for metric in self._registry.collect()
                for each in metric.samples
                if not each.name.endswith("_created")
            ]
            self._tell_lags(samples, now_ms)
            totals = {_key(each): each.value for each in samples if each.name != _LAG}
            # All or none: where Redis was emptied, what does not grow is missing there, too.
            if totals != self._told:
                added = {name: total - self._told.get(name, 0) for name, total in totals.items()}
                self._number += 1
                self._say(_Word(self._number, added, totals))

    def _say(self, word: _Word) -> None:
        self._unanswered = word
        said = [part for name, more in word.added.items() for part in (name, repr(more))]
        self._redis.eval(_ADD, 2, SUMS_KEY, self._key, word.number, _REMEMBERED_MS, *said)
        self._told, self._unanswered = word.totals, None

    def _tell_lags(self, samples: Iterable[Sample], now_ms: int) -> None:
        """Only what is new: another worker may hold by now what we judged before."""
        lags = {each.labels["partition"]: each.value for each in samples if each.name == _LAG}
        news = {key: lag_s for key, lag_s in lags.items() if self._lags.get(key) != lag_s}
        # Before it is said: said again later, it would hide what came in between.
        self._lags = lags
        if news:
            said: Any = {key: f"{lag_s:.3f} {now_ms}" for key, lag_s in news.items()}
            self._redis.hset(LAGS_KEY, mapping=said)


def told(client: redis.Redis, *, now_ms: int) -> list[Sample]:
    """What all workers have counted together, and each partition's lag where it is known.

    Raises redis.RedisError.
    """
    with client.pipeline(transaction=False) as pipeline:
        pipeline.hgetall(SUMS_KEY)
        pipeline.hgetall(LAGS_KEY)
        sums, lags = pipeline.execute()
    return [*_sums(sums), *_lags(lags, now_ms)]


def _sums(found: Mapping[bytes, bytes]) -> Iterable[Sample]:
    for key, total in found.items():
        name, labels = json.loads(key)
        yield Sample(name, labels, float(total))


def _lags(found: Mapping[bytes, bytes], now_ms: int) -> Iterable[Sample]:
    for partition, said in found.items():
        lag_s, told_ms = said.split()
        if now_ms - int(told_ms) <= LAG_HOLDS_MS:
            yield Sample(_LAG, {"partition": partition.decode()}, float(lag_s))


def _key(sample: Sample) -> str:
    return json.dumps([sample.name, sample.labels], sort_keys=True)
