"""Sorting on GPUs, where each element is compared with all others: what processors do by heaps, to the same results."""

from __future__ import annotations

from typing import Any

import numpy as np
import tilewright
from cuda_emulation import TRIPLE, Emulation, emulated_driver, emulation
from models import model, tensor
from onnx import TensorProto, helper
from onnx_runtime import reference_outputs

__all__ = ["emulated_driver", "emulation"]  # fixtures

_OUTPUTS = {
    "TopK": ("best", "where"),
    "Unique": ("values", "first", "which", "counts"),
    "NonMaxSuppression": ("boxes",),
}


def test_gpus_sort_as_processors_do(emulation: Emulation) -> None:
    rows = 70  # more than are ranked on processors
    corners = np.random.default_rng(0).random((1, rows, 4)).astype(np.float32)
    nodes = [
        helper.make_node("TopK", ["x", "nine"], list(_OUTPUTS["TopK"]), axis=0),
        helper.make_node("Unique", ["x"], list(_OUTPUTS["Unique"]), axis=0),
        helper.make_node("NonMaxSuppression", ["corners", "scores", "nine"], list(_OUTPUTS["NonMaxSuppression"])),
    ]
    floats = ("best", "values")
    outputs = [
        tensor(name, None, TensorProto.FLOAT if name in floats else TensorProto.INT64)
        for names in _OUTPUTS.values()
        for name in names
    ]
    inputs = [tensor("x", [rows, 2]), tensor("corners", corners.shape), tensor("scores", [1, 2, rows])]
    proto = model(nodes, inputs, outputs, {"nine": np.array([9])})
    rng = np.random.default_rng(1)
    given: dict[str, np.ndarray[Any, Any]] = {
        "x": rng.integers(-3, 3, (rows, 2)).astype(np.float32),
        "corners": corners,
        "scores": rng.integers(0, 9, (1, 2, rows)).astype(np.float32),
    }

    results = tilewright.compile(proto, target=TRIPLE).run(given)

    for result, reference in zip(results.values(), reference_outputs(proto, given), strict=True):
        np.testing.assert_array_equal(result, reference)
    assert emulation.counts["launches"] > 0
