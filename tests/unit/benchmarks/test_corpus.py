"""A corpus has the times, arrivals and batches that devices and acquisition make."""

import numpy as np

from benchmarks.corpus import FIRST_SLOT, SLOTS, Connector, Corpus, bulk_lines, copy_lines
from workers.acquisition.batches import ARRIVAL_STEP_MS, SLOT_SHIFT
from workers.acquisition.intake import Limits

START_MS, STEP_MS = 1_795_420_800_000, 10_000
HOUR = {"start_ms": START_MS, "end_ms": START_MS + 3_600_000, "step_ms": STEP_MS}


def test_a_device_reports_all_its_connectors_at_once_at_a_phase_of_its_own() -> None:
    hour = Corpus(**HOUR)
    first, beside, other = (hour.readings(Connector(number)) for number in (0, 5, 6))
    assert (first.measured_ms == beside.measured_ms).all()
    assert (first.batch == beside.batch).all()
    assert not np.isin(first.measured_ms, other.measured_ms).any()
    assert len(np.unique(np.diff(first.measured_ms))) > 3, "due every ten seconds, give or take"
    assert first.measured_ms.min() >= START_MS
    assert first.measured_ms.max() < HOUR["end_ms"]


def test_no_reading_is_measured_after_the_end() -> None:
    end_ms = START_MS + 3_600_000 - 1
    hour = Corpus(start_ms=START_MS, end_ms=end_ms, step_ms=STEP_MS)
    newest_ms = [hour.readings(Connector(n)).measured_ms.max() for n in range(0, 600, 6)]
    assert max(newest_ms) < end_ms


def test_a_batch_has_one_number_one_slot_and_one_arrival_and_soon_another() -> None:
    readings = Corpus(**HOUR).readings(Connector(3))
    waits_ms = readings.arrived_ms - readings.measured_ms
    assert waits_ms.min() > -ARRIVAL_STEP_MS  # arrival is told to the step before it
    assert np.median(waits_ms) < 1000 * Limits().wait_s + 200
    assert len(np.unique(readings.batch)) == len(readings)
    assert set(np.unique(readings.batch >> SLOT_SHIFT)) == {FIRST_SLOT + n for n in range(SLOTS)}
    closed_ms = readings.batch % (1 << SLOT_SHIFT)
    assert ((closed_ms - readings.measured_ms) > 0).all()
    assert (closed_ms - closed_ms % ARRIVAL_STEP_MS == readings.arrived_ms).all()


def test_what_is_sent_together_is_a_step_apart_and_arrives_together() -> None:
    readings = Corpus(**HOUR, together=50).readings(Connector(3))
    message = readings.part(slice(50, 100))
    assert set(np.diff(message.measured_ms)) == {STEP_MS}
    assert len(set(message.batch)) == len(set(message.arrived_ms)) == 1
    assert message.arrived_ms[0] > message.measured_ms[-1]


def test_the_same_readings_are_written_for_both_stores() -> None:
    connector = Connector(3)
    readings = Corpus(**HOUR).readings(connector)
    documents = bulk_lines("readings-30d-x", connector, readings).splitlines()
    rows = copy_lines(connector, readings).splitlines()
    assert len(documents) == 2 * len(readings) == 2 * len(rows)
    for number in (readings.measured_ms[7], readings.arrived_ms[7], readings.batch[7]):
        assert str(number).encode() in documents[15]
        assert str(number).encode() in rows[7].split(b"\t")


def test_what_is_alike_differs_in_noise_alone() -> None:
    readings = Corpus(**HOUR, alike=4).readings(Connector(3))
    first, second = readings.part(slice(0, 90)), readings.part(slice(90, 180))
    ambient_c = [part.columns["ambient_c"] for part in (first, second)]
    assert (first.columns["mating_cycles"] == second.columns["mating_cycles"]).all()
    assert 0 < np.abs(ambient_c[0] - ambient_c[1]).max() < 1
