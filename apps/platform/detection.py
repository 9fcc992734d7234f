"""How detection is, as metrics: what its workers have counted together, and what waits for them."""

from collections import defaultdict
from collections.abc import Iterator

import redis
from django.utils import timezone
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector
from prometheus_client.samples import Sample

from apps.partitions.board import told
from apps.partitions.log import PartitionLog
from apps.partitions.metrics import REGISTRY
from apps.platform.acquisition import notice_board
from apps.telemetry.slices import to_ms

_SUFFIXES = {"counter": ("_total",), "gauge": ("",), "histogram": ("_bucket", "_count", "_sum")}


class DetectionCollector(Collector):
    """Read from Redis when Prometheus asks; without Redis it has none."""

    def collect(self) -> Iterator[Metric]:
        with notice_board() as client:
            try:
                yield from _counted(told(client, now_ms=to_ms(timezone.now())))
                yield _unjudged(PartitionLog(client))
            except redis.RedisError:
                return


def _counted(samples: list[Sample]) -> Iterator[Metric]:
    """By what is declared: a name that an older version has told is none any more."""
    by_name: defaultdict[str, list[Sample]] = defaultdict(list)
    for each in samples:
        by_name[each.name].append(each)
    for declared in REGISTRY.collect():
        metric = Metric(declared.name, declared.documentation, declared.type)
        for suffix in _SUFFIXES[declared.type]:
            metric.samples += sorted(by_name[declared.name + suffix], key=_place)
        if metric.samples:
            yield metric


def _place(sample: Sample) -> tuple[float, list[tuple[str, str]]]:
    return float(sample.labels.get("le", 0)), sorted(sample.labels.items())


def _unjudged(log: PartitionLog) -> Metric:
    gauge = GaugeMetricFamily(
        "ohmwatch_detection_unjudged_seconds",
        "How long the oldest readings have waited that no checkpoint covers; 0: there are none",
        labels=["partition"],
    )
    for partition, waiting_s in enumerate(log.unjudged_s()):
        gauge.add_metric([str(partition)], waiting_s)
    return gauge
