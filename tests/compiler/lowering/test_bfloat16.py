"""Stored bfloat16: conversions to the bit, and arithmetic that is left to float32."""

from __future__ import annotations

import ctypes
import subprocess
from pathlib import Path

import ml_dtypes
import numpy as np
import pytest
import tvm
from tilewright import targets
from tilewright.compiler.codegen.llvm_objects import compile_object
from tilewright.compiler.lowering.bfloat16 import legalize_arithmetic
from tilewright.compiler.lowering.lower import lower_kernel
from tilewright.hidden_floats import hide
from tvm import te, tirx

_EDGES = (0.0, -0.0, 1.0, -1.5, 3.14159265, 1e-3, 65504.0, 3.3895314e38, 3.4028235e38, 1e-40, np.inf, -np.inf, np.nan)
# Ties go to even: 1 + 2^-8 down, 1 + 3 * 2^-8 up; and a little on either side.
_TIES = (1 + 2**-8, 1 + 3 * 2**-8, 1 + 2**-8 + 2**-20, 1 + 2**-8 - 2**-20)
VALUES = np.array([*_EDGES, *_TIES, 1e38], dtype=np.float32)


def run(element, source: np.ndarray, dtype: str, result_dtype: str, folder: Path) -> np.ndarray:
    """The kernel of one `te.compute`, lowered and compiled as all kernels are."""
    x = te.placeholder(source.shape, dtype, name="x")
    function = te.create_prim_func([x, te.compute(source.shape, lambda *index: element(x[index]), name="y")])
    lowered = lower_kernel(function.without_attr("global_symbol"), "f", targets.host().to_tvm(), parallel=False)
    compile_object([lowered], targets.host(), "f", folder / "f.o")
    # The kernel itself is hidden.
    (folder / "call.c").write_text("int f(void *, void *); int call(void *x, void *y) { return f(x, y); }")
    files = [folder / "call.c", folder / "f.o"]
    subprocess.run(["gcc", "-shared", "-fPIC", "-o", folder / "f.so", *files, "-lm"], check=True)
    result = np.zeros(source.shape, getattr(ml_dtypes, result_dtype, result_dtype))
    library = ctypes.CDLL(str(folder / "f.so"))
    assert library.call(source.ctypes.data_as(ctypes.c_void_p), result.ctypes.data_as(ctypes.c_void_p)) == 0
    return result


def test_rounding(tmp_path: Path) -> None:
    result = run(lambda x: x.astype("bfloat16"), VALUES, "float32", "bfloat16", tmp_path)
    expected = VALUES.astype(ml_dtypes.bfloat16)
    nan = np.isnan(VALUES)
    assert np.isnan(result[nan].astype("float32")).all()
    np.testing.assert_array_equal(result[~nan].view("uint16"), expected[~nan].view("uint16"))


def test_a_quiet_nan_of_any_payload_stays_one(tmp_path: Path) -> None:
    nans = np.array([0x7F800001, 0xFF800001, 0x7FFFFFFF, 0xFFFFFFFF], dtype=np.uint32).view(np.float32)
    result = run(lambda x: x.astype("bfloat16"), nans, "float32", "bfloat16", tmp_path)
    assert np.isnan(result.astype("float32")).all()


def test_widening(tmp_path: Path) -> None:
    narrow = VALUES.astype(ml_dtypes.bfloat16)
    result = run(lambda x: x.astype("float32"), narrow, "bfloat16", "float32", tmp_path)
    np.testing.assert_array_equal(result.view("uint32"), narrow.astype("float32").view("uint32"))


def test_choices_and_constants(tmp_path: Path) -> None:
    narrow = VALUES.astype(ml_dtypes.bfloat16)
    result = run(
        lambda value: tirx.if_then_else(value.astype("float32") > 1, value, tirx.const(-2, "bfloat16")),
        narrow,
        "bfloat16",
        "bfloat16",
        tmp_path,
    )
    wide = narrow.astype("float32")
    np.testing.assert_array_equal(result.astype("float32"), np.where(wide > 1, wide, -2))


@pytest.mark.parametrize("arithmetic", [True, False])
def test_arithmetic_is_done_in_float32(arithmetic: bool) -> None:
    x = te.placeholder((8,), "bfloat16", name="x")
    y = te.compute((8,), lambda i: x[i] + x[i] if arithmetic else x[7 - i], name="y")
    function = te.create_prim_func([x, y])
    function = function.with_body(hide(function.body))
    after = legalize_arithmetic(function)
    assert after.same_as(function) != arithmetic
    assert isinstance(after, tvm.tirx.PrimFunc)
