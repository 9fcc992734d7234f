"""What a watch keeps, as bytes: nothing is lost, nothing is run, and archives are still read."""

from io import BytesIO

import msgspec
import numpy as np
import pytest

from ohmwatch.checks.detectors import EXAMPLE, recording
from ohmwatch.detectors.defaults import default_detectors
from ohmwatch.dumped import Dumped, read
from ohmwatch.watch import Watch

RECORD = np.dtype([("last_ms", "<i8"), ("levels", [("low", "<u4"), ("high", "<i2")], (2,))])


def records() -> np.ndarray:
    made = np.zeros(3, dtype=RECORD)
    made["last_ms"] = [1, 2, 3]
    made["levels"]["high"] = 7
    return made


def dumped(states: dict[str, np.ndarray]) -> Dumped:
    clock_ms = np.array([5, 6, 7], dtype=np.int64)
    return read(Dumped.of(["a", "b", "接头"], clock_ms, ["d 1"], states).to_bytes())


def test_all_comes_back_and_can_be_written_to() -> None:
    kept = dumped({"d": records()})
    state = kept.state("d", RECORD)
    assert state is not None
    assert state.tobytes() == records().tobytes()
    state["last_ms"] += 1
    kept.clock_ms[0] = 0
    assert (kept.connectors, kept.versions) == (["a", "b", "接头"], ["d 1"])
    assert kept.clock_ms.tolist() == [5, 6, 7]


def test_records_of_another_shape_are_left_alone() -> None:
    kept = dumped({"d": records()})
    assert kept.state("d", np.dtype([("last_ms", "<i8"), ("held_ms", "<i8")])) is None
    assert kept.state("d", np.dtype([("first_ms", "<i8"), *RECORD.descr[1:]])) is None


def test_who_keeps_nothing_has_empty_records() -> None:
    nothing = np.dtype([])
    state = dumped({"d": np.zeros(3, dtype=nothing)}).state("d", nothing)
    assert state is not None
    assert len(state) == 3


def test_records_that_are_not_one_of_each_connector_are_refused() -> None:
    with pytest.raises(ValueError):
        dumped({"d": records()[:2]}).state("d", RECORD)


def test_records_of_objects_are_refused() -> None:
    with pytest.raises(ValueError, match="objects"):
        dumped({"d": np.array([object()], dtype=object)})


@pytest.mark.parametrize("nonsense", [b"\x93", b"nonsense", b"\x94\xa1a"])
def test_what_is_no_dump_is_refused(nonsense: bytes) -> None:
    with pytest.raises((ValueError, msgspec.DecodeError)):
        read(nonsense)


def test_an_archive_of_before_is_read() -> None:
    """As checkpoints were written: nobody starts anew with an update."""
    watch = Watch(default_detectors())
    batch = recording(connectors=2)
    watch.observe(batch, [EXAMPLE] * 2)
    target = BytesIO()
    np.savez(
        target,
        allow_pickle=False,
        connectors=np.array(watch.connectors, dtype=np.str_),
        clock_ms=watch._clock_ms,
        versions=np.array([f"{each.name} {each.version}" for each in watch._turns()]),
        **{f"state.{name}": state for name, state in watch._states.items()},
    )
    again = Watch.load(target.getvalue(), default_detectors())
    assert again.connectors == watch.connectors
    for name in watch.connectors:  # all but how many readings were judged, which nobody counted
        assert again.clock_ms(name) == watch.clock_ms(name)
        assert again.judged(name) == 0
    for key, state in watch._states.items():
        assert again._states[key].tobytes() == state.tobytes()
