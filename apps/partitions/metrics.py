"""What detection counts. Names and meanings are part of the product: dashboards stand on them.

A process counts for itself here, in a registry of its own; `apps.partitions.board` adds up what all
of them have counted, and that is what /metrics shows.
"""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

REGISTRY = CollectorRegistry()

JUDGED = Counter(
    "ohmwatch_detection_readings_judged", "Readings shown to the detectors", registry=REGISTRY
)
LATE = Counter(
    "ohmwatch_detection_readings_late",
    "Readings not newer than their connector's clock: repeated, or late and judged afterwards",
    registry=REGISTRY,
)
UNREADABLE = Counter(
    "ohmwatch_detection_entries_unreadable",
    "Log entries that can't be decoded",
    registry=REGISTRY,
)
FINDINGS = Counter(
    "ohmwatch_detection_findings",
    "Findings stated",
    ["condition", "severity"],
    registry=REGISTRY,
)
SHADOW_FINDINGS = Counter(
    "ohmwatch_detection_shadow_findings",
    "Findings of rules in shadow, told to nobody",
    ["detector"],
    registry=REGISTRY,
)
FAILURES = Counter(
    "ohmwatch_detection_detector_failures",
    "Turns of a detector that ended in an error or ran past their time",
    ["detector", "error"],
    registry=REGISTRY,
)
PASSES = Counter(
    "ohmwatch_detection_passes",
    "Visits to a partition, by outcome",
    ["outcome"],
    registry=REGISTRY,
)
PASS_SECONDS = Histogram(
    "ohmwatch_detection_pass_seconds", "Duration of a visit to a partition", registry=REGISTRY
)
LAG_SECONDS = Gauge(
    "ohmwatch_detection_lag_seconds",
    "Time from the arrival of the newest reading judged to its judgement",
    ["partition"],
    registry=REGISTRY,
)
REPLAYED = Counter(
    "ohmwatch_detection_readings_replayed",
    "Readings read again from the store",
    registry=REGISTRY,
)
