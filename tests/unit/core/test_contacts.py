"""What the contacts stage and its detectors make of connectors whose fault is known.

A fortnight of a dozen connectors at once: contact and housing as two thermal nodes a pole, which
is not the stage's own model; hours of changing load by day, rest by night.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import pytest

from ohmwatch.checks.detectors import EXAMPLE, START_MS
from ohmwatch.conditions import Pole
from ohmwatch.contacts import CONTACTS
from ohmwatch.detector import Batch, Ratings, State
from ohmwatch.detectors.defaults import default_detectors
from ohmwatch.detectors.overtemperature import Overtemperature
from ohmwatch.findings import Finding, Severity
from ohmwatch.physics.estimate.follow import PREFIX, TOLD
from ohmwatch.physics.estimate.record import CONTACT_DTYPE, parameters_of
from ohmwatch.physics.known import ageing, known, margins, with_known
from ohmwatch.stage import stages_of
from ohmwatch.watch import Watch

INTERVAL_S = 30
DAYS = 14
ONSET_DAY = 5.0
MODEL = replace(EXAMPLE, position="traction", interval_s=float(INTERVAL_S), rated_mating_cycles=100)
STEPS = DAYS * 86_400 // INTERVAL_S
CAST = (
    "healthy", "twin", "ageing", "ageing_measured", "alone", "assembly", "cooling",
    "stuck", "drifting", "leapt", "noisy", "scaled", "parked",
)  # fmt: skip
_AT = {name: number for number, name in enumerate(CAST)}


class Fleet:
    """The cast's sensors, float64[steps, cast], with what is wrong with each of them."""

    def __init__(self) -> None:
        self.day = np.arange(STEPS) * INTERVAL_S / 86_400
        chance = np.random.default_rng(3)
        self.current_a = self._load(chance)
        self.ambient_c = 18.0 + 6.0 * np.sin(2 * np.pi * (self.day - 0.4))[:, None]
        since = np.clip(self.day - ONSET_DAY, 0.0, None)
        factor = np.ones((STEPS, len(CAST), 2))
        growing = 1.0 + 0.25 * (np.exp(since / 3.0) - 1.0)
        for name, pole in (("ageing", 0), ("ageing_measured", 1), ("alone", 0)):
            factor[:, _AT[name], pole] = growing
        factor[:, _AT["assembly"], 1] = 3.0
        cooling = np.ones((STEPS, len(CAST)))
        cooling[self.day > ONSET_DAY, _AT["cooling"]] = 2.2
        self.truth_c = self._heat(factor, cooling, chance)
        self.values = self._sensors(factor, chance)

    def _load(self, chance: np.random.Generator) -> np.ndarray:
        hour = (self.day * 24) % 24
        driven = ((hour > 6) & (hour < 10)) | ((hour > 15) & (hour < 20))
        level = np.repeat(chance.uniform(0.15, 1.0, (STEPS // 10 + 1, len(CAST))), 10, axis=0)
        current_a = 220.0 * level[:STEPS] * driven[:, None]
        current_a[:, _AT["parked"]] = 0.0
        return current_a

    def _heat(
        self, factor: np.ndarray, cooling: np.ndarray, chance: np.random.Generator
    ) -> np.ndarray:
        """Contact over housing over air: float64[steps, cast, 2]."""
        spread = np.exp(chance.normal(0, 0.03, (len(CAST), 2)))
        square = (self.current_a / 250.0)[:, :, None] ** 2
        fast, slow = np.zeros((len(CAST), 2)), np.zeros((len(CAST), 2))
        course = np.empty((STEPS, len(CAST), 2))
        for at in range(STEPS):
            heat_k = 31.0 * spread * square[at] * (1 + 0.0039 * (fast + slow))
            held = cooling[at][:, None]
            fast += (0.4 * heat_k * factor[at] - fast) * INTERVAL_S / 85.0
            warmed = heat_k * (0.4 * factor[at] + 0.2) * held
            slow += (warmed - slow) * INTERVAL_S / (760.0 * held)
            course[at] = fast + slow
        return course + self.ambient_c[:, :, None]

    def _sensors(self, factor: np.ndarray, chance: np.random.Generator) -> dict[str, np.ndarray]:
        shown = self.truth_c + chance.normal(0, 0.25, self.truth_c.shape)
        shown += chance.normal(0, 0.5, (len(CAST), 2))
        late = self.day > ONSET_DAY
        first = int(np.flatnonzero(late)[0])
        shown[late, _AT["stuck"], 0] = shown[first, _AT["stuck"], 0]
        shown[:, _AT["drifting"], 0] += 1.5 * np.clip(self.day - ONSET_DAY, 0.0, None)
        shown[late, _AT["leapt"], 1] += 14.0
        shown[late, _AT["noisy"], 0] += chance.normal(0, 7.0, int(late.sum()))
        shown[:, _AT["alone"], 1] = np.nan
        ohm = 0.18 * (0.35 + 0.65 * factor) * (1 + 0.0039 * (self.truth_c - 20.0))
        drop_mv = self.current_a[:, :, None] * ohm + chance.normal(0, 0.2, ohm.shape)
        drop_mv[:, [at for name, at in _AT.items() if name != "ageing_measured"]] = np.nan
        current_a = self.current_a + chance.normal(0, 0.5, self.current_a.shape)
        current_a[late, _AT["scaled"]] *= 0.7
        ambient_c = np.broadcast_to(self.ambient_c, current_a.shape)
        return {
            "current_a": current_a,
            "temperature_pos_c": np.round(shown[:, :, 0], 1),
            "temperature_neg_c": np.round(shown[:, :, 1], 1),
            "ambient_c": np.round(ambient_c + chance.normal(0, 0.2, current_a.shape), 1),
            "drop_pos_mv": drop_mv[:, :, 0],
            "drop_neg_mv": drop_mv[:, :, 1],
        }

    def batch(self, chosen: np.ndarray | None = None) -> Batch:
        """The readings of the steps chosen (bool[steps]), by connector."""
        steps = np.arange(STEPS) if chosen is None else np.flatnonzero(chosen)
        times = START_MS + steps * INTERVAL_S * 1000
        return Batch(
            connectors=list(CAST),
            connector=np.repeat(np.arange(len(CAST), dtype=np.int32), len(steps)),
            time_ms=np.tile(times, len(CAST)),
            arrived_ms=np.tile(times, len(CAST)) + 800,
            values={name: column[steps].T.ravel() for name, column in self.values.items()},
        )


@pytest.fixture(scope="module")
def fleet() -> Fleet:
    return Fleet()


@pytest.fixture(scope="module")
def stories(fleet: Fleet) -> dict[str, list[Finding]]:
    """What all default detectors said of each of the cast, in order."""
    judgement = Watch(default_detectors()).observe(fleet.batch(), [MODEL] * len(CAST))
    assert judgement.failed == {}
    told: dict[str, list[Finding]] = defaultdict(list)
    for finding in judgement.findings:
        told[finding.connector].append(finding)
    return told


def conditions(findings: list[Finding], least: Severity = Severity.NOTICE) -> set[str]:
    return {each.condition for each in findings if each.severity and each.severity >= least}


def day_of(finding: Finding) -> float:
    return (finding.measured_ms - START_MS) / 86_400_000


@pytest.mark.parametrize("name", ["healthy", "twin", "parked"])
def test_nothing_is_said_of_the_healthy(stories: dict[str, list[Finding]], name: str) -> None:
    assert stories[name] == []


def test_ageing_contact_is_named_with_its_pole_days_before_it_is_hot(
    fleet: Fleet, stories: dict[str, list[Finding]]
) -> None:
    first = next(each for each in stories["ageing"] if each.severity == Severity.WARNING)
    assert (first.condition, first.pole) == ("contact_resistance_rising", Pole.POSITIVE)
    hot = fleet.truth_c[:, _AT["ageing"], 0] > 80.0
    assert day_of(first) < fleet.day[hot][0] - 2.0
    assert ONSET_DAY < (first.since_ms - START_MS) / 86_400_000 < day_of(first)


def test_time_left_is_an_interval_around_what_came(
    fleet: Fleet, stories: dict[str, list[Finding]]
) -> None:
    limit_c = MODEL.temperature_limit_c
    reached = fleet.day[fleet.truth_c[:, _AT["ageing"], 0] >= limit_c][0]
    rising = [each for each in stories["ageing"] if each.condition == "contact_resistance_rising"]
    held = []
    for each in rising:
        if each.time_left_s is not None and day_of(each) < reached:
            low, high = each.evidence["time_left_from_s"], each.evidence["time_left_to_s"]
            assert isinstance(low, float)
            assert isinstance(high, float)
            assert low <= each.time_left_s <= high
            held.append(low <= 86_400 * (reached - day_of(each)) <= high)
    assert np.mean(held) > 0.6


def test_where_no_time_is_left_to_tell_the_reason_is(stories: dict[str, list[Finding]]) -> None:
    """High from the first day and as ever since: no growth leads to a limit."""
    high = [each for each in stories["assembly"] if each.condition == "contact_resistance_high"]
    said = {each.evidence.get("time_left_unknown") for each in high if each.severity}
    assert said == {"too_few_points", "not_growing"}
    assert high[0].evidence["time_left_unknown"] == "too_few_points"
    for each in [*stories["assembly"], *stories["ageing"]]:
        if each.condition in ("contact_resistance_high", "contact_resistance_rising"):
            is_refused = "time_left_unknown" in each.evidence
            assert is_refused == (each.time_left_s is None and not each.ended)


def test_measured_resistance_is_told_in_microohms(stories: dict[str, list[Finding]]) -> None:
    rising = [
        each for each in stories["ageing_measured"] if each.condition == "contact_resistance_rising"
    ]
    assert rising[0].pole == Pole.NEGATIVE
    told = [float(each.evidence["resistance_uohm"]) for each in rising]
    assert 185.0 < told[0] < 260.0
    assert told[-1] > 1.5 * told[0]


def test_bad_assembly_is_found_on_the_first_day(stories: dict[str, list[Finding]]) -> None:
    first = next(
        each for each in stories["assembly"] if each.condition == "contact_resistance_high"
    )
    assert (first.condition, first.pole) == ("contact_resistance_high", Pole.NEGATIVE)
    assert day_of(first) < 1.0


def test_lost_cooling_is_told_from_an_ageing_contact(stories: dict[str, list[Finding]]) -> None:
    named = conditions(stories["cooling"], Severity.WARNING)
    assert "cooling_reduced" in named
    assert not named & {"contact_resistance_rising", "contact_resistance_high", "contact_loose"}
    assert "cooling_reduced" not in conditions(stories["ageing"])


def test_one_pole_alone_is_told_from_cooling_too(stories: dict[str, list[Finding]]) -> None:
    named = [each for each in stories["alone"] if each.condition == "contact_resistance_rising"]
    assert named[0].pole == Pole.POSITIVE
    assert "cooling_reduced" not in conditions(stories["alone"], Severity.WARNING)


@pytest.mark.parametrize(
    ("name", "condition"),
    [
        ("stuck", "sensor_stuck"),
        ("drifting", "sensor_drifting"),
        ("leapt", "sensor_implausible"),
        ("noisy", "sensor_implausible"),
        ("scaled", "sensor_implausible"),
    ],
)
def test_lying_sensor_is_called_one_and_raises_no_alarm(
    stories: dict[str, list[Finding]], name: str, condition: str
) -> None:
    assert condition in conditions(stories[name])
    assert conditions(stories[name], Severity.WARNING) == set()


@pytest.mark.parametrize(
    ("name", "least"), [("stuck", 0.0), ("leapt", 0.0), ("noisy", 0.0), ("scaled", 0.5)]
)
def test_findings_of_a_connector_whose_sensor_lies_say_that_they_are_less_sure(
    fleet: Fleet, name: str, least: float
) -> None:
    """Also those of detectors that ask no sensor whether it lies. The limit is a low one."""
    low = replace(MODEL, temperature_limit_c=45.0)
    said = Watch(default_detectors()).observe(fleet.batch(), [low] * len(CAST)).findings
    trust = {"healthy": [], name: []}  # type: dict[str, list[float]]
    for each in said:
        if each.connector in trust and each.condition == "overtemperature" and day_of(each) > 8.0:
            trust[each.connector].append(float(each.evidence["trust"]))
    assert set(trust["healthy"]) == {1.0}
    assert np.median(trust[name]) == least


def test_margin_at_rated_load_shrinks_with_the_contact(fleet: Fleet) -> None:
    batch = fleet.batch()
    state = np.zeros(len(CAST), dtype=CONTACT_DTYPE)
    columns = CONTACTS.columns(batch, [MODEL] * len(CAST), state)
    margin = margins(with_known(batch, columns), [MODEL] * len(CAST))
    ends = np.flatnonzero(np.diff(batch.connector, append=-1))
    worst = dict(zip(CAST, margin.worst_k[ends].tolist(), strict=True))
    # A new contact rises by 32 K in 20 °C air, 37 K in 40 °C; the limit is 90 °C.
    assert 5.0 < worst["healthy"] < 22.0
    assert worst["ageing"] < worst["healthy"] - 30.0
    assert np.isnan(worst["parked"])
    low, high = margin.from_k[ends][_AT["healthy"]], margin.to_k[ends][_AT["healthy"]]
    assert low < worst["healthy"] < high


def test_what_lies_teaches_nothing_and_neither_does_a_rest(fleet: Fleet) -> None:
    """Since when nothing was learnt is told: knowledge grows old, whatever still comes in."""
    batch = fleet.batch()
    columns = CONTACTS.columns(batch, [MODEL] * len(CAST), np.zeros(len(CAST), CONTACT_DTYPE))
    ends = np.flatnonzero(np.diff(batch.connector, append=-1))
    learnt_ms = with_known(batch, columns).column("estimate.learnt_ms")[ends]
    days = dict(zip(CAST, ((learnt_ms - START_MS) / 86_400_000).tolist(), strict=True))
    assert days["healthy"] > DAYS - 1.0
    assert days["ageing"] > DAYS - 1.0
    assert ONSET_DAY - 1.0 < days["stuck"] <= ONSET_DAY
    assert ONSET_DAY - 1.0 < days["leapt"] <= ONSET_DAY
    assert np.isnan(days["parked"])


def test_growth_over_its_own_base_tells_who_ages_faster(fleet: Fleet) -> None:
    batch = fleet.batch(fleet.day < 12.0)
    models = [MODEL] * len(batch.connectors)
    columns = CONTACTS.columns(batch, models, np.zeros(len(CAST), CONTACT_DTYPE))
    aged = ageing(with_known(batch, columns), models)
    newest = np.flatnonzero(np.diff(batch.connector, append=-1))
    change = dict(zip(CAST, aged.change[newest].tolist(), strict=True))
    assert change["ageing"] > 0.5 > 0.15 > change["healthy"]
    assert np.isnan(change["parked"])
    assert set(aged.since_ms[newest].tolist()) == {float(START_MS)}
    assert 0.0 < aged.change_sd[newest][_AT["ageing"]] < 0.2


@dataclass(frozen=True)
class Listens(Overtemperature):
    """Keeps what it is shown of the contacts stage."""

    name = "listens"
    heard: list[Batch] = field(default_factory=list)

    def observe(self, batch: Batch, ratings: Sequence[Ratings], state: State) -> list[Finding]:
        self.heard.append(batch)
        return []

    def of(self, member: str) -> np.ndarray:
        """All columns of one of the cast, float64[columns, n]."""
        parts: list[np.ndarray] = []
        for each in self.heard:
            own = np.array(each.connectors)[each.connector] == member
            parts.append(np.stack([each.values[PREFIX + name][own] for name in TOLD]))
        return np.concatenate(parts, axis=1)


def test_cut_batches_and_checkpoints_give_the_same_columns_to_the_bit(fleet: Fleet) -> None:
    early = fleet.batch(fleet.day < 2.0)
    once, cut = Listens(), Listens()
    whole = Watch([*default_detectors(), once]).observe(early, [MODEL] * len(CAST))
    watch = Watch([*default_detectors(), cut])
    for number in range(8):
        piece = fleet.batch((fleet.day >= number / 4) & (fleet.day < (number + 1) / 4))
        judged = watch.observe(piece, [MODEL] * len(CAST))
        watch = Watch.load(watch.dump(), watch.detectors)
    assert len(cut.heard) == 8
    for member in CAST:
        assert once.of(member).tobytes() == cut.of(member).tobytes()
    newest = np.stack([once.of(member)[:, -1] for member in CAST], axis=1)
    for judgement in (whole, judged):
        assert list(judgement.known) == [PREFIX + name for name in TOLD]
        assert np.stack(list(judgement.known.values())).tobytes() == newest.tobytes()


def test_workshop_that_mates_anew_starts_a_new_past(fleet: Fleet) -> None:
    batch = fleet.batch()
    cycles = np.where(batch.time_ms > START_MS + 8 * 86_400_000, 4.0, 3.0)
    batch = replace(batch, values={**batch.values, "mating_cycles": cycles})
    state = np.zeros(len(CAST), dtype=CONTACT_DTYPE)
    CONTACTS.columns(batch, [MODEL] * len(CAST), state)
    assert set(state["anew_ms"]) == {START_MS + 8 * 86_400_000 + 1000 * INTERVAL_S}
    daily = replace(MODEL, rated_mating_cycles=10_000.0)
    again = np.zeros(len(CAST), dtype=CONTACT_DTYPE)
    CONTACTS.columns(batch, [daily] * len(CAST), again)
    assert set(again["anew_ms"]) == {START_MS}


def test_the_step_between_two_matings_is_told(fleet: Fleet) -> None:
    """The bad assembly is mended on day 8: from then on it is as its healthy neighbour."""
    batch = fleet.batch()
    late = fleet.day > 8.0
    values = {name: column.copy() for name, column in fleet.values.items()}
    for column in values.values():
        column[late, _AT["assembly"]] = column[late, _AT["healthy"]]
    shown = {name: column.T.ravel() for name, column in values.items()}
    shown["mating_cycles"] = np.where(batch.time_ms > START_MS + 8 * 86_400_000, 4.0, 3.0)
    state = np.zeros(len(CAST), dtype=CONTACT_DTYPE)
    columns = CONTACTS.columns(replace(batch, values=shown), [MODEL] * len(CAST), state)
    told = with_known(batch, columns)
    day, end = (batch.time_ms - START_MS) / 86_400_000, np.diff(batch.connector, append=-1) != 0
    for name, pos, neg in (("assembly", 0.1, -1.0), ("healthy", 0.0, 0.0)):
        own = batch.connector == _AT[name]
        pos_log, neg_log = (known(told, f"mating_step_{pole}") for pole in ("pos", "neg"))
        assert np.isnan(pos_log[own & (day < 8.0)]).all()
        assert pos_log[own & end] == pytest.approx(pos, abs=0.15)
        assert neg_log[own & end] == pytest.approx(neg, abs=0.15)


def test_all_that_is_kept_of_a_connector_is_bounded() -> None:
    """All default detectors together, the stage they stand on, and the connector's clock."""
    detectors = default_detectors()
    stages = stages_of(detectors)
    assert stages == (CONTACTS,)
    kept = sum(each.state_dtype.itemsize for each in (*stages, *detectors))
    assert kept + 8 <= 2_048


def test_stage_runs_once_and_only_for_who_needs_it(fleet: Fleet) -> None:
    batch = fleet.batch(fleet.day < 0.1)
    assert Watch([Overtemperature(stages=())]).observe(batch, [MODEL] * len(CAST)).known == {}
    judged = Watch([Overtemperature()]).observe(batch, [MODEL] * len(CAST))
    assert "estimate.apart" in judged.known
    assert "estimate.apart" not in judged.judged.values
    assert np.isnan(known(judged.judged, "apart")).all()


def test_rise_at_rated_current_comes_from_what_the_model_says() -> None:
    silent = replace(EXAMPLE, temperature_rise_rated_k=float("nan"))
    parts = replace(silent, contact_resistance_new_uohm=200.0, thermal_resistance_k_per_w=2.0)
    limit = replace(silent, contact_resistance_new_uohm=float("nan"))
    rises = parameters_of([EXAMPLE, parts, limit])["rise_k"]
    assert rises.tolist() == pytest.approx([32.0, 250.0**2 * 200e-6 * 2.0, 35.0])


def slow_constants(batch: Batch, model: Ratings) -> dict[str, np.ndarray]:
    """The cast's slow time constants after each reading, s; and what is told of their spread."""
    state = np.zeros(len(CAST), dtype=CONTACT_DTYPE)
    columns = CONTACTS.columns(batch, [model] * len(CAST), state)
    told = np.stack([columns["estimate.slow_constant_s"], columns["estimate.slow_constant_sd_s"]])
    return {name: told[:, batch.connector == at] for name, at in _AT.items()}


@pytest.mark.parametrize("stated_s", [560.0, 760.0, 1000.0])
def test_unit_s_own_time_constant_is_learnt_from_changes_of_its_load(
    fleet: Fleet, stated_s: float
) -> None:
    """Whatever the model states; the cast's is 760 s, and 2.2 times that where cooling is lost on
    the fifth day. The cast's heat comes up to a step early: as of a contact of some 50 s."""
    model = replace(MODEL, thermal_time_constants_s=(50.0, stated_s))
    told = slow_constants(fleet.batch(), model)
    for name in ("healthy", "twin", "stuck", "ageing"):
        before = told[name][:, fleet.day < ONSET_DAY]
        constant_s, sd_s = before[:, -1]
        assert constant_s == pytest.approx(760.0, rel=0.1)
        assert 0.1 < sd_s / constant_s < 0.25
        assert np.isnan(before[0, 0])
    assert told["cooling"][0, -1] > 1.25 * told["healthy"][0, -1]
    assert np.isnan(told["parked"]).all()


def test_time_constant_is_not_told_where_no_air_is_measured(fleet: Fleet) -> None:
    batch = fleet.batch()
    del (values := dict(batch.values))["ambient_c"]
    told = slow_constants(replace(batch, values=values), MODEL)
    assert all(np.isnan(each).all() for each in told.values())
