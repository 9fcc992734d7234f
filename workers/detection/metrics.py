"""What detection counts. Names and meanings are part of the product: dashboards stand on them."""

from prometheus_client import Counter, Gauge, Histogram

JUDGED = Counter("ohmwatch_detection_readings_judged", "Readings shown to the detectors")
LATE = Counter(
    "ohmwatch_detection_readings_late",
    "Readings not newer than their connector's clock: repeated, or late and judged afterwards",
)
UNJUDGED = Counter(
    "ohmwatch_detection_readings_unjudged",
    "Of these, readings a day or more behind their connector's clock: judged by nobody",
)
JUDGED_AGAIN = Counter(
    "ohmwatch_detection_readings_judged_again",
    "Readings read from the store and judged once more, because others before them came late",
)
CONNECTORS_JUDGED_AGAIN = Counter(
    "ohmwatch_detection_connectors_judged_again",
    "Connectors with late readings, by what became of it: again, waiting, repeats",
    ["outcome"],
)
CORRECTIONS = Counter(
    "ohmwatch_detection_corrections", "Events written because late readings changed a story"
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
