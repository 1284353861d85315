"""The written-out functions: units in the last place over all of float32, special values, and whole vectors."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import tilewright
import tvm_ffi
from onnx import TensorProto, helper
from tilewright import targets
from tilewright.compiler.lowering import lower_kernel
from tilewright.floats import hidden
from tilewright.schedules.schedule import schedule_kernel
from tilewright.schedules.vector_math import EXPANSIONS
from tvm import te, tirx

# Every exponent and both signs, subnormal numbers, infinities and NaN; and the ranges where the functions bend.
PATTERNS = np.arange(0, 1 << 32, 48611, dtype=np.uint64).astype(np.uint32).view(np.float32)
LINE = np.concatenate([np.linspace(-110, 110, 60013), np.linspace(-2, 2, 40013)]).astype(np.float32)
SPECIAL = np.array([0.0, -0.0, np.inf, -np.inf, np.nan, 88.72284, -103.97, -87.33655, 1e-45, -1e-45], np.float32)
X = np.concatenate([SPECIAL, PATTERNS, LINE])

_erfc = np.vectorize(math.erfc, otypes=[np.float64])


def _sigmoid(x: Any) -> Any:
    e = np.exp(-np.abs(x))
    return np.where(x >= 0, 1, e) / (1 + e)


def _gelu(x: Any) -> Any:  # the formula's NaN for minus infinity
    return 0.5 * x * _erfc(-x / math.sqrt(2))


def _mish(x: Any) -> Any:
    return x * np.tanh(np.logaddexp(0, x))


# ONNX's operator -> its exact value in float64, the units in the last place that it may be off, and what more (the
# last numbers of Mish's tail are products of subnormal ones; GELU is exact to that much).
FUNCTIONS: dict[str, tuple[Callable[[Any], Any], float, float]] = {
    "Exp": (np.exp, 4, 0),
    "Tanh": (np.tanh, 4, 0),
    "Erf": (np.vectorize(math.erf, otypes=[np.float64]), 4, 0),
    "Sigmoid": (_sigmoid, 4, 0),
    "Softplus": (lambda x: np.logaddexp(0, x), 4, 0),
    "Elu": (lambda x: np.where(x > 0, x, np.expm1(x)), 4, 0),
    "Mish": (_mish, 4, 1e-43),
    "Gelu": (_gelu, 4, 2e-8),
}


@pytest.fixture(scope="module")
def results() -> dict[str, Any]:
    shape = [X.size]
    nodes = [helper.make_node(name, ["x"], [name]) for name in FUNCTIONS]
    outputs = [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name in FUNCTIONS]
    inputs = [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)]
    proto = helper.make_model(
        helper.make_graph(nodes, "functions", inputs, outputs), opset_imports=[helper.make_opsetid("", 20)]
    )
    return dict(tilewright.compile(proto, threads=1).run({"x": X}))


@pytest.mark.parametrize("name", FUNCTIONS)
def test_units_in_the_last_place(results: dict[str, Any], name: str) -> None:
    function, allowed, more = FUNCTIONS[name]
    with np.errstate(all="ignore"):
        exact = function(X.astype(np.float64))
        rounded = exact.astype(np.float32)
    actual = results[name]
    np.testing.assert_array_equal(np.isnan(actual), np.isnan(rounded))
    # Where the result is next to the largest number, it may round to infinity, or from there.
    edge = np.abs(exact) > float(np.finfo(np.float32).max) * (1 - 1e-6)
    np.testing.assert_array_equal(np.isinf(actual)[~edge], np.isinf(rounded)[~edge])
    counted = np.isfinite(rounded) & np.isfinite(actual)
    error = np.maximum(np.abs(actual[counted].astype(np.float64) - exact[counted]) - more, 0)
    unit = np.spacing(np.abs(rounded[counted])).astype(np.float64)
    worst = np.argmax(error / unit)
    assert error[worst] <= allowed * unit[worst], f"{error[worst] / unit[worst]:.1f} ulp at {X[counted][worst]!r}"


def test_signs_of_zero(results: dict[str, Any]) -> None:
    for name in ("Tanh", "Erf", "Elu", "Gelu", "Mish"):
        np.testing.assert_array_equal(np.signbit(results[name][:2]), [False, True], err_msg=name)


@pytest.mark.parametrize("name", EXPANSIONS)
def test_whole_vectors_are_computed(name: str) -> None:
    """TVM takes a vector apart, lane by lane, for one operation that it cannot vectorize; LLVM calls libm."""
    target = targets.parse("x86_64-linux-gnu", cpu="x86-64-v3", cores=1)
    data = te.placeholder((64,), name="data")
    result = te.compute((64,), lambda i: hidden.add(hidden.function(name, data[i].asobject()), data[i]))
    kernel = schedule_kernel(te.create_prim_func([data, result]), target)
    lowered = lower_kernel(kernel, "kernel", target.to_tvm(), parallel=False)
    stores: list[Any] = []
    tvm_ffi.structural_walk(lowered.function.body, (tirx.BufferStore, stores.append))
    assert {str(store.value.ty.dtype) for store in stores if store.buffer.name == "compute"} == {"float32x8"}
    assert f"{name}f" not in lowered.function.script()
