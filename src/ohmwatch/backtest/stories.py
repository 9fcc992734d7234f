"""The alarms of a back-test as stories: what happened to a connector, step by step."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from ohmwatch.backtest.run import AlarmEvent
from ohmwatch.findings import Severity

UNITS = {
    "c": "°C",
    "k": "K",
    "a": "A",
    "v": "V",
    "mv": "mV",
    "kohm": "kΩ",
    "uohm": "µΩ",
    "s": "s",
    "pct": "%",
    "g": "g",
    "w": "W",
}
HOUR_MS = 3_600_000


@dataclass(slots=True)
class Story:
    """All that one condition did at one connector, in few numbers however long it is.

    `steps` counts its events; from `from_ms` to `to_ms` (device time) it held.
    """

    connector: str
    condition: str
    worst: Severity
    from_ms: int
    to_ms: int
    steps: int = 0
    openings: int = 0
    is_open: bool = False

    def take(self, event: AlarmEvent) -> None:
        """Takes in the next event, in order of arrival."""
        self.worst = max(self.worst, event.severity)
        self.from_ms = min(self.from_ms, event.since_ms or event.time_ms)
        self.to_ms = max(self.to_ms, event.time_ms)
        self.steps += 1
        self.openings += event.event == "opened"
        self.is_open = event.event != "cleared"


@dataclass(frozen=True, slots=True)
class Total:
    """How often a condition was stated, by the worst severity of each story."""

    condition: str
    stories: Mapping[Severity, int]
    openings: int


def stories_of(events: Iterable[AlarmEvent]) -> list[Story]:
    """The stories, the worst first, then by when they began."""
    told: dict[tuple[str, str], Story] = {}
    for event in events:
        key = event.connector, event.condition
        story = told.get(key)
        if story is None:
            began_ms = event.since_ms or event.time_ms
            story = told[key] = Story(*key, event.severity, began_ms, event.time_ms)
        story.take(event)
    return sorted(
        told.values(),
        key=lambda story: (-story.worst, story.from_ms, story.connector, story.condition),
    )


def totals(stories: Sequence[Story]) -> list[Total]:
    """By condition, those with the most stories first."""
    found = []
    for condition in {story.condition for story in stories}:
        own = [story for story in stories if story.condition == condition]
        counts = {severity: sum(story.worst is severity for story in own) for severity in Severity}
        found.append(Total(condition, counts, sum(story.openings for story in own)))
    return sorted(found, key=lambda total: (-sum(total.stories.values()), total.condition))


def in_words(name: str) -> str:
    """A condition's or a quantity's name for people.

    >>> in_words("temperature_rise_high")
    'Temperature rise high'
    """
    return name.replace("_", " ").capitalize()


def number_in_words(name: str, value: float | str) -> str:
    """A piece of evidence for people; the unit comes out of its name.

    >>> number_in_words("temperature_pos_c", 91.25)
    'temperature pos 91.2 °C'
    >>> number_in_words("resistance_uohm", 412.0)
    'resistance 412 µΩ'
    """
    stem, _, tail = name.rpartition("_")
    if isinstance(value, str):
        return f"{name.replace('_', ' ')}: {value}"
    rounded = f"{value:.1f}".removesuffix(".0") if abs(value) < 1e6 else f"{value:.3g}"
    if tail in UNITS and stem:
        return f"{stem.replace('_', ' ')} {rounded} {UNITS[tail]}"
    return f"{name.replace('_', ' ')} {rounded}"
