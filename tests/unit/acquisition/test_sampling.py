"""A flood of rubbish: counted to the last reading, kept in samples."""

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from apps.telemetry.documents import PLATFORM
from ohmwatch.refusals import Reason
from workers.acquisition import sampling
from workers.acquisition.batches import Message
from workers.acquisition.sampling import BURST, PER_S, Allowances, sampled
from workers.acquisition.sorting import Refusal

AT_MS = 1_795_420_800_000


def refusal(
    number: int, *, who: str = "kunlun.tbox-1", reason: Reason = Reason.UNDECODABLE, count: int = 1
) -> Refusal:
    return Refusal(
        tenant=who.partition(".")[0],
        identity=who,
        reason=reason,
        message_number=number,
        message=Message(f"ow/v1/{who}/readings", b"rubbish"),
        count=count,
    )


def test_what_a_device_may_is_kept_whole() -> None:
    few = [refusal(number) for number in range(BURST)]
    assert sampled(few, at_ms=AT_MS, allowances=Allowances()) == few


def test_a_flood_is_put_together_by_reason_and_counted_exactly() -> None:
    flood = [
        refusal(number, count=3, reason=Reason.NO_QUANTITY if number % 2 else Reason.OUT_OF_RANGE)
        for number in range(BURST + 100)
    ]
    kept = sampled(flood, at_ms=AT_MS, allowances=Allowances())
    assert len(kept) == BURST + 2
    for one in kept[BURST:]:
        assert (one.count, one.messages, one.dropped_bytes) == (150, 50, 50 * len(b"rubbish"))
    assert sum(one.count for one in kept) == 3 * len(flood)


def test_one_devices_flood_costs_no_other_device_its_bytes() -> None:
    allowances = Allowances()
    sampled([refusal(n) for n in range(10 * BURST)], at_ms=AT_MS, allowances=allowances)
    other = [refusal(0, who="kunlun.tbox-2"), refusal(1, who="aurora.tbox-1")]
    assert sampled(other, at_ms=AT_MS, allowances=allowances) == other


def test_the_allowance_comes_back_with_time() -> None:
    allowances = Allowances()
    sampled([refusal(n) for n in range(BURST)], at_ms=AT_MS, allowances=allowances)
    later_ms = AT_MS + int(PER_S * 1000 / BURST)
    pair = [refusal(0), refusal(1)]
    kept = sampled(pair, at_ms=later_ms, allowances=allowances)
    assert kept[0] == pair[0]
    assert kept[1].dropped_bytes == len(b"rubbish")


def test_a_clock_that_is_put_back_gives_nothing_away() -> None:
    allowances = Allowances()
    sampled([refusal(n) for n in range(BURST)], at_ms=AT_MS, allowances=allowances)
    for at_ms in (AT_MS - 3_600_000, AT_MS):
        assert sampled([refusal(0)], at_ms=at_ms, allowances=allowances)[0].dropped_bytes


def test_invented_names_of_nobodys_devices_share_one_allowance() -> None:
    strangers = [
        Refusal(PLATFORM, f"nowhere.{n}", Reason.UNKNOWN_TENANT, n, Message("", b"x"))
        for n in range(BURST + 5)
    ]
    assert len(sampled(strangers, at_ms=AT_MS, allowances=Allowances())) == BURST + 1


def test_memory_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    allowances = Allowances()
    monkeypatch.setattr(sampling, "DEVICES_LIMIT", 50)
    for number in range(500):
        sampled([refusal(0, who=f"kunlun.{number}")], at_ms=AT_MS, allowances=allowances)
    assert len(allowances._of) <= 50


_reasons = st.sampled_from([Reason.UNDECODABLE, Reason.NO_QUANTITY, Reason.OUT_OF_RANGE])
_who = st.sampled_from(["kunlun.a", "kunlun.b", "aurora.a"])


@given(st.lists(st.tuples(_who, _reasons, st.integers(1, 50)), max_size=1000))
def test_nothing_is_gained_or_lost(said: list[tuple[str, Reason, int]]) -> None:
    flood = [
        refusal(number, who=who, reason=reason, count=count)
        for number, (who, reason, count) in enumerate(said)
    ]
    kept = sampled(flood, at_ms=AT_MS, allowances=Allowances())
    assert _counts(kept) == _counts(flood)
    keys = [(one.tenant, one.message_number, one.reason) for one in kept]
    assert len(keys) == len(set(keys)), "ids of documents are made of these"


def _counts(refused: list[Refusal]) -> Counter[tuple[str, Reason]]:
    counts: Counter[tuple[str, Reason]] = Counter()
    for one in refused:
        counts[one.identity, one.reason] += one.count
    return counts
