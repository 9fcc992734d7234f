"""The judge gives each engine what it deserves, the honest, the noisy, the mute and the liar."""

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace

import numpy as np
import pytest

from benchmarks.warning.events import Alarm, Contender, Event, Said, stamped
from benchmarks.warning.faults import CAUSES, SYMPTOMS, Kind, Shape, accuses_connector
from benchmarks.warning.judge import HOUR_MS, Verdict, cases, judge
from benchmarks.warning.truth import Truth
from ohmwatch.backtest.installed import Installed
from ohmwatch.conditions import Condition
from ohmwatch.detector import Batch, Ratings
from ohmwatch.findings import Severity

DAY_H = 24
YEAR_H = 24 * 365.25


def at(hour: float) -> int:
    """An hour of the set, as ms since 1970."""
    return 1_767_571_200_000 + round(hour * HOUR_MS)


def truth(kind: Kind = Kind.FRETTING, **known: float | str | None) -> Truth:
    """A contact that began to fret on day 5, could be seen from day 10, failed on day 20 of 30.

    Times by hour of the set: `onset`, `visible`, `limit`, `until`.
    """
    hours = {"onset": 120.0, "visible": 240.0, "limit": 480.0, "until": 720.0, **known}
    faulty = kind not in (Kind.HEALTHY,) and kind < Kind.STUCK
    return Truth(
        connector=str(known.get("connector", "c")),
        kind=kind,
        shape=Shape.EXPONENTIAL if kind == Kind.FRETTING else Shape.NONE,
        pole=str(known.get("pole", "pos" if kind == Kind.FRETTING else "")),
        onset_ms=None if kind == Kind.HEALTHY else at(hours["onset"]),
        growth_s=None,
        limit_ms=at(hours["limit"]) if faulty and hours["limit"] is not None else None,
        visible_ms=at(hours["visible"]) if faulty and hours["visible"] is not None else None,
        visible_by="temperature" if faulty else "",
        first_ms=at(0),
        heard_until_ms=at(hours["until"]),
    )


def said(
    hour: float,
    severity: Severity = Severity.WARNING,
    condition: str = "contact_resistance_rising",
    event: str = "opened",
    *,
    pole: str = "pos",
    limit: tuple[float, float] | None = None,
    connector: str = "c",
) -> Said:
    alarm = Event(
        connector,
        at(hour),
        at(hour),
        severity,
        condition,
        event,
        pole,
        at(limit[0]) if limit else None,
        at(limit[1]) if limit else None,
    )
    return Said(alarm, at(hour))


def verdict(known: Truth | list[Truth], *told: Said) -> Verdict:
    return judge(cases(known if isinstance(known, list) else [known], told))


def test_warned_halfway_between_visible_and_limit() -> None:
    result = verdict(truth(), said(360))
    assert (result.warned.hits, result.warned.all) == (1, 1)
    assert result.leads == (0.5,)
    assert result.warned_before_h == (120.0,)
    assert result.cause_right.value == 1.0
    assert (result.pole_wrong.hits, result.pole_wrong.all) == (0, 1)


def test_at_the_limit_is_not_before_it() -> None:
    assert verdict(truth(), said(480)).warned.hits == 0
    assert verdict(truth(), said(479.99)).warned.hits == 1


def test_an_hour_before_is_asked_of_those_visible_an_hour_before() -> None:
    assert verdict(truth(), said(479.5)).warned_an_hour.value == 0.0
    assert verdict(truth(), said(479)).warned_an_hour.value == 1.0
    late = verdict(truth(visible=479.5), said(479.8))
    assert (late.warned.value, late.warned_an_hour.all) == (1.0, 0)


def test_what_was_never_warned_of_has_no_lead() -> None:
    result = verdict([truth(), truth(connector="d")], said(240))
    assert sorted(result.leads) == [0.0, 1.0]
    assert result.median_lead == 0.5
    assert result.tenth_lead == pytest.approx(0.1)


def test_an_earlier_warning_than_was_visible_is_all_of_the_lead_and_no_more() -> None:
    assert verdict(truth(), said(130)).leads == (1.0,)


def test_a_notice_is_no_warning() -> None:
    result = verdict(truth(), said(300, Severity.NOTICE))
    assert result.warned.hits == 0
    assert verdict(truth(), said(300, Severity.NOTICE), said(360, event="worsened")).leads == (0.5,)


def test_an_eased_or_cleared_alarm_warns_of_nothing() -> None:
    assert verdict(truth(), said(300, event="eased")).warned.hits == 0
    assert verdict(truth(), said(300, event="cleared")).warned.hits == 0


def test_a_sensor_alarm_is_no_warning_of_the_connector() -> None:
    result = verdict(truth(), said(300, condition="sensor_stuck"))
    assert result.warned.hits == 0
    assert result.cause_right.all == 0


def test_a_warning_before_the_fault_is_none() -> None:
    assert verdict(truth(), said(119)).warned.hits == 0


def test_not_visible_before_its_limit_is_asked_of_nobody() -> None:
    assert verdict(truth(visible=500)).warned.all == 0
    assert verdict(truth(visible=None)).warned.all == 0


def test_a_limit_after_the_last_reading_was_not_reached() -> None:
    result = verdict(truth(limit=800), said(300, Severity.NOTICE))
    assert result.warned.all == 0
    assert (result.found_without_limit.hits, result.found_without_limit.all) == (1, 1)
    assert (result.warned_without_limit.hits, result.warned_without_limit.all) == (0, 1)


def test_what_became_visible_on_the_last_day_is_not_asked_for() -> None:
    assert verdict(truth(limit=None, visible=700)).found_without_limit.all == 0


def test_the_first_condition_that_names_a_cause_counts() -> None:
    hot = said(300, condition="overtemperature")
    right, wrong = said(310), said(310, condition="cooling_reduced")
    assert verdict(truth(), hot).cause_right.value == 0.0
    assert verdict(truth(), hot, right).cause_right.value == 1.0
    assert verdict(truth(), hot, wrong, said(320)).cause_right.value == 0.0


def test_a_warning_names_the_cause_before_an_earlier_notice() -> None:
    notice = said(290, Severity.NOTICE, "cooling_reduced")
    assert verdict(truth(), notice, said(310)).cause_right.value == 1.0
    assert verdict(truth(), said(310, condition="overtemperature"), notice).cause_right.value == 0.0


def test_a_wrong_pole_is_wrong_and_both_is_as_well() -> None:
    assert verdict(truth(), said(300, pole="neg")).pole_wrong.value == 1.0
    assert verdict(truth(), said(300, pole="both")).pole_wrong.value == 1.0
    assert verdict(truth(), said(300, pole="")).pole_wrong.all == 0
    assert verdict(truth(), said(300, pole=""), said(301, pole="neg")).pole_wrong.hits == 1
    cooling = truth(Kind.COOLING, pole="both", limit=None)
    assert verdict(cooling, said(300, condition="cooling_reduced", pole="neg")).pole_wrong.hits == 1


def healthy(years: float = 1.0, connector: str = "c") -> Truth:
    return truth(Kind.HEALTHY, until=years * YEAR_H, connector=connector)


def test_false_alarms_are_counted_by_severity_for_each_connector_year() -> None:
    told = [
        said(10, Severity.NOTICE),
        said(20, Severity.WARNING, event="worsened"),
        said(30, Severity.CRITICAL, event="worsened"),
        said(40, event="cleared"),
        said(50, Severity.WARNING),
    ]
    result = verdict([healthy(2.0), healthy(2.0, "d")], *told)
    assert result.healthy_years == pytest.approx(4.0)
    assert (result.notices, result.false_alarms, result.false_criticals) == (2, 2, 1)
    assert result.a_year(result.false_alarms) == pytest.approx(0.5)


def test_an_alarm_that_eases_and_worsens_again_is_told_again() -> None:
    told = [said(20), said(30, Severity.NOTICE, event="eased"), said(40, event="worsened")]
    assert verdict(healthy(), *told).false_alarms == 2


def test_a_critical_that_eases_to_warning_is_one_false_alarm() -> None:
    told = [said(20, Severity.CRITICAL), said(30, event="eased")]
    assert verdict(healthy(), *told).false_alarms == 1


def test_any_condition_is_a_false_alarm_on_the_healthy() -> None:
    assert verdict(healthy(), said(20, condition="sensor_drifting")).false_alarms == 1


def test_a_lying_sensor_called_a_connector_fault() -> None:
    liars = [
        truth(Kind.DRIFTING),
        truth(Kind.STUCK, connector="d"),
        truth(Kind.SCALE, connector="e"),
    ]
    told = [
        said(300, condition="sensor_drifting", severity=Severity.NOTICE),
        said(300, condition="temperature_rise_high", connector="d"),
        said(300, Severity.NOTICE, "pole_imbalance", connector="e"),
    ]
    result = verdict(liars, *told)
    assert (result.sensors_accused.hits, result.sensors_accused.all) == (1, 3)
    assert (result.sensors_found.hits, result.sensors_found.all) == (1, 3)


def test_intervals_that_held() -> None:
    told = [
        said(300, limit=(400, 500)),
        said(310, limit=(481, 600), event="worsened"),
        said(320, limit=(330, 479), event="worsened"),
        said(490, limit=(480, 500), event="worsened"),  # after the limit: not judged
    ]
    result = verdict(truth(), *told)
    assert (result.intervals_held.hits, result.intervals_held.all) == (1, 3)


def test_an_interval_for_a_limit_that_never_came() -> None:
    never = truth(limit=None, until=720)
    assert verdict(never, said(300, limit=(400, 600))).intervals_held.hits == 0
    assert verdict(never, said(300, limit=(400, 600))).intervals_held.all == 1
    beyond = said(300, limit=(400, 720 + 26 * DAY_H))
    assert verdict(never, beyond).intervals_held.all == 0


def test_nothing_of_nothing_is_no_number() -> None:
    result = judge([])
    assert math.isnan(result.median_lead)
    assert math.isnan(result.warned.value)
    assert math.isnan(result.a_year(0))


def test_every_condition_of_ours_is_known_to_the_judge() -> None:
    of_vehicle = {"overcurrent", "overvoltage", "mating_cycles_exceeded", "device_silent"}
    assert {*CAUSES, *SYMPTOMS, *of_vehicle} == {str(each) for each in Condition}
    assert not any(accuses_connector(each) for each in of_vehicle)
    assert accuses_connector("acme.sequence_model")
    assert not accuses_connector("sensor_stuck")


def test_how_long_a_warning_stood() -> None:
    told = [
        said(200, Severity.NOTICE),
        said(210, event="worsened"),
        said(215, Severity.CRITICAL, event="worsened"),
        said(220, Severity.NOTICE, event="eased"),
        said(300),
        said(310, event="cleared"),
        said(400, condition="sensor_stuck"),
        said(500, condition="overtemperature"),
    ]
    (case,) = cases([truth()], told)
    stood = [(at(210), at(220)), (at(300), at(310)), (at(500), at(720))]
    assert case.stood(Severity.WARNING) == stood
    assert case.stood(Severity.CRITICAL) == [(at(215), at(220))]


# ---- engines that the judge must see through --------------------------------------------------

INSTALLED = {
    name: Installed(name, "m", "b", "v", Ratings(model="m")) for name in ("faulty", "healthy")
}
TRUTHS = [truth(connector="faulty"), truth(Kind.HEALTHY, connector="healthy")]


def days() -> Iterator[Batch]:
    """A reading an hour of both connectors, in batches of a day, for thirty days."""
    for day in range(30):
        hours = np.array([at(hour) for hour in range(day * 24, day * 24 + 24)])
        yield Batch(
            connectors=["faulty", "healthy"],
            connector=np.repeat(np.arange(2, dtype=np.int32), 24),
            time_ms=np.tile(hours, 2),
            arrived_ms=np.tile(hours, 2) + 500,
            values={},
        )


Tell = Callable[[Batch, str, int], Iterator[Alarm]]


def engine(tell: Tell) -> Contender:
    """Asks `tell` about each connector of each batch; the int is the day."""

    def run(batches: Iterable[Batch], installed: Mapping[str, Installed]) -> Iterator[Alarm]:
        for day, batch in enumerate(batches):
            for name in installed:
                yield from tell(batch, name, day)

    return run


def warning(name: str, time_ms: int, event: str = "opened") -> Event:
    return Event(name, time_ms, time_ms, Severity.CRITICAL, "contact_resistance_high", event, "pos")


def judged(tell: Tell) -> Verdict:
    return judge(cases(TRUTHS, stamped(engine(tell), days(), INSTALLED)))


def test_an_honest_engine_is_believed() -> None:
    def honest(batch: Batch, name: str, day: int) -> Iterator[Alarm]:
        if name == "faulty" and day == 15:
            yield warning(name, int(batch.arrived_ms[0]))

    result = judged(honest)
    assert result.leads == (pytest.approx(0.5, abs=0.01),)
    assert result.false_alarms == 0


def test_an_engine_that_never_speaks_has_nothing() -> None:
    result = judged(lambda batch, name, day: iter(()))
    assert (result.warned.hits, result.median_lead, result.false_alarms) == (0, 0.0, 0)
    assert result.cause_right.all == 0


def test_an_engine_that_warns_of_all_from_the_first_reading_has_warned_of_nothing() -> None:
    def shrill(batch: Batch, name: str, day: int) -> Iterator[Alarm]:
        if day == 0:
            yield warning(name, int(batch.arrived_ms[0]))

    result = judged(shrill)
    assert result.warned.hits == 0
    assert result.false_criticals == 1


def test_an_engine_that_warns_of_all_each_day_pays_for_it_in_false_alarms() -> None:
    def shriller(batch: Batch, name: str, day: int) -> Iterator[Alarm]:
        yield warning(name, int(batch.arrived_ms[0]))
        yield warning(name, int(batch.arrived_ms[-1]), "cleared")

    result = judged(shriller)
    assert result.warned.hits == 1
    assert result.false_criticals == 30
    assert result.a_year(result.false_criticals) > 300


def test_an_engine_that_dates_back_is_heard_when_it_speaks() -> None:
    def liar(batch: Batch, name: str, day: int) -> Iterator[Alarm]:
        if name == "faulty" and day == 19:
            yield warning(name, at(240))  # "I knew on day 10"

    result = judged(liar)
    assert result.leads == (pytest.approx(24.25 / 240, abs=0.01),)


def test_an_engine_that_speaks_after_the_last_reading_has_warned_too_late() -> None:
    def run(batches: Iterable[Batch], installed: Mapping[str, Installed]) -> Iterator[Alarm]:
        for _ in batches:
            pass
        yield warning("faulty", at(240))

    assert judge(cases(TRUTHS, stamped(run, days(), INSTALLED))).warned.hits == 0


def test_the_judge_does_not_depend_on_the_order_of_what_was_said() -> None:
    told = [said(360), said(300, Severity.NOTICE), said(420, Severity.CRITICAL, event="worsened")]
    assert verdict(truth(), *told) == verdict(truth(), *reversed(told))


def test_a_better_truth_never_hides_a_miss() -> None:
    missed = replace(truth(), connector="missed")
    result = verdict([truth(), missed], said(300))
    assert (result.warned.hits, result.warned.all) == (1, 2)
