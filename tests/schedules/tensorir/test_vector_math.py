"""The written-out functions: units in the last place over the whole range of float32, and the special values."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import tvm
import tvm_ffi
from kernel_runner import Runner
from tilewright import hidden_floats as hidden
from tilewright import targets
from tilewright.compiler.lowering.lower import lower_kernel
from tilewright.ir_passes.dialect import float_functions as functions
from tilewright.schedules.schedule import schedule_kernel
from tilewright.schedules.templates.table import TEMPLATES
from tilewright.schedules.templates.template import Chooser
from tilewright.schedules.tensorir.vector_math import EXPANSIONS
from tvm import relax, te, tirx

Array = Any

_TINY = np.float32(2.0**-149)
SPECIAL = np.array(
    [
        *(0.0, -0.0, np.inf, -np.inf, np.nan, 1.0, -1.0, 0.5, -0.5, 3e38, -3e38),
        *(88.72284, 88.8, -87.3, -88.0, -103.9, -104.1, 1e-30, -1e-30, 1e-40, -1e-40, _TINY, -_TINY),
    ],
    "float32",
)


def _line() -> Array:
    """Every exponent of float32 with random mantissas, and the places where the functions bend, densely."""
    rng = np.random.default_rng(3)
    bits = rng.integers(0, 2**32, 60_000, dtype=np.uint64).astype(np.uint32).view("float32")
    near = [rng.uniform(-width, width, 20_000) for width in (0.3, 2, 12, 105)]
    return np.concatenate([bits, *(each.astype("float32") for each in near), SPECIAL])


LINE = _line()
_erf, _erfc = np.vectorize(math.erf), np.vectorize(math.erfc)


def _sigmoid(x: Array) -> Array:
    return np.where(x < 0, np.exp(np.minimum(x, 0)), 1.0) / (1 + np.exp(-np.abs(x)))


def _mish(x: Array) -> Array:
    e = np.exp(np.minimum(x, 30))
    return x * (e * (e + 2) / (e * (e + 2) + 2))


# The function, the truth, and the units in the last place that it may be off by.
CASES: dict[str, tuple[Callable[[Any], Any], Callable[[Array], Array], float]] = {
    "exp": (relax.op.exp, np.exp, 2.0),
    "expm1": (functions.expm1, np.expm1, 2.0),
    "log1p": (functions.log1p, np.log1p, 2.0),
    "tanh": (relax.op.tanh, np.tanh, 3.0),
    "sigmoid": (relax.op.sigmoid, _sigmoid, 3.5),
    "erf": (relax.op.erf, _erf, 3.5),
    "softplus": (functions.softplus, lambda x: np.logaddexp(0, x), 3.5),
    "silu": (relax.op.nn.silu, lambda x: x * _sigmoid(x), 3.5),
    "mish": (functions.mish, _mish, 4.0),
}
LEVELS = ("x86-64", "x86-64-v3", "x86-64-v4")


def level(cpu: str) -> targets.Target:
    """A target of this level; the test is skipped where it cannot run."""
    target = targets.parse("x86_64-linux-gnu", cpu=cpu, cores=1)
    if not set(target.required_features) <= set(targets.parse("host").required_features):
        pytest.skip("this machine lacks the instructions")
    return target


def off_by(actual: Array, exact: Array) -> Array:
    """The error in units in the last place of the result; that of the smallest normal number for subnormal ones."""
    exponents = np.floor(np.log2(np.maximum(np.abs(exact), 2.0**-126)))
    return np.abs(actual.astype("float64") - exact) / 2.0 ** (exponents - 23)


@pytest.mark.sweep(3)
@pytest.mark.parametrize("cpu", LEVELS)
@pytest.mark.parametrize("name", CASES)
def test_units_in_the_last_place(run: Runner, name: str, cpu: str) -> None:
    build, truth, allowed = CASES[name]
    actual = run(build, LINE, target=level(cpu))
    with np.errstate(all="ignore"):
        exact = truth(LINE.astype("float64"))
        rounded = exact.astype("float32")
    assert np.array_equal(np.isnan(actual), np.isnan(rounded))
    # Where the result overflows, the last finite one and infinity are neighbours.
    assert np.array_equal(np.isinf(actual), np.isinf(rounded))
    finite = np.isfinite(rounded)
    errors = off_by(actual[finite], exact[finite])
    if name in ("silu", "mish"):  # a product of x and what is subnormal itself has that one's digits
        errors[np.abs(exact[finite]) < 105 * 2.0**-126] /= 105
    worst = errors.argmax()
    assert errors[worst] <= allowed, (LINE[finite][worst], actual[finite][worst], rounded[finite][worst])


@pytest.mark.parametrize("name", ["tanh", "erf"])
def test_what_goes_to_one_reaches_it_and_never_exceeds_it(run: Runner, name: str) -> None:
    actual = run(CASES[name][0], LINE)
    assert np.nanmax(np.abs(actual)) == 1
    assert np.all(actual[LINE > 10] == 1)
    assert np.all(actual[LINE < -10] == -1)


@pytest.mark.parametrize("name", ["expm1", "tanh", "erf", "silu"])
def test_small_numbers_keep_their_signs(run: Runner, name: str) -> None:
    small = np.array([1e-30, -1e-30, 1e-40, -1e-40, 1e-6, -1e-6], "float32")
    assert np.array_equal(np.sign(run(CASES[name][0], small)), np.sign(small))


@pytest.mark.parametrize("cpu", LEVELS)
def test_gelu(run: Runner, cpu: str) -> None:
    """Near the truth as a share of x everywhere; and the tail keeps digits, where the formula has none left."""
    x = LINE[np.isfinite(LINE) & (np.abs(LINE) < 1e30)]
    actual = run(relax.op.nn.gelu, x, target=level(cpu)).astype("float64")
    wide = x.astype("float64")
    exact = wide * 0.5 * _erfc(-wide / math.sqrt(2))
    error = np.abs(actual - exact)
    assert (error <= 1.8e-7 * np.abs(wide) + 2.0**-149).all()
    assert (error <= 1e-7)[x < 0].all()
    tail = (x > -4) & (np.abs(x) > 1e-30)
    assert (error[tail] <= 5e-5 * np.abs(exact[tail])).all()
    assert np.all(actual[x < -14] == 0)
    assert np.all(np.signbit(actual[x < 0]))


@pytest.mark.parametrize("operator", [relax.op.nn.gelu, relax.op.nn.gelu_tanh])
def test_gelu_of_special_values_is_the_formula_s(run: Runner, operator: Any) -> None:
    actual = run(operator, np.array([np.inf, -np.inf, np.nan, 0.0, -0.0, -3e38, 3e38], "float32"))
    np.testing.assert_array_equal(actual, np.array([np.inf, np.nan, np.nan, 0.0, 0.0, 0.0, 3e38], "float32"))


def test_gelu_by_tanh(run: Runner) -> None:
    x = np.linspace(-6, 6, 10_001, dtype="float32")
    wide = x.astype("float64")
    exact = wide * _sigmoid(2 * math.sqrt(2 / math.pi) * (wide + 0.044715 * wide**3))
    # The argument of the sigmoid, up to 20, is rounded; its error is one of the result.
    np.testing.assert_allclose(run(relax.op.nn.gelu_tanh, x), exact, rtol=3e-6)


FROM_LIBM = {
    "acos": np.arccos,
    "acosh": np.arccosh,
    "asin": np.arcsin,
    "asinh": np.arcsinh,
    "atan": np.arctan,
    "atanh": np.arctanh,
    "cosh": np.cosh,
    "sinh": np.sinh,
    "tan": np.tan,
}


@pytest.mark.sweep(3)
@pytest.mark.parametrize("dtype", ["float32", "float64", "float16"])
@pytest.mark.parametrize("name", FROM_LIBM)
def test_functions_of_libm(run: Runner, name: str, dtype: str) -> None:
    """Whole vectors and what is left over; subnormal and special values too."""
    x = np.concatenate([np.linspace(-3, 3, 83), np.logspace(-7, 0.5, 30), [0.0, -0.0, np.inf, -np.inf, np.nan]])
    x = x.astype(dtype)
    actual = run(getattr(relax.op, name), x)
    with np.errstate(all="ignore"):
        exact = FROM_LIBM[name](x.astype("float64"))
    tolerance = {"float32": 3e-7, "float64": 1e-13, "float16": 1e-3}[dtype]
    np.testing.assert_allclose(actual.astype("float64"), exact, rtol=tolerance, atol=1e-7 if dtype == "float16" else 0)


@pytest.mark.parametrize("name", [*CASES, "gelu", "gelu_tanh"])
def test_float64(run: Runner, name: str) -> None:
    x = np.concatenate([np.linspace(-30, 30, 997), np.logspace(-20, 2, 50), -np.logspace(-20, 2, 50)])
    if name == "log1p":
        x = x[x > -1]
    truths = {
        "gelu": lambda x: x * 0.5 * _erfc(-x / math.sqrt(2)),
        "gelu_tanh": lambda x: x * _sigmoid(2 * math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)),
    }
    builds = {"gelu": relax.op.nn.gelu, "gelu_tanh": relax.op.nn.gelu_tanh}
    build, truth = (builds[name], truths[name]) if name in builds else CASES[name][:2]
    # Products of long arguments lose a few digits of 16.
    np.testing.assert_allclose(run(build, x), truth(x), rtol=1e-12, atol=1e-300)


@pytest.mark.parametrize("name", sorted(EXPANSIONS))
def test_whole_vectors_are_computed(name: str) -> None:
    """TVM takes a vector apart, lane by lane, for one operation that it cannot vectorize; libm does, too."""
    target = targets.parse("x86_64-linux-gnu", cpu="x86-64-v3", cores=1)
    data = te.placeholder((64,), name="data")
    result = te.compute((64,), lambda i: hidden.add(hidden.function(name, data(i)), data(i)))
    kernel = schedule_kernel(te.create_prim_func([data, result]), Chooser(target, TEMPLATES))
    lowered = lower_kernel(kernel, "kernel", target.to_tvm(), parallel=False)
    stores: list[Any] = []
    calls: list[Any] = []
    tvm_ffi.structural_walk(lowered.function.body, (tirx.BufferStore, stores.append))
    tvm_ffi.structural_walk(lowered.function.body, (tvm.ir.Call, calls.append))
    lanes = target.lanes()
    assert stores and calls
    assert {str(store.value.ty.dtype) for store in stores} <= {f"{kind}x{lanes}" for kind in ("float32", "int32")}
    assert not any("extern" in hidden.name_of(call) for call in calls)
