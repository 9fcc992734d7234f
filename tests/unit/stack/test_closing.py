"""The line that ends `./ohmwatch test`."""

from pathlib import Path

from deploy.stack.testing import closing_line

REPORT = '<testsuites><testsuite tests="{}" failures="{}" errors="{}" skipped="0"/></testsuites>'


def test_runs_are_counted_together(tmp_path: Path) -> None:
    reports = [tmp_path / "first.xml", tmp_path / "second.xml"]
    reports[0].write_text(REPORT.format(10, 1, 2))
    reports[1].write_text(REPORT.format(5, 0, 0))
    assert closing_line(reports) == "12 passed, 3 failed"


def test_a_run_without_a_report_failed(tmp_path: Path) -> None:
    assert closing_line([tmp_path / "none.xml"]) == "0 passed, 1 failed"
