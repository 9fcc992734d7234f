"""The suite that every detector passes, ours and a customer's alike.

    from ohmwatch.checks.detectors import check_detector

    def test_my_detector() -> None:
        check_detector(MyDetector())

Each check runs the detector inside a `Watch`, as the product does, over a recording of six
connectors with healthy and faulty stretches, and raises `CheckFailed` with its own name.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np

from ohmwatch.detector import Batch, Detector, Flags, Floats, Ratings
from ohmwatch.findings import Finding, Severity
from ohmwatch.watch import Watch

START_MS = 1_795_420_800_000
STEP_MS = 5_000
READINGS = 2_400
LARGEST_STATE_BYTES = 2_048
TURN_READINGS = 31_200
"""About as many as one turn is ever shown (`ohmwatch.watch.PORTION`)."""
TURN_S = 2.0
"""Half of the 4 s after which a plug-in's turn is ended and its process killed: a worker's machine
may be twice as busy as the one that this runs on. Our own take some milliseconds."""
TURNS_TRIED = 3
"""Of which the fastest counts: the others may have compiled something, or shared the machine."""

EXAMPLE = Ratings(
    model="example-250",
    position="charging_inlet",
    rated_current_a=250.0,
    rated_voltage_v=800.0,
    temperature_limit_c=90.0,
    derating=((40.0, 250.0), (70.0, 120.0), (85.0, 50.0)),
    temperature_rise_rated_k=32.0,
    temperature_rise_limit_k=50.0,
    contact_resistance_new_uohm=180.0,
    contact_resistance_end_uohm=500.0,
    thermal_resistance_k_per_w=2.8,
    thermal_time_constants_s=(80.0, 780.0),
    insulation_minimum_kohm=500.0,
    rated_mating_cycles=10_000.0,
    interval_s=5.0,
)


class CheckFailed(AssertionError):
    """A detector breaks its contract. `check` is the check's name, `detail` what was seen."""

    def __init__(self, check: str, detail: str) -> None:
        super().__init__(f"{check}: {detail}")
        self.check = check
        self.detail = detail


def check_detector(
    detector: Detector, *, ratings: Ratings = EXAMPLE, turn_s: float = TURN_S
) -> None:
    """Runs every check on the detector; raises CheckFailed at the first that fails.

    `turn_s` is what the detector may take for TURN_READINGS, in seconds of wall time.
    """
    for check in CHECKS:
        check(detector, ratings)
    ends_its_turn_in_time(detector, ratings, turn_s)


def recording(*, connectors: int = 6, healthy: bool = False, seed: int = 7) -> Batch:
    """Readings of a few connectors, each quantity, with a hot and a wet stretch unless healthy."""
    parts = [_one_connector(f"c{number}", healthy, seed + number) for number in range(connectors)]
    return Batch(
        connectors=[part.connectors[0] for part in parts],
        connector=np.repeat(np.arange(connectors, dtype=np.int32), READINGS),
        time_ms=np.concatenate([part.time_ms for part in parts]),
        arrived_ms=np.concatenate([part.arrived_ms for part in parts]),
        values={
            name: np.concatenate([part.values[name] for part in parts]) for name in parts[0].values
        },
    )


def observed(
    detector: Detector,
    batch: Batch,
    ratings: Ratings,
    *,
    pieces: Sequence[Flags] | None = None,
    checkpoint: bool = False,
) -> list[Finding]:
    """The findings over a batch, shown at once or piece by piece, or through a checkpoint."""
    watch = Watch([detector])
    known = [ratings] * len(batch.connectors)
    findings: list[Finding] = []
    for piece in pieces if pieces is not None else [np.ones(len(batch), dtype=np.bool_)]:
        judgement = watch.observe(batch.rows(piece), known)
        for error in judgement.failed.values():
            raise CheckFailed("raises_nothing", repr(error)) from error
        findings += judgement.findings
        if checkpoint:
            watch = Watch.load(watch.dump(), [detector])
    return sorted(findings, key=_story_order)


def states_well_formed_findings(detector: Detector, ratings: Ratings) -> None:
    """Each finding names its connector and a reading, and dates nothing ahead or back."""
    batch = recording()
    times = set(batch.time_ms.tolist())
    for finding in observed(detector, batch, ratings):
        sound = (
            finding.connector in batch.connectors
            and finding.measured_ms in times
            and 0 < finding.since_ms <= finding.measured_ms
            and finding.condition == detector.condition
            and finding.detector == detector.name
            and (finding.severity is None or finding.severity in set(Severity))
            and all(
                isinstance(value, str) or np.isfinite(value) for value in finding.evidence.values()
            )
        )
        _require(sound, "states_well_formed_findings", repr(finding))


def leaves_its_input_alone(detector: Detector, ratings: Ratings) -> None:
    """Only the state is written to: writing to the batch raises here."""
    batch = recording()
    columns: list[np.ndarray[Any, Any]] = [batch.connector, batch.time_ms, batch.arrived_ms]
    for column in [*columns, *batch.values.values()]:
        column.flags.writeable = False
    observed(detector, batch, ratings)


def keeps_a_bounded_state(detector: Detector, ratings: Ratings) -> None:
    """The record is of plain numbers, and small enough for a million connectors."""
    dtype = detector.state_dtype
    _require(not dtype.hasobject, "keeps_a_bounded_state", "the record holds Python objects")
    _require(
        dtype.itemsize <= LARGEST_STATE_BYTES,
        "keeps_a_bounded_state",
        f"{dtype.itemsize} bytes a connector, at most {LARGEST_STATE_BYTES}",
    )


def says_the_same_twice(detector: Detector, ratings: Ratings) -> None:
    """No chance, no clock, no memory beside the state."""
    batch = recording()
    _require_same(
        "says_the_same_twice",
        observed(detector, batch, ratings),
        observed(detector, batch, ratings),
    )


def says_the_same_in_pieces(detector: Detector, ratings: Ratings) -> None:
    """However the readings are cut into batches."""
    batch = recording()
    _require_same(
        "says_the_same_in_pieces",
        observed(detector, batch, ratings),
        observed(detector, batch, ratings, pieces=_pieces(batch, 37)),
    )


def goes_on_after_a_checkpoint(detector: Detector, ratings: Ratings) -> None:
    """Stored and restored midway, several times."""
    batch = recording()
    _require_same(
        "goes_on_after_a_checkpoint",
        observed(detector, batch, ratings),
        observed(detector, batch, ratings, pieces=_pieces(batch, 5), checkpoint=True),
    )


def is_not_moved_by_repeats_and_late_readings(detector: Detector, ratings: Ratings) -> None:
    """One reading in ten comes a second time, or again much later."""
    batch = recording()
    cuts = _pieces(batch, 23)
    again = np.random.default_rng(5).random(len(batch)) < 0.1
    late = [cut | (again & _before(batch, cut)) for cut in cuts]
    _require_same(
        "is_not_moved_by_repeats_and_late_readings",
        observed(detector, batch, ratings, pieces=cuts),
        observed(detector, batch, ratings, pieces=late),
    )


def is_not_moved_by_what_comes_too_late(detector: Detector, ratings: Ratings) -> None:
    """One reading in twenty comes only when newer ones of its connector have been judged."""
    batch = recording()
    cuts = _pieces(batch, 23)
    delayed = np.random.default_rng(13).random(len(batch)) < 0.05
    for cut in cuts:  # behind each of them comes one in time
        delayed &= ~(cut & (batch.time_ms == batch.time_ms[cut].max(initial=0)))
    in_time = [cut & ~delayed for cut in cuts]
    late = [piece | (delayed & _before(batch, piece)) for piece in in_time]
    _require_same(
        "is_not_moved_by_what_comes_too_late",
        observed(detector, batch, ratings, pieces=in_time),
        observed(detector, batch, ratings, pieces=late),
    )


def sees_each_connector_alone(detector: Detector, ratings: Ratings) -> None:
    """A connector's findings don't depend on which others are in the batch, or in which order."""
    batch = recording()
    alone: list[Finding] = []
    for position in reversed(range(len(batch.connectors))):
        alone += observed(detector, batch.rows(batch.connector == position), ratings)
    _require_same(
        "sees_each_connector_alone",
        observed(detector, batch, ratings),
        sorted(alone, key=_story_order),
    )


def takes_a_gap_for_no_time(detector: Detector, ratings: Ratings) -> None:
    """Healthy, a day of silence, healthy: nothing to say."""
    batch = recording(healthy=True)
    later = batch.time_ms > START_MS + READINGS // 2 * STEP_MS
    apart = replace(batch, time_ms=np.where(later, batch.time_ms + 86_400_000, batch.time_ms))
    findings = observed(detector, apart, ratings)
    _require(not findings, "takes_a_gap_for_no_time", f"{len(findings)} findings: {findings[:1]}")


def bears_missing_values(detector: Detector, ratings: Ratings) -> None:
    """A third of all values is missing; then all; then each quantity it needs."""
    batch = recording()
    chance = np.random.default_rng(11)
    holes = {
        name: np.where(chance.random(len(batch)) < 0.3, np.nan, column)
        for name, column in batch.values.items()
    }
    observed(detector, replace(batch, values=holes), ratings)
    silent = [{name: np.full(len(batch), np.nan) for name in batch.values}, {}]
    for needed in detector.needs:
        silent.append({name: each for name, each in batch.values.items() if name != needed})
    for values in silent:
        findings = observed(detector, replace(batch, values=values), ratings)
        _require(not findings, "bears_missing_values", f"spoke without {detector.needs}")


def bears_missing_ratings(detector: Detector, ratings: Ratings) -> None:
    """A model that says nothing raises nothing."""
    observed(detector, recording(), Ratings())


def bears_an_empty_batch(detector: Detector, ratings: Ratings) -> None:
    """No readings, no connectors."""
    batch = recording()
    observed(detector, batch.rows(np.zeros(len(batch), dtype=np.bool_)), ratings)


def ends_its_turn_in_time(detector: Detector, ratings: Ratings, turn_s: float) -> None:
    """A turn over the largest batch takes no longer than `turn_s`."""
    batch = recording(connectors=TURN_READINGS // READINGS)
    known = [ratings] * len(batch.connectors)
    took_s = min(_seconds_of_a_turn(detector, batch, known) for _ in range(TURNS_TRIED))
    _require(
        took_s <= turn_s,
        "ends_its_turn_in_time",
        f"{len(batch):,} readings took {took_s:.2f} s, at most {turn_s:g} s",
    )


def _seconds_of_a_turn(detector: Detector, batch: Batch, ratings: Sequence[Ratings]) -> float:
    watch = Watch([detector])
    begun = time.perf_counter()
    watch.observe(batch, ratings)
    return time.perf_counter() - begun


CHECKS: tuple[Callable[[Detector, Ratings], None], ...] = (
    states_well_formed_findings,
    leaves_its_input_alone,
    keeps_a_bounded_state,
    says_the_same_twice,
    says_the_same_in_pieces,
    goes_on_after_a_checkpoint,
    is_not_moved_by_repeats_and_late_readings,
    is_not_moved_by_what_comes_too_late,
    sees_each_connector_alone,
    takes_a_gap_for_no_time,
    bears_missing_values,
    bears_missing_ratings,
    bears_an_empty_batch,
)


def _one_connector(connector: str, healthy: bool, seed: int) -> Batch:
    chance = np.random.default_rng(seed)
    step = np.arange(READINGS)
    current_a = 120.0 + 100.0 * np.sin(step / 60.0 + seed) + chance.normal(0, 3, READINGS)
    fault = ((step > 800) & (step < 1_500) & (not healthy)).astype(np.float64)
    hot = _lagged(fault, gain=STEP_MS / 200_000)  # heat takes its time, also that of a fault
    ambient_c = 22.0 + 3.0 * np.sin(step / 700.0)
    warm_c = ambient_c + _lagged(32.0 * (current_a / 250.0) ** 2, gain=STEP_MS / 400_000)
    return Batch.of_one(
        connector,
        START_MS + STEP_MS * step,
        current_a=current_a,
        voltage_v=np.full(READINGS, 750.0) + chance.normal(0, 2, READINGS),
        temperature_pos_c=warm_c + 70.0 * hot + chance.normal(0, 0.4, READINGS),
        temperature_neg_c=warm_c + 5.0 * hot + chance.normal(0, 0.4, READINGS),
        ambient_c=ambient_c,
        drop_pos_mv=current_a * (0.18 + 0.4 * fault),
        drop_neg_mv=current_a * 0.18,
        insulation_kohm=np.where(fault > 0, 300.0, 20_000.0) * chance.normal(1, 0.05, READINGS),
        interlock=1.0 - fault * (chance.random(READINGS) < 0.1),
        humidity_pct=np.full(READINGS, 40.0),
        vibration_g=np.abs(chance.normal(0.3, 0.1, READINGS)),
        mated=np.ones(READINGS),
        mating_cycles=np.full(READINGS, 120.0),
    )


def _lagged(steady_k: Floats, gain: float) -> Floats:
    """The rise of a healthy contact of one time constant that starts cold."""
    rise_k, course = 0.0, []
    for steady in steady_k.tolist():
        rise_k += gain * (steady - rise_k)
        course.append(rise_k)
    return np.array(course)


def _pieces(batch: Batch, count: int) -> list[Flags]:
    """The batch cut by time into `count` uneven pieces."""
    inside = np.random.default_rng(3).integers(1, READINGS, count - 1)
    cuts = [0, *sorted(inside.tolist()), READINGS]
    step = (batch.time_ms - START_MS) // STEP_MS
    return [(step >= start) & (step < end) for start, end in pairwise(cuts)]


def _before(batch: Batch, cut: Flags) -> Flags:
    """The readings measured before a piece's first."""
    return batch.time_ms < (batch.time_ms[cut].min() if cut.any() else 0)


def _story_order(finding: Finding) -> tuple[str, int]:
    return finding.connector, finding.measured_ms


def _require(holds: bool, check: str, detail: str) -> None:
    if not holds:
        raise CheckFailed(check, detail)


def _require_same(check: str, expected: list[Finding], seen: list[Finding]) -> None:
    if expected == seen:
        return
    for number, (one, other) in enumerate(zip(expected, seen, strict=False)):
        _require(one == other, check, f"finding {number}: {one} became {other}")
    raise CheckFailed(check, f"{len(expected)} findings became {len(seen)}")
