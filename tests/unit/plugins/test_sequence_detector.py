"""The example of docs/extending/sequence_detector: installed, judged as ours are, and trained."""

import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from benchmarks.warning.contenders.sequence import SOURCE
from benchmarks.warning.contenders.sequence import detector as example
from benchmarks.warning.faults import Kind
from benchmarks.warning.profiles import HEALTHY, NOMINAL
from benchmarks.warning.scenarios import REPORT_SEEDS, TUNING_SEEDS, Scenario, generate
from ohmwatch.checks.detectors import EXAMPLE, CheckFailed, check_detector, observed, recording
from ohmwatch.detector import Batch, Detector
from ohmwatch.findings import Finding, Severity
from ohmwatch.plugins.remote import RemoteDetector
from ohmwatch.watch import Watch

PACKAGE = SOURCE.parent
HEATING = (Kind.FRETTING, Kind.LOOSENING, Kind.ASSEMBLY, Kind.COOLING)
OURS = Path(__file__).resolve().parents[3] / "src"


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder into which pip has put it."""
    copy, target = tmp_path_factory.mktemp("source") / "it", tmp_path_factory.mktemp("installed")
    shutil.copytree(PACKAGE, copy)
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    command += ["--no-deps", "--no-index", "--no-build-isolation"]
    subprocess.run([*command, "--target", str(target), str(copy)], check=True)
    return target


@pytest.fixture
def plugin(installed: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[RemoteDetector]:
    monkeypatch.setenv("PYTHONPATH", f"{installed}:{OURS}")
    made = RemoteDetector("sequence_model")
    yield made
    made.close()


@pytest.fixture
def training(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(PACKAGE))
    example()  # the training reads slots as the detector does


def test_installed_it_passes_the_suite_that_ours_pass(plugin: RemoteDetector) -> None:
    check_detector(plugin)
    assert plugin.failures == 0
    assert (plugin.version, plugin.condition) == ("1", "sequence_model_excess_heat")
    assert observed(plugin, recording(), EXAMPLE) == observed(example(), recording(), EXAMPLE)


def test_the_suite_hears_it_speak() -> None:
    said = observed(example(), recording(), EXAMPLE)
    assert {each.severity for each in said} >= {Severity.WARNING}
    assert {str(each.pole) for each in said if each.severity} == {"pos"}


def test_the_suite_would_notice_a_memory_beside_the_state() -> None:
    class Forgetful:
        """One that keeps its network's memory to itself."""

        def __init__(self, right: Detector) -> None:
            self.right = right
            self.name, self.version, self.condition = right.name, right.version, right.condition
            self.needs, self.state_dtype = right.needs, right.state_dtype

        def observe(self, batch, ratings, state):  # type: ignore[no-untyped-def]
            state["memory"] = 0.0
            return self.right.observe(batch, ratings, state)

    with pytest.raises(CheckFailed, match="says_the_same_in_pieces"):
        check_detector(Forgetful(example()))


AGEING = replace(
    NOMINAL, days=9.0, onset_from_days=4.0, onset_to_days=4.5, growth_days=(0.5, 0.8), late=0.02
)


@pytest.fixture(scope="module")
def ageing() -> tuple[Scenario, list[Batch]]:
    """Nine days of connectors, some of which get bad."""
    scenario = generate(AGEING, 703, 12)
    return scenario, list(scenario.batches(hours=24))


def findings(told: tuple[Scenario, list[Batch]], *, pieces: int, restored: bool) -> list[Finding]:
    """Each day in so many pieces, and perhaps kept and brought back between them."""
    scenario, batches = told
    detector = example()
    watch, said = Watch([detector]), []
    for batch in batches:
        ends_ms = np.quantile(batch.time_ms, np.linspace(0, 1, pieces + 1)[1:])
        piece = np.searchsorted(ends_ms, batch.time_ms)
        for number in range(pieces):
            judgement = watch.observe(batch.rows(piece == number), scenario.ratings)
            assert not judgement.failed
            said += judgement.findings
            watch = Watch.load(watch.dump(), [detector]) if restored else watch
    return sorted(said, key=lambda each: (each.connector, each.measured_ms))


def test_over_days_it_finds_what_ages_and_says_the_same_however_it_is_run(
    ageing: tuple[Scenario, list[Batch]],
) -> None:
    whole = findings(ageing, pieces=1, restored=False)
    assert findings(ageing, pieces=7, restored=True) == whole
    heating = {each.connector for each in ageing[0].truth() if each.kind in HEATING}
    warned = {each.connector for each in whole if each.severity and each.severity >= 2}
    assert warned
    assert warned <= heating


def test_a_batch_of_connectors_gets_what_each_gets_alone_bit_for_bit() -> None:
    detector = example()
    network = detector._network  # type: ignore[attr-defined]
    random = np.random.default_rng(5)
    for count in (2, 63, 64, 65, 200):
        shown = random.random((count, network.features), dtype=np.float32)
        memory = random.normal(size=(count, network.hidden)).astype(np.float32)
        rises, after = network.step(shown, memory)
        for at in {0, 1, count // 2, count - 1}:
            rise, own = network.step(shown[at : at + 1], memory[at : at + 1])
            assert rise[0] == rises[at]
            assert own[0].tobytes() == after[at].tobytes()


def test_the_model_is_small_and_says_where_it_comes_from() -> None:
    model = SOURCE / "ohmwatch_sequence" / "model.onnx"
    assert model.stat().st_size < 300_000
    about = example()._network.about  # type: ignore[attr-defined]
    seeds = {int(part.split()[1].rstrip(":")) for part in about["data"].split("; ")}
    assert seeds
    assert not seeds & {*TUNING_SEEDS, *REPORT_SEEDS}
    readme = (PACKAGE / "README.md").read_text()
    assert all(about[name] in readme for name in ("version", "seed", "steps", "loss_rms"))


@pytest.mark.usefixtures("training")
def test_training_learns_and_gives_the_same_network_twice() -> None:
    from training import data, train  # type: ignore[import-not-found]

    short = replace(HEALTHY, days=4.0)
    known = list(data.sequences(((short, 703, 8),)))
    weights, losses = train.train(known, steps=40)
    assert np.mean(losses[-5:]) < 0.5 * np.mean(losses[:5])
    again, _ = train.train(known, steps=40)
    assert all((weights[name] == again[name]).all() for name in weights)


@pytest.mark.usefixtures("training")
def test_the_gradient_is_that_of_the_loss() -> None:
    from training import gru, train

    random = np.random.default_rng(3)
    weights = gru.newborn(6, 5, random)
    x, seen = random.random((9, 4, 6)), random.random((9, 4, 2))
    seen[2:4, 1, 0] = np.nan
    run = gru.forward(weights, x)
    gradient = gru.backward(weights, run, train.misfit(run.y, seen)[1])
    for name, values in weights.items():
        place = tuple(random.integers(size) for size in values.shape)
        sides = []
        for step in (1e-6, -1e-6):
            moved = {key: each.copy() for key, each in weights.items()}
            moved[name][place] += step
            sides.append(train.misfit(gru.forward(moved, x).y, seen)[0])
        slope = (sides[0] - sides[1]) / 2e-6
        assert gradient[name][place] == pytest.approx(slope, rel=1e-4, abs=1e-9)


@pytest.mark.usefixtures("training")
def test_what_is_exported_is_what_was_trained(tmp_path: Path) -> None:
    from ohmwatch_sequence.network import Network  # type: ignore[import-not-found]
    from training import export, gru

    random = np.random.default_rng(3)
    weights = gru.newborn(6, 16, random)
    weights["c"] += random.normal(size=48)
    export.export(weights, tmp_path / "it.onnx", {"version": "7"})
    network = Network(tmp_path / "it.onnx")
    assert (network.version, network.features, network.hidden) == ("7", 6, 16)
    x = random.random((5, 3, 6)).astype(np.float32)
    memory = np.zeros((3, 16), dtype=np.float32)
    expected = gru.forward(weights, x.astype(np.float64))
    for at in range(5):
        rise, memory = network.step(x[at], memory)
        assert rise == pytest.approx(expected.y[at], abs=1e-5)
    assert memory == pytest.approx(expected.hidden[-1], abs=1e-5)
