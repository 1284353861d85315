"""Scattered updates that meet what is there: infinities, half precision, integers of every width."""

from __future__ import annotations

import numpy as np
import pytest
from operator_cases import Case, check
from tilewright.errors import ModelError


def test_extrema_leave_infinities_that_no_update_meets() -> None:
    cases = {}
    for reduction, infinity in (("max", -np.inf), ("min", np.inf)):
        for dtype in (np.float16, np.float32):
            data = np.full((3, 4), infinity, dtype)
            expected = data.copy()
            expected[1, 2] = 5
            label = f"{reduction} {np.dtype(dtype).name}"
            attributes = {"axis": 1, "reduction": reduction}
            elements = {"x": data[1:2], "i": np.array([[2]]), "u": np.array([[5]], dtype)}
            cases[f"elements, {label}"] = Case("ScatterElements", elements, {}, attributes, [expected[1:2]])
            rows = {"x": data, "i": np.array([[1, 2]]), "u": np.array([5], dtype)}
            cases[f"tuples, {label}"] = Case("ScatterND", rows, {}, {"reduction": reduction}, [expected])
    check(cases, opset=18)


def test_sums_of_half_precision_are_rounded_once() -> None:
    data, count = np.array([2048], np.float16), 64  # to which float16 cannot add 1
    inputs = {"x": data, "i": np.zeros(count, np.int64), "u": np.ones(count, np.float16)}
    expected = [np.array([2048 + count], np.float16)]
    check({"": Case("ScatterElements", inputs, {}, {"reduction": "add"}, expected)}, opset=18)


@pytest.mark.parametrize("operator", ["Gather", "GatherElements", "GatherND", "ScatterElements", "ScatterND"])
@pytest.mark.parametrize("index", [4, -4])
def test_constant_indices_outside_are_refused(operator: str, index: int) -> None:
    constants = {"i": np.full((3, 1), index)}
    if operator.startswith("Scatter"):
        constants["u"] = np.zeros((3, 1) if operator == "ScatterElements" else (3, 2), np.float32)
    x = np.ones((3, 2), np.float32)
    with pytest.raises(ModelError, match="an index lies outside"):
        check({"": Case(operator, {"x": x}, constants, {}, [x])})


@pytest.mark.parametrize("k", [2**31, -(2**31) - 1, 2**62, -(2**62)])
@pytest.mark.parametrize("upper", [0, 1])
def test_triangles_far_from_the_diagonal_are_all_or_nothing(k: int, upper: int) -> None:
    x = np.arange(1, 13, dtype=np.float32).reshape(3, 4)
    expected = x if (k < 0) == bool(upper) else 0 * x
    check({"": Case("Trilu", {"x": x}, {"k": np.array(k)}, {"upper": upper}, [expected])})
