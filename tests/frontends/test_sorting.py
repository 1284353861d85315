"""TopK, ArgMax, ArgMin and Hardmax: a total order of every dtype, NaN and infinities among them; running totals."""

from __future__ import annotations

from typing import Any

import ml_dtypes
import numpy as np
import onnx
import pytest
import tilewright
from execution import execute
from models import model, tensor
from onnx import TensorProto, helper, numpy_helper
from operator_cases import Array, Case, check
from tilewright import targets
from tilewright.errors import ModelError

_FLOATS = (np.float16, ml_dtypes.bfloat16, np.float32, np.float64)
_INTEGERS = (np.int8, np.uint8, np.int16, np.uint16, np.int32, np.uint32, np.int64, np.uint64)
_QUICK = (np.float16, np.float32, np.uint8, np.int64)
_SHAPES = (((9,), 0), ((2, 5, 4), 1), ((2, 97, 3), 1))  # ranks, and heaps


def _data(dtype: Any, shape: tuple[int, ...]) -> Array:
    """Few different values, so that many are equal; the extremes of the dtype, and all that a float may be."""
    rng = np.random.default_rng(0)
    if np.dtype(dtype).kind in "iu":
        limits = np.iinfo(dtype)
        return rng.choice(np.array([limits.min, limits.max, 0, 1, 2], dtype), shape)
    return rng.choice(np.array([np.nan, np.inf, -np.inf, -0.0, 0.0, 1, -1], np.float32), shape).astype(dtype)


def _ranked(row: Array, largest: bool) -> list[int]:
    """Positions, best first: NaN above every number, equals in their order."""
    keys = [(bool(np.isnan(float(each))), each if row.dtype.kind in "iu" else float(each)) for each in row]
    ordered = [(nan, 0 if nan else int(value) if row.dtype.kind in "iu" else value) for nan, value in keys]
    sign = -1 if largest else 1
    return sorted(range(len(row)), key=lambda at: (sign * ordered[at][0], sign * ordered[at][1], at))


@pytest.mark.sweep(2)
@pytest.mark.parametrize(
    "dtype",
    [
        pytest.param(dtype, id=np.dtype(dtype).name, marks=[] if dtype in _QUICK else [pytest.mark.slow])
        for dtype in (*_FLOATS, *_INTEGERS)
    ],
)
def test_ranks_and_extrema(dtype: Any) -> None:
    cases = {}
    for shape, axis in _SHAPES:
        x = _data(dtype, shape)
        for largest in (True, False):
            order = np.stack(
                [_ranked(row, largest) for row in np.moveaxis(x, axis, -1).reshape(-1, shape[axis])]
            ).reshape(np.moveaxis(x, axis, -1).shape)
            best = np.moveaxis(order, -1, axis)
            for count in (shape[axis], 2):
                taken = np.take(best, range(count), axis)
                cases[f"TopK {shape} {largest} {count}"] = Case(
                    "TopK",
                    {"x": x},
                    {"k": np.array([count])},
                    {"axis": axis, "largest": int(largest)},
                    [np.take_along_axis(x, taken, axis), taken],
                    outputs=2,
                )
        wide = x if x.dtype.kind in "iu" else x.astype(np.float64)
        for name, find in (("ArgMax", np.argmax), ("ArgMin", np.argmin)):
            first = find(wide, axis=axis)
            last = shape[axis] - 1 - find(np.flip(wide, axis), axis=axis)
            cases[f"{name} {shape}"] = Case(name, {"x": x}, {}, {"axis": axis, "keepdims": 0}, [first])
            attributes = {"axis": axis, "select_last_index": 1}
            cases[f"{name} {shape} last"] = Case(name, {"x": x}, {}, attributes, [np.expand_dims(last, axis)])
        if x.dtype.kind not in "iu":
            ones = np.zeros(shape, dtype)
            np.put_along_axis(ones, np.expand_dims(np.argmax(wide, axis=axis), axis), dtype(1), axis)
            cases[f"Hardmax {shape}"] = Case("Hardmax", {"x": x}, {}, {"axis": axis}, [ones])
    if dtype is ml_dtypes.bfloat16:  # which TopK does not take
        cases = {label: case for label, case in cases.items() if case.op_type != "TopK"}
    check(cases, opset=18, rtol=0, atol=0)


def test_nothing_but_nan() -> None:
    x = np.full(300, np.nan, np.float32)
    check(
        {
            "TopK": Case("TopK", {"x": x}, {"k": np.array([3])}, {}, [x[:3], np.array([0, 1, 2])], outputs=2),
            "ArgMax": Case("ArgMax", {"x": x}, {}, {"axis": 0, "keepdims": 0}, [np.asarray(0)]),
            "ArgMin": Case("ArgMin", {"x": x}, {}, {"axis": 0, "keepdims": 0}, [np.asarray(0)]),
        }
    )


def test_the_best_of_many_take_little_time() -> None:
    """Each compared with all others would take a minute."""
    rng, cases = np.random.default_rng(1), {}
    rows = {
        "random": rng.standard_normal(400_000),
        "rising": np.arange(400_000.0),
        "falling": -np.arange(400_000.0),
        "equal": np.zeros(400_000),
    }
    for name, row in rows.items():
        x = row.astype(np.float32)
        order = np.argsort(-x, kind="stable")
        for count in (1, 300, 250_001, len(x)):
            expected = [x[order[:count]], order[:count]]
            cases[f"{name} {count}"] = Case("TopK", {"x": x}, {"k": np.array([count])}, {}, expected, outputs=2)
    check(cases, rtol=0, atol=0)


def test_running_totals_of_half_precision_are_rounded_once() -> None:
    ones = np.ones(3000, np.float16)  # a float16 sum of ones stops at 2048
    growing = np.arange(1, 3001).astype(np.float16)
    axis = {"axis": np.asarray(0)}
    check(
        {
            "forwards": Case("CumSum", {"x": ones}, axis, {}, [growing]),
            "backwards, without itself": Case(
                "CumSum",
                {"x": ones},
                axis,
                {"reverse": 1, "exclusive": 1},
                [np.arange(2999, -1, -1).astype(np.float16)],
            ),
        },
        rtol=0,
        atol=0,
    )


# Rows that no vector width divides, before, at and after the axis.
_SCANNED = (((3, 7), 1), ((3, 7), 0), ((2, 5, 24), 1), ((4, 1001), 0), ((2, 33, 60), 1), ((5, 3, 80), 0), ((1, 1), 0))


@pytest.mark.sweep(2)
@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int32, np.int64])
def test_running_totals_add_up_in_order(dtype: Any) -> None:
    """As numpy adds up, element after element: to the last bit."""
    rng = np.random.default_rng(3)
    cases = {}
    for shape, axis in _SCANNED:
        x = (100 * rng.standard_normal(shape)).astype(dtype)
        for reverse in (0, 1):
            for exclusive in (0, 1):
                ordered = np.flip(x, axis) if reverse else x
                totals = np.cumsum(ordered, axis, dtype=dtype)
                if exclusive:
                    before = np.roll(totals, 1, axis)
                    before[(*[slice(None)] * axis, 0)] = 0
                    totals = before
                totals = np.flip(totals, axis) if reverse else totals
                attributes = {"reverse": reverse, "exclusive": exclusive}
                label = f"{shape} {axis} {reverse} {exclusive}"
                cases[label] = Case("CumSum", {"x": x}, {"axis": np.asarray(axis)}, attributes, [totals])
    check(cases, rtol=0, atol=0)


def test_running_totals_take_linear_time() -> None:
    x = np.arange(200_000, dtype=np.int64)[None]
    check({"long": Case("CumSum", {"x": x}, {"axis": np.asarray(1)}, {}, [np.cumsum(x, 1)])}, rtol=0, atol=0)


@pytest.mark.sweep(3)
@pytest.mark.parametrize(
    ("dtype", "cpu"),
    [
        (np.float32, "x86-64"),
        (np.float32, None),
        (np.int64, None),
        pytest.param(np.float32, "x86-64-v3", marks=pytest.mark.slow),
        *(pytest.param(dtype, None, marks=pytest.mark.slow) for dtype in (np.float16, np.uint8, np.float64)),
    ],
)
def test_positions_in_rows_that_no_vector_fills(dtype: Any, cpu: str | None) -> None:
    """Every number of lanes along the last axis, what is left of it, and vectors beside other axes."""
    if cpu == "x86-64-v3" and targets.parse("host").isa == "SSE2":
        pytest.skip("this machine has no AVX2")
    cases = {}
    shapes = [((5, extent), 1) for extent in (1, 7, 24, 60, 80, 1001)]
    for shape, axis in (*shapes, ((21, 7), 0), ((2, 5, 60), 1), ((2, 3, 1001), 1)):
        x = _data(dtype, shape)
        wide = x if x.dtype.kind in "iu" else x.astype(np.float64)
        for name, find in (("ArgMax", np.argmax), ("ArgMin", np.argmin)):
            first = find(wide, axis=axis, keepdims=True)
            last = shape[axis] - 1 - find(np.flip(wide, axis), axis=axis, keepdims=True)
            for select_last, expected in enumerate((first, last)):
                attributes = {"axis": axis, "select_last_index": select_last}
                cases[f"{name} {shape} {select_last}"] = Case(name, {"x": x}, {}, attributes, [expected])
    check(cases, cpu=cpu)


def test_nothing_to_choose_from() -> None:
    x = helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, [3, 0])
    y = helper.make_tensor_value_info("y", onnx.TensorProto.INT64, [3, 1])
    empty = numpy_helper.from_array(np.zeros((3, 0), np.float32), "x")
    for inputs, weights in (([x], []), ([], [empty])):
        node = helper.make_node("ArgMax", ["x"], ["y"], axis=1)
        graph = helper.make_graph([node], "nothing", inputs, [y], weights)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)
        with pytest.raises(ModelError, match="nothing to choose from"):
            tilewright.compile(model, shapes={"x": (3, 0)} if inputs else {})


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_neighbours_of_positions_and_totals(axis: int) -> None:
    """What is computed before and after them stays outside of their loops."""
    x = np.random.default_rng(axis).standard_normal((4, 7, 9)).astype(np.float32)
    made = model(
        [
            helper.make_node("Abs", ["x"], ["a"]),
            helper.make_node("ArgMax", ["a"], ["p"], axis=axis, keepdims=0),
            helper.make_node("Neg", ["p"], ["position"]),
            helper.make_node("CumSum", ["a", "axis"], ["c"]),
            helper.make_node("Neg", ["c"], ["total"]),
        ],
        [tensor("x", x.shape)],
        [tensor("position", [None] * 2, TensorProto.INT64), tensor("total", x.shape)],
        {"axis": np.array(axis)},
    )
    position, total = execute(made, {"x": x})
    assert np.array_equal(position, -np.abs(x).argmax(axis))
    np.testing.assert_allclose(total, -np.abs(x).cumsum(axis, dtype=np.float64), rtol=2e-6)
