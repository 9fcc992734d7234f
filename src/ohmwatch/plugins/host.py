"""The process of one plug-in: `python -m ohmwatch.plugins.host NAME FD`.

It holds nothing: each question brings the connectors' records and takes them back. So it can be
killed at any moment, and the next one goes on.
"""

import os
import resource
import socket
import sys

import msgspec
import numpy as np

from ohmwatch.detector import Detector
from ohmwatch.plugins.discovery import load
from ohmwatch.plugins.wire import Answer, Hello, Question, receive, send

MEMORY_LIMIT_BYTES = 4 * 1024**3
"""Of address space, which libraries for inference take generously."""


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
    while True:
        try:
            question = msgspec.msgpack.decode(receive(line), type=Question)
        except (EOFError, OSError):
            return
        send(line, answer(detector, question))


def hello(detector: Detector) -> Hello:
    return Hello(
        name=detector.name,
        version=detector.version,
        condition=detector.condition,
        needs=sorted(detector.needs),
        state=np.lib.format.dtype_to_descr(detector.state_dtype),
    )


def answer(detector: Detector, question: Question) -> Answer:
    """One turn; whatever it raises becomes the answer."""
    state = np.frombuffer(question.state, dtype=detector.state_dtype).copy()
    try:
        findings = detector.observe(question.batch(), question.ratings, state)
        return Answer(findings=list(findings), state=state.tobytes())
    except Exception as error:
        return Answer(error=f"{type(error).__name__}: {error}"[:500])


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
