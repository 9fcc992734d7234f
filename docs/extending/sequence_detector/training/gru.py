"""A gated recurrent unit with one number out, its gradient and Adam, in numpy.

As ONNX's GRU with linear_before_reset = 1 (Cho et al. 2014, arXiv:1406.1078, with the reset
after the product): gates in the order update z, reset r, candidate n;

    h' = (1 − z)·n + z·h,  n = tanh(W_n x + b_n + r·(R_n h + c_n)),  y = o·h' + a.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

Weights = dict[str, np.ndarray]


def newborn(features: int, hidden: int, random: np.random.Generator) -> Weights:
    """Small random weights; gates begin by remembering."""
    weights = {
        "W": random.normal(size=(3 * hidden, features)) / np.sqrt(features),
        "R": random.normal(size=(3 * hidden, hidden)) / np.sqrt(hidden),
        "b": np.zeros(3 * hidden),
        "c": np.zeros(3 * hidden),
        "o": random.normal(size=hidden) / np.sqrt(hidden),
        "a": np.zeros(1),
    }
    weights["b"][:hidden] = np.linspace(-1.0, 2.5, hidden)
    return weights


@dataclass(slots=True)
class Run:
    """A forward run over float64[steps, rows, features], with all that the gradient needs."""

    x: np.ndarray
    hidden: np.ndarray  # [steps + 1, rows, hidden], before each step and after the last
    gates: np.ndarray  # [steps, rows, 3 hidden]: z, r, n
    inner: np.ndarray  # [steps, rows, hidden]: R_n h + c_n
    y: np.ndarray  # [steps, rows]


def forward(weights: Weights, x: np.ndarray, begin: np.ndarray | None = None) -> Run:
    """From no memory at all, or from `begin` float64[rows, hidden]."""
    steps, rows, _ = x.shape
    size = len(weights["o"])
    hidden = np.zeros((steps + 1, rows, size))
    if begin is not None:
        hidden[0] = begin
    gates, inner = np.empty((steps, rows, 3 * size)), np.empty((steps, rows, size))
    shown = x @ weights["W"].T + weights["b"]
    for at in range(steps):
        before = hidden[at]
        kept = before @ weights["R"].T + weights["c"]
        zr = _sigmoid(shown[at, :, : 2 * size] + kept[:, : 2 * size])
        inner[at] = kept[:, 2 * size :]
        n = np.tanh(shown[at, :, 2 * size :] + zr[:, size:] * inner[at])
        z = zr[:, :size]
        hidden[at + 1] = (1.0 - z) * n + z * before
        gates[at, :, : 2 * size], gates[at, :, 2 * size :] = zr, n
    return Run(x, hidden, gates, inner, hidden[1:] @ weights["o"] + weights["a"])


def backward(weights: Weights, run: Run, slope: np.ndarray) -> Weights:
    """The gradient, given that of the loss by each y, float64[steps, rows]."""
    gradient = {name: np.zeros_like(each) for name, each in weights.items()}
    gradient["o"] = np.einsum("tr,trh->h", slope, run.hidden[1:])
    gradient["a"] = np.array([slope.sum()])
    later = np.zeros_like(run.hidden[0])
    shown = np.empty_like(run.gates)
    for at in range(len(slope) - 1, -1, -1):
        z, r, n = np.split(run.gates[at], 3, axis=1)
        before = run.hidden[at]
        by_hidden = later + slope[at][:, None] * weights["o"]
        by_n = by_hidden * (1.0 - z) * (1.0 - n * n)
        by_z = by_hidden * (before - n) * z * (1.0 - z)
        by_r = by_n * run.inner[at] * r * (1.0 - r)
        shown[at] = np.concatenate([by_z, by_r, by_n], axis=1)
        kept = np.concatenate([by_z, by_r, by_n * r], axis=1)
        gradient["R"] += kept.T @ before
        gradient["c"] += kept.sum(axis=0)
        later = by_hidden * z + kept @ weights["R"]
    gradient["W"] = np.einsum("trg,trf->gf", shown, run.x)
    gradient["b"] = shown.sum(axis=(0, 1))
    return gradient


def _sigmoid(values: np.ndarray) -> np.ndarray:
    return 0.5 * (1.0 + np.tanh(0.5 * values))


@dataclass
class Adam:
    """Kingma and Ba 2015, arXiv:1412.6980, with the gradient's norm clipped."""

    weights: Weights
    clip: float = 1.0
    _mean: Weights = field(init=False)
    _square: Weights = field(init=False)
    _steps: int = 0

    def __post_init__(self) -> None:
        self._mean = {name: np.zeros_like(each) for name, each in self.weights.items()}
        self._square = {name: np.zeros_like(each) for name, each in self.weights.items()}

    def step(self, gradient: Mapping[str, np.ndarray], rate: float) -> None:
        self._steps += 1
        norm = np.sqrt(sum(float((each**2).sum()) for each in gradient.values()))
        shrink = min(1.0, self.clip / max(norm, 1e-12))
        for name, each in gradient.items():
            each = each * shrink
            self._mean[name] = 0.9 * self._mean[name] + 0.1 * each
            self._square[name] = 0.999 * self._square[name] + 0.001 * each**2
            mean = self._mean[name] / (1.0 - 0.9**self._steps)
            square = self._square[name] / (1.0 - 0.999**self._steps)
            self.weights[name] -= rate * mean / (np.sqrt(square) + 1e-8)
