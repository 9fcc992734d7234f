"""Benches are found by their files, tell in one form what they measured, keep to their corner."""

import json
from pathlib import Path

import pytest

from benchmarks.harness import QUICK_S, AccountOpen, Measure, _rough, close, finish
from benchmarks.ingest import Course
from deploy.stack import benching
from deploy.stack.benching import Bench, corner_environment, known, plain_environment
from deploy.stack.errors import StackError
from deploy.stack.settings import process_environment
from deploy.stack.stack import Stack


def test_every_bench_of_ours_says_what_it_measures() -> None:
    benches = known()
    (decoding,) = (bench for bench in benches if bench.name == "decoding")
    assert decoding == Bench("decoding", decoding.about, needs_stores=False)
    assert all(bench.about for bench in benches)


def test_a_module_and_a_package_with_main_are_benches_and_others_are_not(tmp_path: Path) -> None:
    (tmp_path / "speed.py").write_text(
        '"""How fast.\n\nMore."""\nNEEDS_STORES = True\ndef main(quick: bool) -> int: ...\n'
    )
    (tmp_path / "warning").mkdir()
    (tmp_path / "warning" / "__init__.py").write_text(
        '"""How early."""\nNEEDS_PACKAGES = True\nfrom benchmarks.warning.report import main\n'
    )
    (tmp_path / "harness.py").write_text('"""No bench."""\ndef finish() -> None: ...\n')
    (tmp_path / "__main__.py").write_text("def main(quick: bool) -> int: ...\n")
    assert known(tmp_path) == [
        Bench("speed", "How fast.", needs_stores=True),
        Bench("warning", "How early.", needs_stores=False, needs_packages=True),
    ]


def test_a_name_that_is_none_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(StackError, match="no bench nonsense"):
        benching.run("nonsense", quick=True)


def test_how_many_readings_only_a_bench_that_grows_is_told() -> None:
    assert [bench.name for bench in known() if bench.grows] == ["queries"]
    for name, quick in (("decoding", False), ("queries", True)):
        with pytest.raises(StackError, match="whole run of queries"):
            benching.run(name, quick=quick, millions=30)


def test_a_guest_of_the_demo_touches_nothing_of_the_demo(stack: Stack) -> None:
    theirs, ours = process_environment(stack), corner_environment(stack)
    for name in ("POSTGRES_URL", "REDIS_URL", "ELASTICSEARCH_PREFIX", "DATA_DIR"):
        assert ours[f"OHMWATCH_{name}"] != theirs[f"OHMWATCH_{name}"]
    assert ours["OHMWATCH_MQTT_PASSWORD_FILE"] == ""
    assert ours["OHMWATCH_ELASTICSEARCH_URL"] == theirs["OHMWATCH_ELASTICSEARCH_URL"]


def test_what_only_computes_gets_no_secrets() -> None:
    assert not [name for name in plain_environment() if name.startswith("OHMWATCH_")]


def test_a_target_is_the_ratios_where_there_is_a_yardstick() -> None:
    assert Measure.at_least("speed", 80, "1/s", 0.75, yardstick=100).met is True
    assert Measure.at_least("speed", 70, "1/s", 0.75, yardstick=100).met is False
    assert Measure.at_most("memory", 240, "MiB", 250).met is True
    assert Measure.at_most("share", 20, "1/s", 0.1, yardstick=100).ratio == 0.2


def test_where_there_is_nothing_to_compare_with_the_target_stays() -> None:
    course = Course("one a message", lambda recording, at: iter(()), 1.5, rates=[40_000.0])
    measure = course.measure()
    assert (measure.target, measure.met, measure.ratio) == (1.5, None, None)


def test_an_account_closes_where_all_sides_count_the_same() -> None:
    assert close("readings", stored=1200, rows=1200) == "readings: stored 1,200 = rows 1,200"
    with pytest.raises(AccountOpen, match="stored 1,200, rows 1,199"):
        close("readings", stored=1200, rows=1199)


def test_a_quick_look_says_how_long_it_took_and_when_that_is_too_long() -> None:
    assert "31 s" in _rough(31.2)
    assert str(QUICK_S) not in _rough(31.2)
    assert f"{QUICK_S} s at most" in _rough(QUICK_S + 1.0)


def test_the_last_line_is_one_json_object_and_it_is_kept(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    measure = Measure.at_least("speed", 80.0, "1/s", 0.75, yardstick=100.0)
    closed = [close("readings", published=7, stored=7)]
    finish("speed", [measure], quick=True, closed=closed, results=tmp_path)
    *table, last = capsys.readouterr().out.splitlines()
    told = {
        "bench": "speed",
        "measures": [
            {
                "name": "speed",
                "value": 80.0,
                "unit": "1/s",
                "yardstick": 100.0,
                "ratio": 0.8,
                "target": 0.75,
                "met": True,
            }
        ],
        "closed": ["readings: published 7 = stored 7"],
        "rough": True,
    }
    assert json.loads(last) == told
    assert any("Rough" in line for line in table)
    assert any(line == f"Closed: {closed[0]}" for line in table)
    kept = json.loads((tmp_path / "speed-quick.json").read_text())
    assert {name: kept[name] for name in told} == told
    assert kept["quick"]
    assert kept["machine"]["cores"]
