"""Multiply-adds that take an operand by its place: the inner loop of AArch64, and the same sums as without them."""

from __future__ import annotations

import re
from dataclasses import replace

import numpy as np
import onnx
import pytest
from assembly import innermost_loops, kernels_in_assembly
from kernel_runner import Runner, random, relative_error, run_convolution
from numpy_reference import convolution
from small_models import model, node
from tilewright import targets
from tilewright.schedules.templates import contraction
from tilewright.schedules.templates.contraction import Workload

BY_LANE = re.compile(r"fmla\tv\d+\.4s, v\d+\.4s, v\d+\.s\[[0-3]\]")


def dense(rows: int, depth: int, columns: int) -> onnx.ModelProto:
    weights = random(depth, columns, seed=1)
    nodes = [node("MatMul", ["x", "w"], "y", "dense")]
    return model(nodes, {"x": ("float32", (rows, depth))}, {"y": ("float32", (rows, columns))}, {"w": weights})


@pytest.mark.parametrize(("cpu", "size"), [("cortex-a72", (96, 256, 192)), ("neoverse-n1", (100, 80, 240))])
def test_hot_loops_are_multiply_adds(cpu: str, size: tuple[int, int, int]) -> None:
    (text,) = kernels_in_assembly(dense(*size), "aarch64-linux-gnu", cpu=cpu).values()

    hot = [loop for loop in innermost_loops(text) if any(line.startswith("fmla") for line in loop)]

    assert hot
    for loop in hot:
        assert sum(bool(BY_LANE.fullmatch(line)) for line in loop) >= 0.8 * len(loop)
        assert not [line for line in loop if re.search(r"\[sp\b", line)], "a register is spilled"


def quantized_dense(rows: int, depth: int, columns: int) -> onnx.ModelProto:
    constants = {
        "w": np.random.default_rng(0).integers(-127, 128, (depth, columns)).astype("int8"),
        "s": np.float32(0.1),
        "z": np.uint8(128),
        "sw": np.float32(0.01),
        "zw": np.int8(0),
    }
    nodes = [
        node("QuantizeLinear", ["x", "s", "z"], "q", "quantize"),
        node("DequantizeLinear", ["q", "s", "z"], "d", "dequantize"),
        node("DequantizeLinear", ["w", "sw", "zw"], "dw", "weights"),
        node("MatMul", ["d", "dw"], "y", "dense"),
    ]
    return model(nodes, {"x": ("float32", (rows, depth))}, {"y": ("float32", (rows, columns))}, constants)


# Products of matrices of two rows do twice as much in an instruction, for as many loads and zips. ARMv7 and RISC-V load
# weights and make them wider for as many products as a tile has rows.
@pytest.mark.parametrize(
    ("target", "cpu", "size", "name", "share"),
    [
        ("aarch64-linux-gnu", "neoverse-n1", (96, 256, 192), "sdot", 0.8),
        ("aarch64-linux-gnu", "neoverse-v1", (96, 256, 192), "usmmla", 0.65),
        ("aarch64-linux-gnu", "cortex-a53", (100, 256, 192), "smlal2?", 0.8),
        ("armv7-linux-gnueabihf", "cortex-a7", (96, 64, 64), r"vmlal\.s16", 0.5),
        ("armv7-linux-gnueabihf", "cortex-a15", (96, 64, 64), r"vmlal\.s16", 0.5),
        ("riscv64-linux-gnu", "spacemit-x60", (96, 64, 64), r"vwmacc\.vx", 0.35),
    ],
)
def test_hot_loops_are_products_of_integers(
    target: str, cpu: str, size: tuple[int, int, int], name: str, share: float
) -> None:
    texts = kernels_in_assembly(quantized_dense(*size), target, cpu=cpu).values()
    counts = [
        (sum(bool(re.match(rf"{name}\t", line)) for line in loop), loop)
        for text in texts
        for loop in innermost_loops(text)
    ]

    hot = [(count, loop) for count, loop in counts if count]
    assert hot
    for count, loop in hot:
        assert count >= share * len(loop)
        assert not [line for line in loop if re.search(r"\[sp\b", line)], "a register is spilled"


def test_tiles_fit_the_registers() -> None:
    target = targets.parse("aarch64-linux-gnu", cpu="cortex-a72")
    tiles = list(contraction.register_tiles(Workload(1, 96, 96, (3, 3, 64)), target))

    assert {tile.k_step for tile in tiles} == {1, 4}
    assert all(tile.rows * tile.vectors + tile.vectors + tile.rows <= 32 for tile in tiles if tile.k_step > 1)
    odd = contraction.register_tiles(Workload(1, 96, 96, (3, 3, 3)), target)
    assert {tile.k_step for tile in odd} == {1}


def test_the_same_sums() -> None:
    """Elements that stand side by side are loaded at once, others one by one; the bits are those of single loads."""
    plain = targets.parse("host", cores=1)
    data, weights = random(2, 7, 9, 24, seed=1), random(40, 3, 3, 24, seed=2)
    arguments = (data, weights, (2, 2), (1, 1, 1, 1), (1, 1), 1)

    one, several = (run_convolution(Runner(), *arguments, replace(plain, operand_lanes=n)) for n in (1, 4))

    assert relative_error(several, convolution(*arguments)) < 1e-5
    np.testing.assert_array_equal(one, several)
