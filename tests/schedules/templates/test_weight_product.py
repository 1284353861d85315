"""Products with weights of a few bits: what is unpacked is exactly what numpy dequantizes, by every instruction set."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from kernel_runner import TOLERANCE, Runner, random, relative_error
from tilewright import targets
from tilewright.ir_passes.dialect.quantized_arithmetic import dequantized
from tilewright.ir_passes.dialect.weight_product import block_of_row, weight_product
from tilewright.schedules.operators import weight_product as lowering
from tilewright.schedules.templates.weight_product import TEMPLATE
from tilewright.targets.host import read_host
from tvm import relax

Array = np.ndarray[Any, Any]
CPUS = ("x86-64", "haswell", "skylake-avx512", "znver5")


def weights(seed: int, depth: int, columns: int, bits: int, block: int, dtype: str, zeros: bool) -> list[Array]:
    """Integers over all of their range, scales and zero points."""
    generator = np.random.default_rng(seed)
    low = -(1 << (bits - 1)) if dtype == "int8" else 0
    integers = generator.integers(low, low + (1 << bits), (depth, columns)).astype(dtype)
    blocks = -(-depth // block)
    scale = generator.uniform(0.01, 0.1, (blocks, columns)).astype("float32")
    zero = generator.integers(low, low + (1 << bits), (blocks, columns) if zeros else ()).astype("int32")
    return [integers, scale, zero]


def expanded(arrays: list[Array], block: int) -> Array:
    """The floats that weights stand for."""
    integers, *parameters = arrays
    rows = block_of_row(len(integers), block)
    return dequantized(integers, *(each[rows] if each.ndim else each for each in parameters), "float32")


def product(arrays: list[Array], bits: int, block: int) -> Any:
    return lambda x: weight_product(x, *map(relax.const, arrays), bits=bits, block=block)


def here(cpu: str) -> targets.Target:
    target = targets.parse("x86_64-linux-gnu", cpu=cpu, cores=2)
    if not set(target.required_features) <= read_host().features:
        pytest.skip(f"this processor is no {cpu}")
    return replace(target, units=())


@pytest.mark.parametrize("cpu", CPUS)
@settings(max_examples=2, deadline=None, derandomize=True)
@given(data=st.data())
def test_any_weights(run: Runner, cpu: str, data: st.DataObject) -> None:
    """Each row of the unit matrix asks for a row of weights: terms are exact, and so is their sum."""
    bits, dtype = data.draw(st.sampled_from([4, 8])), data.draw(st.sampled_from(["int8", "uint8"]))
    block = data.draw(st.sampled_from([8, 16, 32, 64, 1000]))
    depth, columns = data.draw(st.integers(1, 90)), data.draw(st.integers(1, 70))
    arrays = weights(data.draw(st.integers(0, 99)), depth, columns, bits, block, dtype, data.draw(st.booleans()))
    x = np.eye(depth, dtype="float32")
    np.testing.assert_array_equal(run(product(arrays, bits, block), x, target=here(cpu)), expanded(arrays, block))
    assert run.templates == [TEMPLATE]


@pytest.mark.parametrize(
    ("rows", "depth", "columns", "bits", "block"),
    [(1, 600, 240, 4, 32), (2, 240, 48, 8, 128), (5, 80, 24, 4, 80), (8, 128, 600, 4, 32)],
)
def test_sums(run: Runner, rows: int, depth: int, columns: int, bits: int, block: int) -> None:
    arrays = weights(1, depth, columns, bits, block, "uint8", True)
    x = random(1, rows, depth)
    expected = x.astype("float64") @ expanded(arrays, block)
    assert relative_error(run(product(arrays, bits, block), x), expected) < TOLERANCE


@pytest.mark.parametrize("triple", ["aarch64-linux-gnu", "x86_64-linux-gnu", "thumbv7em-none-eabihf"])
def test_few_rows_gain_by_fewer_bits_and_many_do_not(triple: str) -> None:
    target = targets.parse(triple, cores=1)
    arrays = weights(0, 2048, 2048, 4, 32, "int8", False)

    def gains(rows: int) -> bool:
        data = relax.Var("x", relax.TensorType((rows, 2048), "float32"))
        return lowering.gains(relax.BlockBuilder().normalize(product(arrays, 4, 32)(data)), target)

    assert gains(1)
    assert gains(2000) == target.saves_memory
