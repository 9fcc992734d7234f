"""A plug-in in its own process: what it does right, and all that it can do wrong."""

import os
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from ohmwatch.checks.detectors import EXAMPLE, check_detector, recording
from ohmwatch.detector import Detector
from ohmwatch.findings import Finding
from ohmwatch.plugins import errors
from ohmwatch.plugins.remote import SWITCHED_OFF_AFTER, RemoteDetector
from ohmwatch.watch import Watch
from tests import packages
from tests.packages import PLUGIN, RIGHT

Installed = Callable[..., str]


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Installed:
    """Lays a package with this code where the plug-in's process finds it; returns its name."""
    return partial(packages.lay, tmp_path, monkeypatch)


@pytest.fixture
def made() -> Iterator[Callable[..., RemoteDetector]]:
    living: list[RemoteDetector] = []

    def make(name: str, **limits: float) -> RemoteDetector:
        living.append(RemoteDetector(name, **limits))
        return living[-1]

    yield make
    for each in living:
        each.close()


def observe(detector: RemoteDetector) -> Watch:
    watch = Watch([detector])
    batch = recording(connectors=2)
    judgement = watch.observe(batch, [EXAMPLE] * 2)
    for error in judgement.failed.values():
        raise error
    return watch


def patiently(ask: Callable[[], list[Finding]]) -> list[Finding]:
    """Asks again while the process is on its way; nobody waits for it in between."""
    for _ in range(300):
        try:
            return ask()
        except errors.PluginStarting:
            continue
    raise AssertionError("it never came back")


def test_it_passes_the_suite_that_ours_pass(
    installed: Installed, made: Callable[..., RemoteDetector]
) -> None:
    detector = made(installed())
    assert isinstance(detector, Detector)
    assert (detector.name, detector.condition) == ("hot_hand", "hot_hand_warm")
    assert detector.state_dtype["last"].shape == (2,)
    check_detector(detector)
    assert detector.failures == 0


@pytest.mark.parametrize(
    ("body", "error"),
    [
        ("raise RuntimeError('boom')", errors.PluginFailed),
        ("time.sleep(60)", errors.PluginTimedOut),
        ("os._exit(3)", errors.PluginDied),
        ("x = bytearray(8 * 1024**3)", errors.PluginFailed),
        ("return [None]", errors.PluginNonsense),
        (
            "return [Finding('somebody else', self.condition, Severity.CRITICAL, 1, 1, 1,"
            " self.name, self.version)]",
            errors.PluginNonsense,
        ),
        (
            "return [Finding(batch.connectors[0], 'overtemperature', Severity.CRITICAL, 1,"
            " int(batch.time_ms[0]), 1, self.name, self.version)]",
            errors.PluginNonsense,
        ),
    ],
)
def test_what_it_does_wrong_ends_its_turn_and_nothing_else(
    installed: Installed, made: Callable[..., RemoteDetector], body: str, error: type[Exception]
) -> None:
    detector = made(installed(body), limit_s=1.0)
    state = np.zeros(2, dtype=detector.state_dtype)
    batch = recording(connectors=2)
    with pytest.raises(error):
        detector.observe(batch, [EXAMPLE] * 2, state)
    assert not state["seen"].any(), "the state stays as it was"

    installed(RIGHT)  # mended: a process that was killed comes back as this one
    detector.close()
    assert patiently(lambda: detector.observe(batch, [EXAMPLE] * 2, state))
    assert detector.failures == 0


def test_who_fails_again_and_again_is_switched_off(
    installed: Installed, made: Callable[..., RemoteDetector]
) -> None:
    detector = made(installed("raise RuntimeError('boom')"))
    for _ in range(SWITCHED_OFF_AFTER):
        with pytest.raises(errors.PluginFailed):
            observe(detector)
    assert detector.is_switched_off
    with pytest.raises(errors.PluginSwitchedOff, match="5 times"):
        observe(detector)


@pytest.mark.parametrize(
    ("change", "word"),
    [
        (("hot_hand_warm", "burning"), "must begin with"),
        (('"hot_hand"', '"Hot Hand"'), "is no name"),
        (('("seen", "<i8")', '("seen", "O")'), "plain numbers"),
        (('("seen", "<i8")', '("seen", "<f8", (999,))'), "bytes at most"),
        (("def observe", "def watch"), "is no ohmwatch.detector.Detector"),
        (("import os, time", "import nothing_of_this_name"), "ModuleNotFoundError"),
    ],
)
def test_a_plug_in_that_breaks_the_protocol_never_starts(
    installed: Installed, change: tuple[str, str], word: str
) -> None:
    name = installed(module=PLUGIN.replace(*change))
    with pytest.raises(errors.PluginRefused, match=word):
        RemoteDetector(name)


def test_it_sees_none_of_our_secrets(
    installed: Installed, made: Callable[..., RemoteDetector], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OHMWATCH_SECRET_KEY", "a planted secret")
    body = "raise RuntimeError(' '.join(k for k in os.environ if k.startswith('OHMWATCH')))"
    with pytest.raises(errors.PluginFailed) as told:
        observe(made(installed(body)))
    assert told.value.what == "RuntimeError: "
    assert "OHMWATCH_SECRET_KEY" in os.environ
