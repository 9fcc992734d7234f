"""The trained network as an ONNX file that says what it is."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from training.gru import Weights

OPSET, IR = 17, 9
"""Old enough for any onnxruntime of the last years."""


def export(weights: Weights, path: Path, about: Mapping[str, str]) -> None:
    """Writes the graph: x float[1, rows, features] and the memory float[1, rows, hidden] in, the
    predicted rise float[rows, 1] and the new memory out. `about` becomes the file's metadata."""
    hidden, features = len(weights["o"]), weights["W"].shape[1]
    graph = helper.make_graph(
        [
            helper.make_node(
                "GRU",
                ["shown", "W", "R", "B", "", "memory"],
                ["", "memory_after"],
                hidden_size=hidden,
                linear_before_reset=1,
            ),
            helper.make_node("Squeeze", ["memory_after", "first"], ["state"]),
            helper.make_node("Gemm", ["state", "O", "a"], ["rise"]),
        ],
        "sequence_model",
        [_tensor("shown", [1, "rows", features]), _tensor("memory", [1, "rows", hidden])],
        [_tensor("rise", ["rows", 1]), _tensor("memory_after", [1, "rows", hidden])],
        [
            _constant("W", weights["W"][None]),
            _constant("R", weights["R"][None]),
            _constant("B", np.concatenate([weights["b"], weights["c"]])[None]),
            _constant("O", weights["o"][:, None]),
            _constant("a", weights["a"]),
            numpy_helper.from_array(np.array([0], dtype=np.int64), "first"),
        ],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)])
    model.ir_version = IR
    helper.set_model_props(model, dict(about))
    onnx.checker.check_model(model, full_check=True)
    path.write_bytes(model.SerializeToString(deterministic=True))


def _tensor(name: str, shape: list[int | str]) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)


def _constant(name: str, values: np.ndarray) -> onnx.TensorProto:
    return numpy_helper.from_array(values.astype(np.float32), name)
