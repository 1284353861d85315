"""Operators on every dtype that ONNX lets them have: whole numbers, truth values, half precision."""

from __future__ import annotations

from typing import Any

import ml_dtypes
import numpy as np
import pytest
import tilewright
from onnx import helper
from operator_cases import Array, Case, check

_SIGNED = (np.int8, np.int16, np.int32, np.int64)
_QUICK = (np.int8, np.int64, np.uint8)
_UNSIGNED = (np.uint8, np.uint16, np.uint32, np.uint64)


def _integers(dtype: Any, *shape: int) -> Array:
    """Both ends of the dtype and small numbers."""
    rng = np.random.default_rng(0)
    limits = np.iinfo(dtype)
    x = rng.integers(-9 if limits.min else 0, 10, shape).astype(dtype)
    x.flat[:2] = limits.min, limits.max
    return x


@pytest.mark.parametrize(
    "dtype",
    [
        pytest.param(dtype, id=np.dtype(dtype).name, marks=[] if dtype in _QUICK else [pytest.mark.slow])
        for dtype in (*_SIGNED, *_UNSIGNED)
    ],
)
def test_integers(dtype: Any) -> None:
    x, y = _integers(dtype, 3, 9), _integers(dtype, 3, 9)[::-1].copy()
    low, high = np.asarray(5, dtype), np.asarray(2, dtype)
    cases = {
        "Sign": Case("Sign", {"x": x}, {}, {}, [np.sign(x.astype(object)).astype(dtype)]),
        "Max": Case("Max", {"x": x, "y": y}, {}, {}, [np.maximum(x, y)]),
        "Min": Case("Min", {"x": x, "y": y}, {}, {}, [np.minimum(x, y)]),
        "Equal": Case("Equal", {"x": x, "y": y}, {}, {}, [x == y]),
        "Less": Case("Less", {"x": x, "y": y}, {}, {}, [x < y]),
        "Abs": Case("Abs", {"x": x}, {}, {}, [np.abs(x)]),
        "Where": Case("Where", {"c": x > y, "x": x, "y": y}, {}, {}, [np.where(x > y, x, y)]),
        "Clip": Case("Clip", {"x": x}, {"low": high, "high": low}, {}, [np.clip(x, high, low)]),
        # The maximum is applied last, so it is the result where the bounds are the wrong way round.
        "Clip crossed": Case("Clip", {"x": x}, {"low": low, "high": high}, {}, [np.full_like(x, high)]),
        "Clip crossed at run time": Case("Clip", {"x": x, "low": low, "high": high}, {}, {}, [np.full_like(x, high)]),
        "ReduceMax": Case("ReduceMax", {"x": x}, {}, {"keepdims": 0}, [x.max()]),
        "ReduceMin": Case("ReduceMin", {"x": x}, {"axes": np.array([1])}, {}, [x.min(1, keepdims=True)]),
    }
    divisor = np.where(y == 0, np.asarray(3, dtype), y).astype(dtype)
    dividend = np.where(x == np.iinfo(dtype).min, np.asarray(7, dtype), x).astype(dtype)
    pairs = list(zip(dividend.ravel().tolist(), divisor.ravel().tolist(), strict=True))  # as Python's own integers
    quotient = [abs(a) // abs(b) * (-1 if (a < 0) != (b < 0) else 1) for a, b in pairs]
    operands = {"x": dividend, "y": divisor}
    for name, attributes, result in (
        ("Div", {}, quotient),
        ("Mod", {}, [a % b for a, b in pairs]),
        ("Mod", {"fmod": 1}, [a - b * q for (a, b), q in zip(pairs, quotient, strict=True)]),
    ):
        expected = np.array(result, dtype).reshape(x.shape)
        cases[f"{name} {attributes}"] = Case(name, operands, {}, attributes, [expected])
    if dtype in _SIGNED:
        with np.errstate(over="ignore"):
            cases["Neg"] = Case("Neg", {"x": x}, {}, {}, [-x])  # the lowest stays as it is
        cases["Relu"] = Case("Relu", {"x": x}, {}, {}, [np.maximum(x, dtype(0))])
    if dtype in (np.int32, np.int64, np.uint32, np.uint64):
        small = (np.arange(12) % 7).astype(dtype).reshape(3, 4) - (dtype(3) if dtype in _SIGNED else dtype(0))
        mean = np.trunc(small.astype(np.float64).mean(1, keepdims=True)).astype(dtype)
        axes = {"axes": np.array([1])}
        cases["ReduceMean"] = Case("ReduceMean", {"x": small}, axes, {}, [mean])
        cases["ReduceProd"] = Case("ReduceProd", {"x": small}, axes, {}, [small.prod(1, keepdims=True, dtype=dtype)])
        cases["ReduceSum"] = Case("ReduceSum", {"x": small}, axes, {}, [small.sum(1, keepdims=True, dtype=dtype)])
        cases["CumSum"] = Case("CumSum", {"x": small}, {"axis": np.asarray(1)}, {}, [small.cumsum(1, dtype=dtype)])
    check(cases, opset=18)


def test_truth_values() -> None:
    rng = np.random.default_rng(0)
    a, b = (rng.integers(0, 2, (5, 19)).astype(bool) for _ in range(2))
    axes = {"axes": np.array([1])}
    check(
        {
            "Equal": Case("Equal", {"a": a, "b": b}, {}, {}, [a == b]),
            "Equal to a constant": Case("Equal", {"a": a}, {"b": np.asarray(True)}, {}, [a]),
            "Xor": Case("Xor", {"a": a, "b": b}, {}, {}, [a ^ b]),
            "Where": Case("Where", {"a": a, "b": b, "c": ~b}, {}, {}, [np.where(a, b, ~b)]),
            "ReduceMax": Case("ReduceMax", {"a": a}, axes, {}, [a.max(1, keepdims=True)]),
            "ReduceMin": Case("ReduceMin", {"a": a}, axes, {}, [a.min(1, keepdims=True)]),
        },
        opset=20,
    )


def test_bfloat16_is_compared_by_value() -> None:
    dtype = ml_dtypes.bfloat16
    a = np.array([-3, -1, -0.0, 0.0, 0.5, 2, 7], np.float32)
    b = np.array([-2, -5, 0.0, 1.0, 0.25, 2, 9], np.float32)
    operands = {"a": a.astype(dtype), "b": b.astype(dtype)}
    check(
        {
            "Less": Case("Less", operands, {}, {}, [a < b]),
            "LessOrEqual": Case("LessOrEqual", operands, {}, {}, [a <= b]),
            "Greater": Case("Greater", operands, {}, {}, [a > b]),
            "GreaterOrEqual": Case("GreaterOrEqual", operands, {}, {}, [a >= b]),
            "Equal": Case("Equal", operands, {}, {}, [a == b]),
            "truth": Case("Cast", {"a": a.astype(dtype)}, {}, {"to": 9}, [a != 0]),
        }
    )


def test_floats_are_rounded_to_bfloat16_and_back() -> None:
    """In one kernel, of which nothing but the rounding is of bfloat16."""
    x = np.array([1, 1 + 2.0**-9, -3.14159, np.inf, -np.inf, np.nan, 1e-40, 3e38, 0.0, -0.0] * 3, np.float32)
    nodes = [helper.make_node("Cast", ["x"], ["a"], to=16), helper.make_node("Cast", ["a"], ["y"], to=1)]
    graph = helper.make_graph(
        [*nodes, helper.make_node("Reciprocal", ["y"], ["z"])],
        "rounded",
        [helper.make_tensor_value_info("x", 1, x.shape)],
        [helper.make_tensor_value_info("z", 1, x.shape)],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    with np.errstate(all="ignore"):
        expected = 1 / x.astype(ml_dtypes.bfloat16).astype(np.float32)
    for cpu in ("x86-64", "host"):
        options = {"target": "host"} if cpu == "host" else {"target": "x86_64-linux-gnu", "cpu": cpu}
        actual = tilewright.compile(model, threads=1, **options).run({"x": x})["z"]
        np.testing.assert_array_equal(actual, expected)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_statistics_of_a_layer_are_float32(dtype: Any) -> None:
    x = np.random.default_rng(0).standard_normal((3, 5, 24)).astype(dtype)
    wide = x.astype(np.float64)
    mean = wide.mean(-1, keepdims=True)
    inverse = 1 / np.sqrt(wide.var(-1, keepdims=True) + 1e-5)
    y = ((wide - mean) * inverse).astype(dtype)
    statistics = [mean.astype(np.float32), inverse.astype(np.float32)]
    operands = {"x": x, "scale": np.ones(24, dtype), "shift": np.zeros(24, dtype)}
    check({"layer": Case("LayerNormalization", operands, {}, {}, [y, *statistics], outputs=3)}, opset=17)


@pytest.mark.parametrize("dtype", [np.int32, np.int64])
def test_powers_of_integers_wrap(dtype: Any) -> None:
    bits = np.iinfo(dtype).bits
    bases = [0, 1, -1, 2, -3, 7, 10, 2097151, -46341, np.iinfo(dtype).max, np.iinfo(dtype).min]
    exponents = [0, 1, 2, 3, 5, 20, 31, 63, 1000, -1, -2, np.iinfo(dtype).max, np.iinfo(dtype).min]

    def power(base: int, exponent: int) -> int:
        if exponent < 0:
            return base ** (exponent % 2) if base in (1, -1) else 0
        value = pow(base, exponent, 2**bits)
        return value - 2**bits if value >= 2 ** (bits - 1) else value

    x, y = np.array(bases, dtype)[:, None], np.array(exponents, dtype)
    expected = np.array([[power(base, exponent) for exponent in exponents] for base in bases], dtype)
    cases = {"all": Case("Pow", {"x": x, "y": y}, {}, {}, [expected])}
    single = {"x": np.array(-3, dtype), "y": np.array(31, dtype)}
    cases["one"] = Case("Pow", single, {}, {}, [np.array(power(-3, 31), dtype)])
    cases["none"] = Case("Pow", {"x": x[:0], "y": y}, {}, {}, [expected[:0]])
    for column, exponent in enumerate(exponents):
        constant = {"y": np.array(exponent, dtype)}
        cases[f"by {exponent}"] = Case("Pow", {"x": x[:, 0]}, constant, {}, [expected[:, column]])
        cases[f"by a given {exponent}"] = Case("Pow", {"x": x[:, 0], **constant}, {}, {}, [expected[:, column]])
    check(cases)


def test_powers_of_integers_at_a_range_of_sizes() -> None:
    inputs = [helper.make_tensor_value_info("x", 7, ["N", 3]), helper.make_tensor_value_info("e", 7, ["N", 1])]
    nodes = [helper.make_node("Pow", ["x", "e"], ["p"]), helper.make_node("Add", ["p", "x"], ["y"])]
    graph = helper.make_graph(nodes, "powers", inputs, [helper.make_tensor_value_info("y", 7, ["N", 3])])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    compiled = tilewright.compile(model, threads=1, ranges={"N": (1, 8)})
    for size in (1, 3, 8):
        x, e = np.arange(3 * size).reshape(size, 3) - 4, np.arange(size)[:, None] + 1
        np.testing.assert_array_equal(compiled.run({"x": x, "e": e})["y"], x**e + x)


def _rounded(x: Array) -> Array:
    return x.astype(ml_dtypes.bfloat16).astype(np.float32)


@pytest.mark.parametrize("cpu", ["x86-64", "x86-64-v3", None])
def test_every_result_in_bfloat16_is_rounded(cpu: str | None) -> None:
    rng = np.random.default_rng(0)
    x, z = (rng.standard_normal((4, 33)).astype(np.float32) * scale for scale in (100, 3))
    a, b = _rounded(x), _rounded(z)
    results = {
        "neg": (["Neg a"], -a),
        "relu": (["Relu a"], np.maximum(a, 0)),
        "add": (["Add a b"], _rounded(a + b)),
        "root": (["Abs a", "Sqrt t0"], _rounded(np.sqrt(np.abs(a)))),
        "three": (["Add a b", "Mul t0 b", "Sub t1 a"], _rounded(_rounded(_rounded(a + b) * b) - a)),
        "choice": (["Less a b", "Where t0 a b"], np.where(a < b, a, b)),
        "larger": (["Max a b", "Div t0 b"], _rounded(np.maximum(a, b) / b)),
    }
    nodes = [helper.make_node("Cast", [each], [to], to=16) for each, to in (("x", "a"), ("z", "b"))]
    for name, (steps, _) in results.items():
        for index, step in enumerate(steps):
            operator, *operands = step.split()
            names = [f"{name}_{each}" if each.startswith("t") else each for each in operands]
            nodes.append(helper.make_node(operator, names, [f"{name}_t{index}"]))
        nodes.append(helper.make_node("Cast", [f"{name}_t{len(steps) - 1}"], [name], to=1))
    outputs = [helper.make_tensor_value_info(name, 1, x.shape) for name in results]
    inputs = [helper.make_tensor_value_info(name, 1, x.shape) for name in "xz"]
    graph = helper.make_graph(nodes, "rounded", inputs, outputs)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    options = {"target": "x86_64-linux-gnu", "cpu": cpu} if cpu else {}
    actual = tilewright.compile(model, threads=1, **options).run({"x": x, "z": z})
    for name, (_, expected) in results.items():
        np.testing.assert_array_equal(actual[name], expected, err_msg=name)
