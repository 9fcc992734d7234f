"""How the network learns: stretches of healthy connectors, whose course it is to predict."""

from collections.abc import Sequence as Many

import numpy as np

from training.data import Sequence
from training.gru import Adam, Weights, backward, forward, newborn

SEED = 20_260
HIDDEN = 16
WINDOW = 120
"""Slots in a stretch: ten hours or more."""
UNJUDGED = 12
"""Slots at its begin in which the network only listens."""
ROWS = 96
STEPS = 3_000
RATE = 6e-3
NOISE = 0.03
"""Of a slot's rise, as a share of rated."""
SPREAD = 0.15
OFFSET = 0.05
"""How far a healthy unit's gain is from its model's, and its sensor from the truth, as shares."""


def train(
    known: Many[Sequence], *, steps: int = STEPS, seed: int = SEED
) -> tuple[Weights, list[float]]:
    """The weights, and the loss of each step."""
    random = np.random.default_rng(seed)
    weights = newborn(known[0].shown.shape[1], HIDDEN, random)
    adam, losses = Adam(weights), []
    for step in range(steps):
        x, y = _stretches(known, random)
        run = forward(weights, x)
        loss, slope = misfit(run.y[UNJUDGED:], y[UNJUDGED:])
        slope = np.concatenate([np.zeros((UNJUDGED, slope.shape[1])), slope])
        adam.step(backward(weights, run, slope), RATE * _cooling(step, steps))
        losses.append(loss)
    return weights, losses


def misfit(predicted: np.ndarray, seen: np.ndarray) -> tuple[float, np.ndarray]:
    """Loss and its gradient by `predicted` [slots, rows]; `seen` [slots, rows, 2 poles] or NaN.

    Each row and pole has a gain and an offset of its own, the likeliest ones given the spread of
    units: it is the course that is learned, and no unit's strength. At their optimum the loss
    doesn't change with them, so the gradient needs none of theirs.
    """
    known = np.isfinite(seen)
    y, x = np.where(known, seen, 0.0), np.where(known, predicted[..., None], 0.0)
    gain_prior, offset_prior = (NOISE / SPREAD) ** 2, (NOISE / OFFSET) ** 2
    xx, n = (x * x).sum(0) + gain_prior, known.sum(0) + offset_prior
    xy, sx, sy = (x * y).sum(0) + gain_prior, x.sum(0), y.sum(0)
    gain = (xy * n - sx * sy) / (xx * n - sx * sx)
    offset = (sy - gain * sx) / n
    residual = np.where(known, gain * x + offset - y, 0.0)
    prior = gain_prior * (gain - 1.0) ** 2 + offset_prior * offset**2
    count = max(int(known.sum()), 1)
    loss = float(((residual**2).sum() + prior.sum()) / count)
    return loss, 2.0 * (gain * residual).sum(-1) / count


def _stretches(known: Many[Sequence], random: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    chosen = random.integers(len(known), size=ROWS)
    xs, ys = [], []
    for at in chosen:
        begin = int(random.integers(max(len(known[at].shown) - WINDOW, 1)))
        xs.append(known[at].shown[begin : begin + WINDOW])
        ys.append(known[at].seen[begin : begin + WINDOW])
    return np.stack(xs, axis=1).astype(np.float64), np.stack(ys, axis=1)


def _cooling(step: int, steps: int) -> float:
    return 0.02 + 0.98 * 0.5 * (1.0 + np.cos(np.pi * step / steps))
