"""Tensors without elements, and reductions of nothing, in operators of every family."""

from __future__ import annotations

import numpy as np
import pytest
from operator_cases import Array, Case, check
from tilewright.errors import ModelError


def _random(*shape: int) -> Array:
    return np.random.default_rng(0).standard_normal(shape).astype(np.float32)


@pytest.mark.parametrize("shape", [(0, 3), (3, 0), (2, 0, 4)], ids=str)
def test_operators(shape: tuple[int, ...]) -> None:
    x = {"x": np.zeros(shape, np.float32)}
    last = len(shape) - 1
    cases = {
        "Relu": Case("Relu", x),
        "Softmax": Case("Softmax", x),
        "Add": Case("Add", x, {"y": np.float32(1)}),
        "Transpose": Case("Transpose", x),
        "Concat": Case("Concat", {**x, "y": np.zeros(shape, np.float32)}, {}, {"axis": 0}),
        "Flatten": Case("Flatten", x),
        "Expand": Case("Expand", x, {"to": np.array([2, *shape])}),
        "Unsqueeze": Case("Unsqueeze", x, {"axes": np.array([0])}),
        "Cast": Case("Cast", x, {}, {"to": 7}),
        "TopK": Case("TopK", x, {"k": np.array([min(shape[-1], 2)])}, outputs=2),
        "CumSum": Case("CumSum", x, {"axis": np.asarray(last)}),
        "LpNormalization": Case("LpNormalization", x, {}, {"axis": last}),
    }
    for name in ("ReduceSum", "ReduceMax", "ReduceMin", "ReduceProd", "ReduceL2", "ReduceLogSumExp"):
        for axis in range(len(shape)):
            for kept in (0, 1):
                cases[f"{name} {axis} {kept}"] = Case(name, x, {"axes": np.array([axis])}, {"keepdims": kept})
        whole = {"x": np.zeros(shape, np.int32)}
        if name != "ReduceLogSumExp":  # minus infinity, which no integer is
            cases[f"{name} of integers"] = Case(name, whole, {}, {"keepdims": 0})
    check(cases, opset=20)


def test_products_and_convolutions() -> None:
    image = np.zeros((1, 0, 5, 5), np.float32)
    filters, bias = np.zeros((3, 0, 3, 3), np.float32), _random(3)
    check(
        {
            "no rows": Case("MatMul", {"a": _random(0, 3), "b": _random(3, 4)}),
            "nothing to sum": Case("MatMul", {"a": _random(3, 0), "b": _random(0, 4)}),
            "Gemm of nothing": Case("Gemm", {"a": _random(3, 0), "b": _random(0, 4), "c": _random(4)}),
            "Einsum of nothing": Case("Einsum", {"a": _random(3, 0), "b": _random(0, 4)}, {}, {"equation": "ij,jk->k"}),
            "no batch": Case("Einsum", {"a": _random(0, 3), "b": _random(3, 4)}, {}, {"equation": "ij,jk->ik"}),
            "no channels": Case(
                "Conv", {"x": image}, {"w": filters, "b": bias}, {}, [np.tile(bias.reshape(1, 3, 1, 1), (1, 1, 3, 3))]
            ),
            "no images": Case("Conv", {"x": np.zeros((0, 2, 5, 5), np.float32)}, {"w": _random(3, 2, 3, 3)}),
            "no updates": Case(
                "ScatterND", {"x": _random(3, 4), "i": np.zeros((0, 1), np.int64), "u": np.zeros((0, 4), np.float32)}
            ),
            "nothing scattered": Case(
                "ScatterElements",
                {"x": _random(3, 4), "i": np.zeros((0, 4), np.int64), "u": np.zeros((0, 4), np.float32)},
            ),
        },
        opset=18,
    )


@pytest.mark.parametrize("name", ["ArgMax", "ArgMin"])
def test_a_position_in_nothing_is_refused(name: str) -> None:
    with pytest.raises(ModelError, match="nothing to choose from"):
        check({"": Case(name, {"x": np.zeros((3, 0), np.float32)}, {}, {"axis": 1}, [np.zeros((3, 1), np.int64)])})


def test_padding_with_nothing_to_repeat_reads_nothing() -> None:
    """The specification does not say what the result is; it is 0, whatever stands in memory."""
    x, zeros, widths = np.zeros(0, np.float32), [np.zeros(2, np.float32)], {"p": np.array([1, 1])}
    cases = {mode: Case("Pad", {"x": x}, widths, {"mode": mode}, zeros) for mode in ("edge", "reflect", "wrap")}
    check(cases, opset=19)
