"""What a page says about a connector: its health by its alarms, its last values by the store.

Postgres says who and whether there is an alarm; Elasticsearch says how it is going. Where the
store can't answer, the page still shows the alarms and says that the values are missing.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from uuid import UUID

import structlog

from apps.alarms.models import Severity
from apps.alarms.queries import Health, health_of
from apps.alarms.wording import condition_name
from apps.fleet.models import Connector
from apps.telemetry.answers import Outlook, State
from apps.telemetry.errors import TelemetryError
from apps.telemetry.tenant import TenantTelemetry

log = structlog.get_logger(__name__)

LIVE = ("temperature_pos_c", "temperature_neg_c", "ambient_c", "current_a", "voltage_v")
"""What the page of a connector shows live, in this order."""


@dataclass(frozen=True)
class Readout:
    """A connector as a page shows it. `health` is `unknown` where it never reported."""

    connector: Connector
    alarm_health: Health
    last: dict[str, float] = field(default_factory=dict)
    measured_at: datetime | None = None
    margin_k: float | None = None
    outlook: Outlook = field(default_factory=Outlook)

    @property
    def mating_steps(self) -> list[tuple[str, float]]:
        """By which the newest mating changed what each pole heats, %; of the poles known."""
        steps = {"pos": self.outlook.mating_step_pos, "neg": self.outlook.mating_step_neg}
        return [(pole, 100.0 * step) for pole, step in steps.items() if step is not None]

    @property
    def health(self) -> str:
        if self.alarm_health.open_alarms or self.measured_at:
            return self.alarm_health.health
        return "unknown"

    @property
    def trouble(self) -> str:
        """What is wrong, in words; empty where nothing is."""
        condition = self.alarm_health.worst_condition
        return condition_name(condition) if condition else ""

    @property
    def hottest_c(self) -> float | None:
        poles = [self.last.get(name) for name in ("temperature_pos_c", "temperature_neg_c")]
        return max((value for value in poles if value is not None), default=None)

    @property
    def live(self) -> list[tuple[str, float | None]]:
        return [(name, self.last.get(name)) for name in LIVE]

    @property
    def rank(self) -> tuple[int, float]:
        """Sorts the worst first: by severity, then by what is left to the temperature limit, K."""
        known = self.alarm_health.health
        severity = Severity(known).rank if known in Severity.values else 0
        hottest = self.hottest_c
        left_k = self.connector.model.temperature_limit_c - hottest if hottest is not None else 1e6
        return (-severity, left_k)


@dataclass(frozen=True)
class Readouts:
    """Readouts, worst first; `complete` is False where the store could not be asked."""

    rows: list[Readout]
    complete: bool = True

    def of(self, connectors: Iterable[UUID]) -> list[Readout]:
        """Those of some connectors, still worst first."""
        wanted = set(connectors)
        return [row for row in self.rows if row.connector.pk in wanted]


def read_out(connectors: Sequence[Connector], *, telemetry: TenantTelemetry) -> Readouts:
    """Health and last values of connectors, in two questions however many they are."""
    healths = health_of(connector.pk for connector in connectors)
    states, complete = _states(connectors, telemetry)
    rows = []
    for connector in connectors:
        state = states.get(str(connector.pk))
        rows.append(
            Readout(
                connector=connector,
                alarm_health=healths[connector.pk],
                last=dict(state.last) if state else {},
                measured_at=state.measured_at if state else None,
                margin_k=state.margin_k if state else None,
                outlook=state.outlook if state else Outlook(),
            )
        )
    return Readouts(sorted(rows, key=lambda row: row.rank), complete)


def _states(
    connectors: Sequence[Connector], telemetry: TenantTelemetry
) -> tuple[dict[str, State], bool]:
    if not connectors:
        return {}, True
    try:
        return telemetry.latest([str(connector.pk) for connector in connectors]), True
    except TelemetryError as error:
        log.warning("values_missing_on_page", code=error.code)
        return {}, False
