"""The process of one plug-in: `python -m ohmwatch.plugins.host NAME FD`.

It holds nothing: each question brings the connectors' records and takes them back. So it can be
killed at any moment, and the next one goes on.
"""

import os
import resource
import socket
import sys
from collections.abc import Mapping

import msgspec
import numpy as np

from ohmwatch.detector import Detector
from ohmwatch.parameters import Number, parameters_of, with_parameters
from ohmwatch.plugins.discovery import load
from ohmwatch.plugins.wire import Answer, Declared, Hello, Question, receive, send

MEMORY_LIMIT_BYTES = 4 * 1024**3
"""Of address space, which libraries for inference take generously."""
ABOUT_LIMIT = 300
MOST_VARIANTS = 64


def main(name: str, descriptor: int) -> None:
    """Says what the plug-in is, then answers until the worker hangs up."""
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_LIMIT_BYTES, MEMORY_LIMIT_BYTES))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    os.nice(5)  # readings come first
    line = socket.socket(fileno=descriptor)
    try:
        detector = load(name)
        send(line, hello(detector))
    except Exception as error:
        send(line, Hello(refused=f"{type(error).__name__}: {error}"[:500]))
        return
    variants = Variants(detector)
    while True:
        try:
            question = msgspec.msgpack.decode(receive(line), type=Question)
        except (EOFError, OSError):
            return
        send(line, answer(variants, question))


def hello(detector: Detector) -> Hello:
    return Hello(
        name=detector.name,
        version=detector.version,
        condition=detector.condition,
        needs=sorted(detector.needs),
        state=np.lib.format.dtype_to_descr(detector.state_dtype),
        about=(type(detector).__doc__ or "").strip().partition("\n")[0][:ABOUT_LIMIT],
        parameters=[Declared.of(each) for each in parameters_of(detector)],
    )


class Variants:
    """The detector as rules want it; each is made once."""

    def __init__(self, detector: Detector) -> None:
        self._default = detector
        self._made: dict[tuple[tuple[str, Number], ...], Detector] = {}

    def of(self, settings: Mapping[str, Number]) -> Detector:
        """Raises ValueError where the settings are none, or change the shape of its record."""
        key = tuple(sorted(settings.items()))
        if key not in self._made:
            if len(self._made) >= MOST_VARIANTS:
                self._made.clear()
            made = with_parameters(self._default, settings)
            if made.state_dtype != self._default.state_dtype:
                raise ValueError("these parameters need a record of another shape")
            self._made[key] = made
        return self._made[key]


def answer(variants: Variants, question: Question) -> Answer:
    """One turn; whatever it raises becomes the answer."""
    try:
        detector = variants.of(question.settings)
        state = np.frombuffer(question.state, dtype=detector.state_dtype).copy()
        findings = detector.observe(question.batch(), question.ratings, state)
        return Answer(findings=list(findings), state=state.tobytes())
    except Exception as error:
        return Answer(error=f"{type(error).__name__}: {error}"[:500])


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
