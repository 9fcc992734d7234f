"""The report says what the figures say, and its pictures are pictures."""

import json
import math
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import pytest

from benchmarks.warning import bench, figures, look, report, stories
from benchmarks.warning.drawing import Axis, Chart, Line, svg
from benchmarks.warning.events import Event, Said
from benchmarks.warning.faults import Kind, Shape
from benchmarks.warning.frozen import fingerprint
from benchmarks.warning.judge import Case, cases
from benchmarks.warning.profiles import HARD, PROFILES
from benchmarks.warning.scenarios import (
    REPORT_SEEDS,
    SPENT_SEEDS,
    START_MS,
    TUNING_SEEDS,
    generate,
)
from benchmarks.warning.targets import ROWS, asked, written
from benchmarks.warning.trial import OURS
from benchmarks.warning.truth import Truth
from ohmwatch.findings import Severity

HOUR_MS = 3_600_000
SHORT = {"days": 9.0, "onset_from_days": 1.5, "onset_to_days": 2.5}


def truth() -> Truth:
    """Fretting: begins in hour 100, visible in hour 200, at its limit in hour 480."""
    begin, visible, limit, end = (START_MS + hour * HOUR_MS for hour in (100, 200, 480, 500))
    return Truth("c", Kind.FRETTING, Shape.LINEAR, "pos", begin, 1.0, limit, visible,
                 "temperature", START_MS, end)  # fmt: skip


def healthy() -> Truth:
    end = START_MS + 500 * HOUR_MS
    return Truth("d", Kind.HEALTHY, Shape.NONE, "", None, None, None, None, "", START_MS, end)


def said(hour: float, event: str = "opened") -> Said:
    time_ms = START_MS + round(hour * HOUR_MS)
    return Said(Event("c", time_ms, time_ms, Severity.WARNING, "contact_loose", event), time_ms)


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A whole run, small and short, that writes into a folder of its own."""
    folder = tmp_path_factory.mktemp("run")
    patch = pytest.MonkeyPatch()
    for name, each in list(PROFILES.items()):
        patch.setitem(PROFILES, name, replace(each, **SHORT, growth_days=(0.4, 1.0)))
    patch.setattr(bench, "FULL", bench.Size(mixed=40, healthy=2, healthy_fast=4))
    patch.setattr(bench, "RESULTS", folder)
    patch.setattr(bench, "REPORT_SEEDS", TUNING_SEEDS)  # the report's stay unseen
    patch.setattr(report.write, "__defaults__", (folder,))
    defaults = {**(bench.finish.__kwdefaults__ or {}), "results": folder}
    patch.setattr(bench.finish, "__kwdefaults__", defaults)
    assert bench.run(quick=False) == 0
    patch.undo()
    return folder


def test_the_page_has_the_table_the_curves_and_three_cases(ran: Path) -> None:
    page = (ran / report.PAGE).read_text()
    for row in ROWS:
        assert page.count(f"| {row.text} |") == 2
    # A set this small may have no miss to tell of.
    told = json.loads((ran / bench.DETAILS).read_text())["stories"]
    assert 2 <= len(told) <= 3
    assert [page.count(f"### {number}. ") for number in (1, 2, 3)] == [
        int(number <= len(told)) for number in (1, 2, 3)
    ]
    pictures = {path.name for path in ran.glob("*.svg")}
    assert len(pictures) == 8
    assert all(f"({name})" in page for name in pictures)
    assert fingerprint()[:16] in page
    assert "nan" not in page


def test_every_picture_is_well_formed(ran: Path) -> None:
    for path in ran.glob("*.svg"):
        root = ElementTree.fromstring(path.read_text())
        assert root.tag.endswith("svg")
        assert (
            len(root.findall(".//{http://www.w3.org/2000/svg}polyline")) >= 1
        )  # a set this small may leave a curve empty
        assert "nan" not in path.read_text()


def test_the_figures_are_kept_and_the_page_can_be_written_anew(ran: Path, tmp_path: Path) -> None:
    found = json.loads((ran / bench.DETAILS).read_text())
    report.write(found, tmp_path)
    assert (tmp_path / report.PAGE).read_text() == (ran / report.PAGE).read_text()
    assert found["seeds"] == list(TUNING_SEEDS)  # as `ran` was told


def test_each_target_is_a_measure(ran: Path) -> None:
    told = json.loads((ran / "warning.json").read_text())["measures"]
    with_target = [each for each in told if each["target"] is not None]
    assert len(with_target) == 2 * sum(row.nominal is not None for row in ROWS)
    assert all(each["met"] in (True, False) for each in with_target)


def test_the_table_marks_what_is_met_and_what_is_not(ran: Path) -> None:
    found = json.loads((ran / bench.DETAILS).read_text())
    ours = found["profiles"]["nominal"]["contenders"][OURS]["table"]
    ours |= {"warned": 0.99, "median_lead": 0.5, "intervals": math.nan}
    table = report.table(found)
    assert "**99.0 %**" in table
    assert "50.0 % ✗" in table
    assert "– ✗" in table


def test_a_quick_look_shows_no_report_seed() -> None:
    assert not {*TUNING_SEEDS, *SPENT_SEEDS} & set(REPORT_SEEDS)
    assert len(TUNING_SEEDS) >= 2 <= len(REPORT_SEEDS)


def test_targets_are_the_issues() -> None:
    rows = {row.key: row for row in ROWS}
    assert rows["warned"].is_met("nominal", 0.98) is True
    assert rows["warned"].is_met("nominal", 0.979) is False
    assert rows["warned"].is_met("hard", 0.96) is True
    assert rows["false_alarms"].is_met("nominal", 0.031) is False
    assert rows["false_alarms"].is_met("hard", 0.2) is True
    assert rows["intervals"].is_met("nominal", 0.86) is False
    assert rows["intervals"].is_met("nominal", math.nan) is False
    assert rows["notices"].is_met("nominal", 5.0) is None
    assert asked(rows["pole"], "nominal") == "≤ 0.5 %"
    assert asked(rows["intervals"], "hard") == "70 to 88 %"
    assert written(rows["false_alarms"], 0.0123) == "0.012"
    assert written(rows["warned"], 1.0) == "100 %"


def test_the_fingerprint_changes_with_the_sources(tmp_path: Path) -> None:
    (tmp_path / "one.py").write_text("a = 1\n")
    first = fingerprint(tmp_path)
    assert fingerprint(tmp_path) == first
    (tmp_path / "one.py").write_text("a = 2\n")
    second = fingerprint(tmp_path)
    (tmp_path / "one.py").rename(tmp_path / "two.py")
    assert len({first, second, fingerprint(tmp_path)}) == 3


def test_a_run_whose_engine_changed_reports_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    prints = iter(("before", "after"))
    monkeypatch.setattr(bench, "fingerprint", lambda: next(prints))
    monkeypatch.setattr(bench, "_profile", lambda *_: ({OURS: ()}, {}))
    assert bench.run(quick=True) == 1


def test_reliability_of_intervals_that_hold_as_stated() -> None:
    from statistics import NormalDist

    z = [NormalDist().inv_cdf((at + 0.5) / 2000) for at in range(2000)]
    ends = NormalDist().inv_cdf(0.9)
    told = figures._reliability([each / ends for each in z])
    assert all(observed == pytest.approx(stated, abs=0.01) for stated, observed in told)


def test_patience_costs_detection_and_saves_false_alarms() -> None:
    told = figures.of_contender(
        cases([truth(), healthy()], [said(300), said(330, event="cleared")])
    )
    assert [share for _, _, share in told["roc"]] == [0, 0, 1, 1, 1, 1]
    told = figures.of_contender(cases([truth(), healthy()], []))
    assert {yearly for _, yearly, _ in told["roc"]} == {0.0}


def test_the_rate_that_no_event_leaves_possible() -> None:
    assert figures.at_most_yearly(0, 1.0) == pytest.approx(2.996, abs=0.01)
    assert figures.at_most_yearly(3, 100.0) == pytest.approx(0.0775, abs=0.001)


def test_an_axis_places_values_and_keeps_outsiders_at_its_ends() -> None:
    axis = Axis("h", 0.1, 1000.0, (1,), logarithmic=True)
    assert [axis.place(each) for each in (0.01, 0.1, 10.0, 1000.0, 5000.0)] == pytest.approx(
        [0.0, 0.0, 0.5, 1.0, 1.0]
    )


def test_a_chart_escapes_words() -> None:
    chart = Chart("a < b", Axis("x", 0, 1, (0,)), Axis("y", 0, 1, (0,)), [Line("&", [], "#000")])
    root = ElementTree.fromstring(svg(chart))
    assert "a < b" in {each.text for each in root.iter()}


def test_the_worst_miss_is_the_one_with_most_to_gain() -> None:
    truths = generate(replace(HARD, **SHORT, growth_days=(0.4, 1.0)), 2, 30).truth()
    silent = [Case(truth, ()) for truth in truths]
    missed = stories._missed(silent)
    assert missed is not None
    rooms = [stories._room_h(each) for each in silent if each.truth.is_visible_before_limit]
    assert stories._room_h(missed) == max(rooms)


def test_a_look_at_two_together_counts_what_either_said() -> None:
    late, early = cases([truth()], [said(479)]), cases([truth()], [said(300)])
    (both,) = look.together(late, early)
    assert both.warned_ms() == early[0].warned_ms() < late[0].warned_ms()  # type: ignore[operator]
    assert len(both.said) == 2


def test_a_look_names_the_misses_and_refuses_the_reports_seeds(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    told = "\n".join(look.lines(cases([truth(), healthy()], [said(479)]), "nominal"))
    assert "poor: c fretting linear, seen by temperature 280 h before the limit, lead 0.00" in told
    assert "fretting: contact_loose" in told
    monkeypatch.setattr("sys.argv", ["look", "--seed", str(REPORT_SEEDS[0])])
    assert look.main() == 2
    assert "tune on another" in capsys.readouterr().err
