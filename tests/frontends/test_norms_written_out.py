"""Layer norm and RMS norm written out in plain operators, over any axes: recognised or not, the same numbers."""

from __future__ import annotations

import numpy as np
import pytest
from execution import execute
from models import model, tensor
from onnx import helper


@pytest.mark.sweep(3)
@pytest.mark.parametrize("axes", [[0], [1], [2], [0, 1], [0, 2], [0, 1, 2]], ids=str)
@pytest.mark.parametrize("centred", [True, False], ids=["layer norm", "RMS norm"])
def test_over_any_axes(axes: list[int], centred: bool) -> None:
    x = np.random.default_rng(0).standard_normal((3, 4, 9)).astype(np.float32) + 1
    deviation = "d" if centred else "x"
    nodes = [
        helper.make_node("ReduceMean", ["x", "axes"], ["m"]),
        helper.make_node("Sub", ["x", "m"], ["d"]),
        helper.make_node("Mul", [deviation, deviation], ["q"]),
        helper.make_node("ReduceMean", ["q", "axes"], ["v"]),
        helper.make_node("Add", ["v", "epsilon"], ["e"]),
        helper.make_node("Sqrt", ["e"], ["s"]),
        helper.make_node("Div", [deviation, "s"], ["n"]),
        helper.make_node("Mul", ["n", "gamma"], ["y"]),
    ]
    gamma = np.linspace(0.5, 2, 9, dtype=np.float32)
    weights = {"axes": np.array(axes), "epsilon": np.float32(1e-3), "gamma": gamma}
    weights = {name: np.asarray(value) for name, value in weights.items()}
    result = execute(model(nodes, [tensor("x", x.shape)], [tensor("y", x.shape)], weights), {"x": x})[0]
    exact = x.astype(np.float64)
    exact = exact - exact.mean(tuple(axes), keepdims=True) if centred else exact
    expected = exact / np.sqrt((exact**2).mean(tuple(axes), keepdims=True) + 1e-3) * gamma
    np.testing.assert_allclose(result, expected, rtol=1e-5, atol=1e-5)
