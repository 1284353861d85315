"""The vectorized functions: accuracy over the whole range of float32, and the special values."""

from __future__ import annotations

import math

import numpy as np
import pytest
import tvm_ffi
from kernel_runner import Runner
from tvm import relax

SPECIAL = np.array(
    [0.0, -0.0, np.inf, -np.inf, np.nan, 88.7, 88.8, -87.3, -87.4, -104, 1e-30, -1e-30, 3e38, -3e38], "float32"
)
LINE = np.concatenate([np.linspace(-90, 90, 20011), np.linspace(-1, 1, 20013), SPECIAL]).astype("float32")


def exact(function: str, values: np.ndarray) -> np.ndarray:
    wide = values.astype("float64")
    with np.errstate(over="ignore", invalid="ignore"):
        if function == "erf":
            return np.array([math.erf(v) for v in wide])
        if function == "sigmoid":
            return 1 / (1 + np.exp(-wide))
        return getattr(np, function)(wide)


@pytest.mark.parametrize(
    ("function", "relative", "absolute"),
    [
        ("exp", 3e-7, 2e-38),  # subnormal results are flushed to 0
        ("tanh", 5e-7, 1e-30),
        ("sigmoid", 5e-7, 2e-38),
        ("erf", 0, 5e-7),
    ],
)
def test_accuracy(run: Runner, function: str, relative: float, absolute: float) -> None:
    actual = run(getattr(relax.op, function), LINE)
    with np.errstate(over="ignore"):
        expected = exact(function, LINE).astype("float32")
    assert np.array_equal(np.isnan(actual), np.isnan(expected))
    assert np.array_equal(np.isinf(actual), np.isinf(expected))
    finite = np.isfinite(expected)
    error = np.abs(actual[finite].astype("float64") - expected[finite])
    assert (error <= relative * np.abs(expected[finite]) + absolute).all(), error.max()


def test_no_call_of_libm_is_left(run: Runner) -> None:
    from tilewright import targets
    from tilewright.schedules.vector_math import EXPANSIONS, expand_math
    from tvm import te, tirx

    data = te.placeholder((64,), name="data")
    calls = te.compute((64,), lambda i: tirx.exp(tirx.tanh(data[i])) + tirx.erf(tirx.sigmoid(data[i])))
    function = te.create_prim_func([data, calls])
    assert all(name.removeprefix("tirx.") in function.script() for name in EXPANSIONS)
    assert not any(f"T.{name.removeprefix('tirx.')}(" in expand_math(function).script() for name in EXPANSIONS)
    assert targets.host().lanes() >= 4


@pytest.mark.parametrize("function", ["exp", "tanh", "sigmoid", "erf"])
def test_whole_vectors_are_computed(function: str) -> None:
    """TVM takes a vector apart, lane by lane, for one operation that it cannot vectorize."""
    from tilewright import targets
    from tilewright.compiler.lowering import lower_kernel
    from tilewright.schedules.schedule import schedule_kernel
    from tvm import te, tirx

    target = targets.parse("x86_64-linux-gnu", cpu="x86-64-v3", cores=1)
    data = te.placeholder((64,), name="data")
    result = te.compute((64,), lambda i: getattr(tirx, function)(data[i]) + data[i])
    kernel = schedule_kernel(te.create_prim_func([data, result]), target)
    lowered = lower_kernel(kernel, "kernel", target.to_tvm(), parallel=False)
    stores: list[object] = []
    tvm_ffi.structural_walk(lowered.function.body, (tirx.BufferStore, stores.append))
    assert {str(store.value.ty.dtype) for store in stores} == {f"float32x{target.lanes()}"}
