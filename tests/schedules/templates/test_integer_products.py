"""Products of 8-bit integers, by every unit: bit for bit the sums and the requantized results of numpy."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from kernel_runner import LAYOUTS, OPERATORS, Runner, draw_window
from numpy_reference import convolution
from soft_units import INTEGERS, target_with
from tilewright import targets
from tilewright.ir_passes.dialect.quantize import requantize
from tilewright.ir_passes.dialect.quantized_arithmetic import requantized
from tilewright.schedules.templates import dot_product
from tilewright.targets.host import read_host
from tvm import relax

Array = np.ndarray[Any, Any]
# One CPU of every set of instructions.
CPUS = {"x86-64": "SSE2-INT8", "haswell": "AVX2-INT8", "alderlake": "AVX-VNNI", "skylake-avx512": "AVX512-INT8"}
CPUS |= {"icelake-server": "AVX512-VNNI", "znver5": "AVX512-VNNI"}


def integers(generator: np.random.Generator, dtype: str, shape: tuple[int, ...]) -> Array:
    """Whole numbers over all of their range, both ends often."""
    limits = np.iinfo(dtype)
    values = generator.integers(limits.min, limits.max, shape, endpoint=True)
    ends = generator.choice([limits.min, limits.max], shape)
    return np.where(generator.random(shape) < 0.3, ends, values).astype(dtype)


def requantized_product(run: Runner, build: Any, sums: Array, x: Array, target: targets.Target, signed: bool) -> None:
    """Compares the sums of `build`, and what they are requantized to, with those of numpy."""
    generator = np.random.default_rng(3)
    columns, dtype = sums.shape[-1], "int8" if signed else "uint8"
    multiplier = (generator.uniform(20, 120, columns) / (np.abs(sums).max() + 1)).astype("float32")
    zero = np.asarray(-5 if signed else 130, "int32")
    bias = generator.integers(-(1 << 20), 1 << 20, columns).astype("int32")
    low = -20 if signed else 0

    def whole(data: Any) -> Any:
        biased = relax.op.add(build(data), relax.const(bias))
        return requantize(biased, relax.const(multiplier), relax.const(zero), dtype, low)

    limits = np.iinfo(dtype)
    expected = requantized(sums + bias, multiplier, zero, dtype, low, int(limits.max))
    np.testing.assert_array_equal(run(whole, x, target=target), expected)


@pytest.mark.sweep(3)
@pytest.mark.parametrize("unit", INTEGERS)
@settings(max_examples=4, deadline=None, derandomize=True)
@given(data=st.data())
def test_any_convolution(run: Runner, unit: str, data: st.DataObject) -> None:
    def draw(low: int, high: int) -> int:
        return data.draw(st.integers(low, high))

    window = draw_window(draw, data)
    space = tuple(draw(size + 3, size + 12) for size in window.reach)
    groups, channels, outputs = data.draw(st.sampled_from([1, 1, 2])), data.draw(st.sampled_from([1, 3, 8, 24])), 0
    outputs = draw(8, 50)
    generator = np.random.default_rng(draw(0, 99))
    x = integers(generator, "uint8", (draw(1, 2), *space, channels * groups))
    w = integers(generator, "int8", (outputs * groups, *window.kernel, channels))
    rank = len(window.kernel)
    padding = (0,) * (2 * rank)
    sums = convolution(x.astype("f8"), w.astype("f8"), window.strides, padding, window.dilation, groups)
    layout, kernel_layout = LAYOUTS[rank]

    def build(data: Any) -> Any:
        return OPERATORS[rank](
            data,
            relax.const(w),
            strides=window.strides,
            padding=padding,
            dilation=window.dilation,
            groups=groups,
            data_layout=layout,
            kernel_layout=kernel_layout,
            out_dtype="int32",
        )

    requantized_product(run, build, sums.astype("int32"), x, target_with(unit), signed=bool(draw(0, 1)))


@pytest.mark.parametrize("cpu", CPUS)
def test_the_units_of_this_machine(run: Runner, cpu: str) -> None:
    target = targets.parse("x86_64-linux-gnu", cpu=cpu, cores=1)
    needed = target.for_dtypes({"uint8", "int8"})
    assert CPUS[cpu] in [unit.name for unit in target.units]
    if not set(needed.required_features) <= read_host().features:
        pytest.skip(f"this processor is no {cpu}")
    generator = np.random.default_rng(1)
    for rows, depth, columns in ((7, 240, 80), (1, 26, 600), (5, 600, 24)):
        x, w = integers(generator, "uint8", (rows, depth)), integers(generator, "int8", (depth, columns))
        sums = x.astype("int32") @ w.astype("int32")
        requantized_product(
            run, lambda data, w=w: relax.op.matmul(data, relax.const(w), "int32"), sums, x, target, signed=True
        )
        assert dot_product.TEMPLATE in run.templates


@pytest.mark.parametrize("unit", ["SSE2-INT8", "AVX2-INT8", "AVX512-VNNI", "AMX-INT8"])
def test_products_of_two_activations(run: Runner, unit: str) -> None:
    """The second operand is packed when the kernel runs; one of them may be the same for all of a batch."""
    generator = np.random.default_rng(1)
    x, y = integers(generator, "uint8", (2, 1, 9, 26)), integers(generator, "int8", (3, 26, 20))
    actual = run(lambda a, b: relax.op.matmul(a, b, "int32"), x, y, target=target_with(unit))
    np.testing.assert_array_equal(actual, np.matmul(x.astype("int32"), y.astype("int32")))
    assert dot_product.TEMPLATE in run.templates


def test_extremes_do_not_saturate(run: Runner) -> None:
    """255 * 127 twice is more than 16 bits hold: what adds pairs of products with saturation gets this wrong."""
    x, w = np.full((3, 64), 255, "uint8"), np.full((64, 16), 127, "int8")
    for unit in INTEGERS:
        actual = run(lambda data: relax.op.matmul(data, relax.const(w), "int32"), x, target=target_with(unit))
        assert (actual == 255 * 127 * 64).all()
