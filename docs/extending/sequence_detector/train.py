"""Trains the network and writes model.onnx: minutes on one core, the same bits on one machine.

    OPENBLAS_NUM_THREADS=1 .run/venv/bin/python docs/extending/sequence_detector/train.py

Needs a checkout of Ohmwatch, whose generator makes the connectors, with the packages of its tests.
"""

import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
CHECKOUT = HERE.parents[2]
sys.path[:0] = [str(HERE), str(HERE / "src"), str(CHECKOUT / "src"), str(CHECKOUT)]

from training import data, export, train  # noqa: E402

VERSION = "1"
MODEL = HERE / "src" / "ohmwatch_sequence" / "model.onnx"


def main() -> None:
    known = list(data.sequences())
    slots = sum(len(each.shown) for each in known)
    weights, losses = train.train(known)
    final = sum(losses[-100:]) / 100
    about = {
        "name": "sequence_model",
        "version": VERSION,
        "seed": str(train.SEED),
        "steps": str(train.STEPS),
        "data": "; ".join(f"{profile} {seed}: {count}" for profile, seed, count in data.SETS),
        "slots": str(slots),
        "loss_rms": f"{final**0.5:.4f}",
    }
    export.export(weights, MODEL, about)
    sys.stdout.write(f"{MODEL.name}: {MODEL.stat().st_size} bytes, {about}\n")


if __name__ == "__main__":
    main()
