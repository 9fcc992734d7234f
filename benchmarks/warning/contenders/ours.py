"""Ohmwatch itself: the default detectors, with the alarm's life, as a back-test runs them."""

from collections.abc import Iterable, Iterator, Mapping

from ohmwatch.backtest.installed import Installed
from ohmwatch.backtest.run import AlarmEvent, Omissions, run
from ohmwatch.detector import Batch
from ohmwatch.detectors.defaults import default_detectors


def ohmwatch(batches: Iterable[Batch], installed: Mapping[str, Installed]) -> Iterator[AlarmEvent]:
    """Raises RuntimeError where a detector failed: its silence would count as a verdict."""
    omissions = Omissions()
    yield from run(batches, installed, default_detectors(), omissions=omissions)
    if omissions.failed:
        raise RuntimeError(f"detectors failed: {omissions.failed}")
