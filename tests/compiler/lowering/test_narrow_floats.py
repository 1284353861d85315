"""Stored bfloat16 and float16: conversions to the bit, and arithmetic that is left to float32."""

from __future__ import annotations

import ctypes
import subprocess
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import pytest
import tvm
from tilewright import targets
from tilewright.compiler.codegen.llvm_objects import compile_object
from tilewright.compiler.library.elf import Elf
from tilewright.compiler.lowering.batches import Batch
from tilewright.compiler.lowering.lower import lower_kernel
from tilewright.compiler.lowering.narrow_floats import BFLOAT16, FLOAT16, Halves, NarrowFloat, legalize_arithmetic
from tilewright.hidden_floats import hide
from tvm import te, tirx

_EDGES = (0.0, -0.0, 1.0, -1.5, 3.14159265, 1e-3, 65504.0, 3.3895314e38, 3.4028235e38, 1e-40, np.inf, -np.inf, np.nan)
# Ties go to even: 1 + 2^-8 down, 1 + 3 * 2^-8 up; and a little on either side.
_TIES = (1 + 2**-8, 1 + 3 * 2**-8, 1 + 2**-8 + 2**-20, 1 + 2**-8 - 2**-20)
VALUES = np.array([*_EDGES, *_TIES, 1e38], dtype=np.float32)


def kernel(element: Any, shape: tuple[int, ...], dtype: str, *, lanes: int = 1) -> Any:
    """The kernel of one `te.compute`, computed in vectors of so many lanes."""
    x = te.placeholder(shape, dtype, name="x")
    y = te.compute(shape, lambda *index: element(x[index]), name="y")
    function = te.create_prim_func([x, y]).without_attr("global_symbol")
    function = function.with_body(hide(function.body))
    if lanes == 1:
        return function
    schedule = tvm.s_tir.Schedule(function)
    (loop,) = schedule.get_loops(schedule.get_sblock("y"))
    schedule.vectorize(schedule.split(loop, [None, lanes])[1])
    return schedule.mod["main"]


def run(element: Any, source: np.ndarray, dtype: str, result_dtype: str, folder: Path, **more: Any) -> np.ndarray:
    """The kernel of one `te.compute`, lowered and compiled as all kernels are."""
    function = kernel(element, source.shape, dtype, lanes=more.pop("lanes", 1))
    lowered = lower_kernel(function, "f", targets.host().to_tvm(), parallel=False, **more)
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


@pytest.mark.parametrize("lanes", [1, 8])
def test_every_float16(lanes: int, tmp_path: Path) -> None:
    halves = np.arange(1 << 16, dtype=np.uint16).view(np.float16)

    wide = run(
        lambda x: x.astype("float32"), halves, "float16", "float32", tmp_path, lanes=lanes, halves=Halves.INTEGERS
    )

    np.testing.assert_array_equal(wide, halves.astype(np.float32))
    assert np.array_equal(np.signbit(wide), np.signbit(halves))


@pytest.mark.parametrize("lanes", [1, 8])
@pytest.mark.parametrize(
    ("source", "halves"),
    [("float32", Halves.INTEGERS), ("float64", Halves.INTEGERS), ("float64", Halves.BY_FLOAT32)],
)
def test_between_all_float16(source: str, halves: Halves, lanes: int, tmp_path: Path) -> None:
    """Each float16, what is in the middle of two, and a little on either side; the largest, and beyond."""
    exact = np.arange(0x7C00, dtype=np.uint16).view(np.float16).astype(np.float64)
    middle = (exact[1:] + exact[:-1]) / 2
    near = [np.nextafter(middle.astype(source), np.array(end, source)).astype("f8") for end in (0, np.inf)]
    values = np.concatenate([exact, middle, *near, [65519.99, 65520.0, 1e30, 1e-30, np.inf, np.nan], np.zeros(2)])
    values = np.concatenate([values, -values]).astype(source)
    values = np.concatenate([values, np.zeros(-len(values) % lanes, source)])

    narrow = run(lambda x: x.astype("float16"), values, source, "float16", tmp_path, lanes=lanes, halves=halves)

    with np.errstate(over="ignore"):
        expected = values.astype(np.float16)
    np.testing.assert_array_equal(narrow, expected)
    assert np.array_equal(np.signbit(narrow[expected == 0]), np.signbit(expected[expected == 0]))


def test_float16_is_rounded_after_every_operation(tmp_path: Path) -> None:
    x = np.random.default_rng(0).standard_normal(4096).astype(np.float16)

    def element(value: Any) -> Any:
        return tirx.max(value * value + tirx.const(0.3, "float16"), value)

    for lanes in (1, 8):
        result = run(element, x, "float16", "float16", tmp_path, lanes=lanes, halves=Halves.INTEGERS)
        np.testing.assert_array_equal(result, np.maximum(x * x + np.float16(0.3), x))


@pytest.mark.filterwarnings("ignore::tilewright.errors.TargetWarning")
@pytest.mark.parametrize(
    "triple",
    [
        *("x86_64-linux-gnu", "armv7-linux-gnueabihf", "riscv64-linux-gnu", "i686-linux-gnu", "armv6-linux-gnueabihf"),
        *("riscv32-linux-gnu", "loongarch64-linux-gnu", "powerpc64le-linux-gnu", "mips64el-linux-gnu"),
    ],
)
def test_no_library_converts_float16(triple: str, tmp_path: Path) -> None:
    """Where there is no instruction: who calls and who is called may take them in other registers."""
    target = targets.parse(triple)
    assert target.half_features is None

    def element(value: Any) -> Any:
        half = value.astype("float16")
        chosen = tirx.if_then_else(half < tirx.const(2, "float16"), half * half, tirx.const(-1, "float16"))
        return chosen.astype("float64")

    for name in ("float32", "float64"):
        batch = Batch(("a", 0), ["f"], [kernel(element, (64,), name)], target, parallel=False)
        compile_object(batch.lowered, target, "f", tmp_path / "f.o")
        undefined = {each.name for each in Elf((tmp_path / "f.o").read_bytes()).symbols() if not each.is_defined}
        assert not any("hf" in each or each.endswith("2h") or "h2" in each for each in undefined), undefined


@pytest.mark.parametrize("kind", [BFLOAT16, FLOAT16], ids=lambda kind: kind.dtype)
@pytest.mark.parametrize("arithmetic", [True, False])
def test_arithmetic_is_done_in_float32(arithmetic: bool, kind: NarrowFloat) -> None:
    x = te.placeholder((8,), kind.dtype, name="x")
    y = te.compute((8,), lambda i: x[i] + x[i] if arithmetic else x[7 - i], name="y")
    function = te.create_prim_func([x, y])
    function = function.with_body(hide(function.body))
    after = legalize_arithmetic(function, kind)
    assert after.same_as(function) != arithmetic
    assert isinstance(after, tvm.tirx.PrimFunc)
