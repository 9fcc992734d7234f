"""The example of a detector plug-in: a recurrent network of healthy contacts, run by onnxruntime.

Taken from where it lies in docs/extending/sequence_detector, with no other detector beside it. It
is asked what the product's own detectors are asked, and its alarms live as theirs do; insulation
and interlock it doesn't see.
"""

import sys
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from ohmwatch.backtest.installed import Installed
from ohmwatch.backtest.run import AlarmEvent, Omissions, run
from ohmwatch.detector import Batch, Detector

SOURCE = Path(__file__).resolve().parents[3] / "docs" / "extending" / "sequence_detector" / "src"


def sequence_model(
    batches: Iterable[Batch], installed: Mapping[str, Installed]
) -> Iterator[AlarmEvent]:
    """Raises RuntimeError where it failed: its silence would count as a verdict."""
    omissions = Omissions()
    yield from run(batches, installed, [detector()], omissions=omissions)
    if omissions.failed:
        raise RuntimeError(f"the detector failed: {omissions.failed}")


def detector() -> Detector:
    """The example's detector, installed or not."""
    if str(SOURCE) not in sys.path:
        sys.path.append(str(SOURCE))
    from ohmwatch_sequence.detector import SequenceModel

    return SequenceModel()
