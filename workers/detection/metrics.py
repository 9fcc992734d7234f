"""What detection counts. Names and meanings are part of the product: dashboards stand on them."""

from prometheus_client import Counter, Gauge, Histogram

JUDGED = Counter("ohmwatch_detection_readings_judged", "Readings shown to the detectors")
LATE = Counter(
    "ohmwatch_detection_readings_late",
    "Readings not newer than their connector's clock: repeated, or late and judged afterwards",
)
UNREADABLE = Counter("ohmwatch_detection_entries_unreadable", "Log entries that can't be decoded")
FINDINGS = Counter("ohmwatch_detection_findings", "Findings stated", ["condition", "severity"])
SHADOW_FINDINGS = Counter(
    "ohmwatch_detection_shadow_findings",
    "Findings of rules in shadow, told to nobody",
    ["detector"],
)
FAILURES = Counter(
    "ohmwatch_detection_detector_failures",
    "Turns of a detector that ended in an error or ran past their time",
    ["detector", "error"],
)
PASSES = Counter("ohmwatch_detection_passes", "Visits to a partition, by outcome", ["outcome"])
PASS_SECONDS = Histogram("ohmwatch_detection_pass_seconds", "Duration of a visit to a partition")
LAG_SECONDS = Gauge(
    "ohmwatch_detection_lag_seconds",
    "Time from the arrival of the newest reading judged to its judgement",
    ["partition"],
)
REPLAYED = Counter("ohmwatch_detection_readings_replayed", "Readings read again from the store")
