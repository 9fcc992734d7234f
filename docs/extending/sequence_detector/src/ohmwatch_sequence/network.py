"""The trained network, run by onnxruntime one slot of many connectors at a time."""

from importlib.resources import files
from pathlib import Path

import numpy as np
import onnxruntime as ort

MODEL = Path(str(files("ohmwatch_sequence") / "model.onnx"))
ROWS = 64
"""Of every run: others are filled up. Libraries choose another way through a matrix for another
shape, and another last digit with it; a connector's findings must not hang on who is beside it."""


class Network:
    """`version` is the file's own, `hidden` the floats that it remembers of a connector.

    Raises what onnxruntime raises where the file is damaged, KeyError where it says no version.
    """

    def __init__(self, path: Path = MODEL) -> None:
        options = ort.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.execution_mode = ort.ExecutionMode.ORT_SEQUENTIAL
        self._session = ort.InferenceSession(
            path.read_bytes(), options, providers=["CPUExecutionProvider"]
        )
        self.about = dict(self._session.get_modelmeta().custom_metadata_map)
        self.version = self.about["version"]
        shown, memory = self._session.get_inputs()
        self.features, self.hidden = int(shown.shape[2]), int(memory.shape[2])

    def step(self, shown: np.ndarray, memory: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """One slot of n connectors: `shown` float32[n, features], `memory` float32[n, hidden].

        Returns the rise that a healthy contact has, float32[n], and the new memory.
        """
        rise, after = np.empty(len(shown), dtype=np.float32), np.empty_like(memory)
        for begin in range(0, len(shown), ROWS):
            part = slice(begin, begin + ROWS)
            told, kept = self._session.run(
                ("rise", "memory_after"),
                {"shown": _filled(shown[part]), "memory": _filled(memory[part])},
            )
            count = len(rise[part])
            rise[part], after[part] = told[:count, 0], kept[0, :count]
        return rise, after


def _filled(rows: np.ndarray) -> np.ndarray:
    full = np.zeros((1, ROWS, rows.shape[1]), dtype=np.float32)
    full[0, : len(rows)] = rows
    return full
