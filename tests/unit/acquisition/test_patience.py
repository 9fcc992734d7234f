"""A worker that waits for a store keeps nothing of the attempts that failed."""

import gc
import weakref

import pytest

from workers.acquisition import patience
from workers.acquisition.patience import Patience


class Body(bytearray):
    """A request's bytes, to be watched."""


class Away(Exception):
    """As a client raises it: the error and the frames it came through hold each other."""


def test_failed_attempts_are_not_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(patience, "LONGEST_PAUSE_S", 0.001)
    monkeypatch.setattr(patience, "FIRST_PAUSE_S", 0.001)
    bodies: list[weakref.ref[Body]] = []
    most = 0

    def attempt() -> str:
        nonlocal most
        most = max(most, sum(each() is not None for each in bodies))
        body = Body(b"lines")
        bodies.append(weakref.ref(body))
        if len(bodies) == 20:
            return "stored"
        error = Away("store")
        error.body, error.errors = body, [error]  # type: ignore[attr-defined]
        raise error

    gc.disable()
    try:
        assert Patience().hold(attempt, store="elasticsearch", away=(Away,)) == "stored"
    finally:
        gc.enable()
    assert len(bodies) == 20
    assert most <= 1
