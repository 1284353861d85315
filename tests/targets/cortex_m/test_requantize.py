"""Requantizing in integers alone, and by the rounding of floats: numpy's bits, halves and large sums included."""

from __future__ import annotations

import ctypes
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from c_sources import WARNINGS
from tilewright.ir_passes.dialect.quantized_arithmetic import quantized, requantized
from tilewright.targets.cortex_m.requantize import IN_INTEGERS, QUOTIENTS_IN_INTEGERS, WITH_FLOATS
from tilewright.targets.target import TargetFunction

Array = np.ndarray[Any, Any]
RANGES = ((-128, 127), (0, 255), (-20, 101), (-32768, 32767))
ARGUMENTS = (
    "const int32_t *sums, const float *factors, int32_t *out, int32_t zero, int32_t low, int32_t high, int32_t n"
)


def library(function: TargetFunction, folder: Path, arguments: str = ARGUMENTS) -> Any:
    source, built = folder / "requantize.c", folder / "requantize.so"
    source.write_text(
        f"#include <stdint.h>\n#include <string.h>\n{function.text}\n"
        f"void all({arguments});\nvoid all({arguments}) {{\n"
        f"  for (int32_t i = 0; i < n; ++i) out[i] = {function.name}(sums[i], factors[i], zero, low, high);\n}}\n"
    )
    command = ["gcc", "-std=c99", "-O2", "-ffp-contract=off", *WARNINGS.split(), "-shared", "-fPIC"]
    subprocess.run([*command, "-o", str(built), str(source)], check=True)
    return ctypes.CDLL(str(built))


def hard_cases() -> tuple[Array, Array]:
    """Sums and multipliers: products near halves, before and after they are rounded to float32; all sizes of both."""
    generator = np.random.default_rng(0)
    factors = np.exp2(generator.uniform(-24, 2, 1 << 18)).astype(np.float32)
    halves = (generator.integers(-300, 300, factors.size) + 0.5) / factors.astype(np.float64)
    sums = np.clip(np.rint(halves), -(2.0**31), 2.0**31 - 1).astype(np.int32)
    # Factors that bring a sum as near to a half as a float32 can.
    near = (generator.integers(-300, 300, sums.size) + 0.5) / np.where(sums == 0, 1, sums)
    moved = near.astype(np.float32).view(np.int32) + generator.integers(-2, 3, sums.size).astype(np.int32)
    anything = generator.integers(-(2**31), 2**31, sums.size).astype(np.int32) >> generator.integers(0, 31, sums.size)
    powers = np.exp2(generator.integers(-30, 3, sums.size)).astype(np.float32)
    return (
        np.concatenate([sums, sums, anything, anything, [0, 1, -(2**31), 2**31 - 1]]).astype(np.int32),
        np.concatenate([factors, moved.view(np.float32), factors, powers, [1e-40, 0, 1, -1]]).astype(np.float32),
    )


@pytest.mark.parametrize("function", [IN_INTEGERS, WITH_FLOATS], ids=["integers", "floats"])
def test_the_bits_of_numpy(function: TargetFunction, tmp_path: Path) -> None:
    made = library(function, tmp_path)
    sums, factors = hard_cases()
    for low, high in RANGES:
        for zero in (0, 3, low, high):
            found = np.empty_like(sums)
            pointers = (each.ctypes.data_as(ctypes.c_void_p) for each in (sums, factors, found))
            made.all(*pointers, zero, low, high, sums.size)
            expected = requantized(sums, factors, np.asarray(zero), "int32", low, high)
            np.testing.assert_array_equal(found, expected)


def test_the_cases_are_hard() -> None:
    """One rounding instead of two gives some of them wrongly."""
    sums, factors = hard_cases()
    once = np.rint(sums.astype(np.float64) * factors.astype(np.float64))
    twice = np.rint(sums.astype(np.float32) * factors)
    assert np.count_nonzero(once[np.abs(once) < 300] != twice[np.abs(once) < 300]) > 100


def test_quotients_of_floats(tmp_path: Path) -> None:
    """Of all sizes, near halves, and what no integer is: of NaN any within range."""
    made = library(QUOTIENTS_IN_INTEGERS, tmp_path, ARGUMENTS.replace("int32_t *sums", "float *sums"))
    generator = np.random.default_rng(1)
    scales = np.exp2(generator.uniform(-20, 4, 1 << 18)).astype(np.float32)
    halves = ((generator.integers(-600, 600, scales.size) / 2) * scales.astype(np.float64)).astype(np.float32)
    near = (halves.view(np.int32) + generator.integers(-3, 4, scales.size).astype(np.int32)).view(np.float32)
    anything = generator.integers(-(2**31), 2**31, scales.size).astype(np.int32).view(np.float32)
    odd = np.array([0, -0.0, np.inf, -np.inf, 1e-45, 3e38, 1, 0.5, 1.5, -2.5, np.inf, 1e38], np.float32)
    dividends = np.concatenate([halves, near, anything, anything, odd])
    powers = np.exp2(generator.integers(-126, 127, scales.size)).astype(np.float32)
    divisors = np.concatenate([scales, scales, scales, powers, np.ones(odd.size - 2), [1e36, 1e37]]).astype(np.float32)
    is_number = ~np.isnan(dividends)
    for low, high in RANGES:
        for zero in (0, 3, low, high):
            found = np.empty(dividends.size, np.int32)
            pointers = (each.ctypes.data_as(ctypes.c_void_p) for each in (dividends, divisors, found))
            made.all(*pointers, zero, low, high, dividends.size)
            expected = quantized(dividends, divisors, np.asarray(zero), "int32", low, high)
            np.testing.assert_array_equal(found[is_number], expected[is_number])
            assert found.min() >= low and found.max() <= high
