"""A plug-in in its own process: what it does right, and all that it can do wrong."""

import os
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ohmwatch.checks.detectors import EXAMPLE, check_detector, recording
from ohmwatch.detector import Detector
from ohmwatch.findings import Finding
from ohmwatch.parameters import ParametersRefused, parameters_of, variant_of, with_parameters
from ohmwatch.plugins import errors
from ohmwatch.plugins.budget import Budget
from ohmwatch.plugins.remote import SWITCHED_OFF_AFTER, RemoteDetector
from ohmwatch.watch import Watch
from tests import packages
from tests.packages import ADJUSTABLE, PLUGIN, RIGHT

Installed = Callable[..., str]


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Installed:
    """Lays a package with this code where the plug-in's process finds it; returns its name."""
    return partial(packages.lay, tmp_path, monkeypatch)


@pytest.fixture
def made() -> Iterator[Callable[..., RemoteDetector]]:
    living: list[RemoteDetector] = []

    def make(name: str, **limits: Any) -> RemoteDetector:
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


def test_who_answers_rightly_but_takes_too_much_of_our_time_is_switched_off(
    installed: Installed, made: Callable[..., RemoteDetector]
) -> None:
    """Each of its answers is valid and within the limit: 3.9 s, one after the other."""
    name, clock = installed(), iter(np.arange(1000) * 3.9)
    detector = made(name, budget=Budget(), monotonic=lambda: float(next(clock)))
    turns = 0
    while not detector.is_switched_off:
        observe(detector)
        turns += 1
    assert turns == 8
    with pytest.raises(errors.PluginSwitchedOff, match="of 60 s, at most 30 s"):
        observe(detector)
    assert detector.failures == 0
    moderate = made(name, budget=Budget(), monotonic=lambda: float(next(rare)))
    rare = iter(np.cumsum(np.tile([6.1, 3.9], 200)))  # 3.9 s of each ten
    for _ in range(50):
        observe(moderate)
    assert not moderate.is_switched_off


def test_a_rules_parameters_reach_it(
    installed: Installed, made: Callable[..., RemoteDetector]
) -> None:
    """One process for all variants; the failures of one are not the others'."""
    detector = made(installed(module=ADJUSTABLE))
    (limit,) = parameters_of(detector)
    assert (limit.name, limit.default, limit.unit, limit.reason) == (
        *("limit_c", 90.0, "°C"),
        "where it hurts.",
    )
    assert detector.about == "Says that a hand would find it hot."
    warmer = with_parameters(detector, {"limit_c": 30})
    assert (variant_of(detector), variant_of(warmer)) == ("hot_hand", "hot_hand(limit_c=30)")
    assert len(said(warmer)) > len(said(detector)) > 0
    with pytest.raises(ParametersRefused, match="limit_c"):
        with_parameters(detector, {"limit_c": 9999})


def said(detector: RemoteDetector) -> list[Finding]:
    batch = recording(connectors=2)
    return Watch([detector]).observe(batch, [EXAMPLE] * 2).findings


def test_a_variant_that_fails_again_and_again_leaves_the_others_on(
    installed: Installed, made: Callable[..., RemoteDetector]
) -> None:
    grumpy = ADJUSTABLE.replace(
        "findings = []", "findings = []\n        if self.limit_c == 13: raise ValueError('unlucky')"
    )
    detector = made(installed(module=grumpy))
    unlucky = with_parameters(detector, {"limit_c": 13})
    for _ in range(SWITCHED_OFF_AFTER):
        with pytest.raises(errors.PluginFailed, match="unlucky"):
            observe(unlucky)
    assert unlucky.is_switched_off
    assert not detector.is_switched_off
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
