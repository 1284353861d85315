"""Winograd's algorithm with integers: the bits of a direct sum for every unit, and where it is used."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from kernel_runner import Runner
from numpy_reference import convolution
from soft_units import target_with
from tilewright import targets
from tilewright.ir_passes.dialect.quantize import requantize
from tilewright.ir_passes.dialect.quantized_arithmetic import requantized
from tilewright.schedules.templates import winograd
from tilewright.schedules.templates.contraction import Workload
from tilewright.schedules.templates.table import TEMPLATES
from tilewright.schedules.templates.taps import Filter
from tilewright.schedules.templates.template import Chooser, Decision, choose_default
from tilewright.schedules.templates.winograd_transform import INTEGER_OUTPUTS, INTEGER_SHIFT, INTEGER_TAPS, transform
from tvm import relax

Array = np.ndarray[Any, Any]
ISAS = ["SSE2", "AVX2", "AVX512"]


def always(templates, workload, target):
    """The template wherever it can be, whether it pays or not."""
    found = [template for template in templates if template.name == winograd.OF_INTEGERS]
    if not found:
        return choose_default(templates, workload, target)
    return Decision(found[0], workload, found[0].default(workload, target))


def with_units(isa: str, cores: int = 1) -> targets.Target:
    return target_with(f"{isa}-INT8", f"{isa}-INT16", cores=cores)


def integers(generator: np.random.Generator, dtype: str, shape: tuple[int, ...]) -> Array:
    """Over all of the range; whole windows are at one of its ends."""
    limits = np.iinfo(dtype)
    values = generator.integers(limits.min, limits.max, shape, endpoint=True)
    ends = generator.choice([limits.min, limits.max], (*shape[:2], 1, 1))
    return np.where(generator.random((*shape[:2], 1, 1)) < 0.5, ends, values).astype(dtype)


def convolved(x: Array, w: Array, padding: tuple[int, ...], fill: int) -> Array:
    widths = [(0, 0), (padding[0], padding[2]), (padding[1], padding[3]), (0, 0)]
    whole = np.pad(x.astype("float64"), widths, constant_values=fill)
    return convolution(whole, w.astype("float64"), (1, 1), (0,) * 4, (1, 1), x.shape[-1] // w.shape[-1]).astype("int32")


def convolve(data: Any, w: Array, padding: tuple[int, ...], fill: int) -> Any:
    groups = int(data.ty.shape[-1]) // w.shape[-1]
    top, left, bottom, right = padding
    data = relax.op.nn.pad(data, [0, 0, top, bottom, left, right, 0, 0], pad_value=float(fill))
    layouts = {"data_layout": "NHWC", "kernel_layout": "OHWI", "out_dtype": "int32"}
    return relax.op.nn.conv2d(data, relax.const(w), groups=groups, **layouts)


@pytest.mark.parametrize("outputs", INTEGER_OUTPUTS)
def test_scaled_matrices_are_integers(outputs: int) -> None:
    matrices = transform(outputs, INTEGER_TAPS[0])
    scaled = np.kron(matrices.weights, matrices.weights) * (1 << INTEGER_SHIFT)
    for matrix in (matrices.data, matrices.results, scaled):
        assert (matrix == np.round(matrix)).all()
    # What is transformed is int16, however large the integers of 8 bits are.
    assert np.abs(np.kron(matrices.data, matrices.data)).sum(1).max() * 255 < 1 << 15
    assert np.abs(scaled).sum(1).max() * 128 < 1 << 15


@pytest.mark.sweep(2)
@pytest.mark.parametrize("isa", ISAS)
@settings(max_examples=3, deadline=None, derandomize=True)
@given(data=st.data())
def test_the_bits_of_a_direct_sum(run: Runner, isa: str, data: st.DataObject) -> None:
    def draw(low: int, high: int) -> int:
        return data.draw(st.integers(low, high))

    generator = np.random.default_rng(draw(0, 99))
    dtype = data.draw(st.sampled_from(["uint8", "int8"]))
    target = with_units(isa, cores=draw(1, 3))
    groups = draw(1, 3)
    channels, columns = 8 * groups * draw(1, 4), 4 * groups * draw(1, 5)
    padding, fill = tuple(draw(0, 2) for _ in range(4)), draw(0, 127)
    x = integers(generator, dtype, (draw(1, 2), draw(3, 12), draw(3, 12), channels))
    w = integers(generator, "int8", (columns, 3, 3, channels // groups))
    sums = convolved(x, w, padding, fill)
    multiplier = (generator.uniform(20, 120, columns) / (np.abs(sums).max() + 1)).astype("float32")
    zero, bias = np.asarray(7, "int32"), generator.integers(-(1 << 20), 1 << 20, columns).astype("int32")

    def build(given: Any) -> Any:
        biased = relax.op.add(convolve(given, w, padding, fill), relax.const(bias))
        return requantize(biased, relax.const(multiplier), relax.const(zero), "uint8", 7)

    expected = requantized(sums + bias, multiplier, zero, "uint8", 7, 255)
    np.testing.assert_array_equal(run(build, x, target=target, choose=always), expected)
    assert winograd.OF_INTEGERS in run.templates


def test_the_largest_sums(run: Runner) -> None:
    """Sums of the transformed operands wrap, the result does not."""
    target = targets.parse("x86_64-linux-gnu", cpu="x86-64", cores=1)
    x, w = np.full((1, 4, 4, 1808), 255, "uint8"), np.full((4, 3, 3, 1808), -128, "int8")
    actual = run(lambda given: convolve(given, w, (0,) * 4, 0), x, target=target, choose=always)
    assert run.templates == [winograd.OF_INTEGERS] and (actual == -255 * 128 * 9 * 1808).all()


def workload_of(channels: int, columns: int, size: int = 28, *, lhs: str = "uint8", **changed: Any) -> Workload:
    """A 3x3 convolution with padding."""
    taps = replace(Filter(1, (size, size), (3, 3), (1, 1), (1, 1), is_constant=True), **changed)
    return Workload(1, size * size, columns, (3, 3, channels), lhs, "int8", "int32", size, filter=taps)


@pytest.mark.parametrize(
    ("cpu", "workload", "pays"),
    [
        ("x86-64-v3", workload_of(128, 128), True),
        ("x86-64-v3", workload_of(16, 8, 7), False),
        ("znver5", workload_of(128, 128), False),  # VNNI multiplies four at once
        ("sapphirerapids", workload_of(128, 128), False),
    ],
)
def test_where_it_pays(cpu: str, workload: Workload, pays: bool) -> None:
    decision = Chooser(targets.parse("x86_64-linux-gnu", cpu=cpu, cores=1), TEMPLATES)(workload)
    assert (decision.template.name == winograd.OF_INTEGERS) == pays


@pytest.mark.parametrize(
    "workload",
    [
        workload_of(32, 32, strides=(2, 2)),
        workload_of(32, 32, is_constant=False),
        workload_of(20, 32),
        workload_of(32, 6),
        workload_of(2048, 32),  # sums that could need all of 32 bits already
        replace(workload_of(32, 32, lhs="float32"), rhs="float32", accumulator="float32"),
        replace(workload_of(32, 32), rhs="uint8"),
    ],
)
def test_what_it_does_not_take(workload: Workload) -> None:
    target = targets.parse("x86_64-linux-gnu", cpu="x86-64-v3")
    assert winograd.takes_integers(workload_of(32, 32), target)
    assert not winograd.takes_integers(workload, target)
    assert not winograd.takes_integers(workload_of(32, 32), targets.parse("aarch64-linux-gnu"))
