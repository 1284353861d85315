"""Multiply-adds that take an operand by its place: what is loaded for them, and the same sums as without them."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

import numpy as np
import onnx
import pytest
from assembly import innermost_loops, kernels_in_assembly
from kernel_runner import Runner, random, relative_error, run_convolution
from numpy_reference import convolution
from small_models import model, node
from tilewright import targets
from tilewright.schedules.templates import contraction, contraction_choice
from tilewright.schedules.templates.contraction import MultiplyAddChoice, Workload
from tilewright.schedules.templates.steps_of_k import LoopsOverK, loaded_at_once, loads_of, loops_over_k
from tilewright.schedules.templates.template import Decision
from tilewright.targets.target import Target


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
        ("aarch64-linux-gnu", "neoverse-v1", (96, 256, 192), "usmmla", 0.6),
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
    tiles = list(contraction_choice.register_tiles(Workload(1, 96, 96, (3, 3, 64)), target))

    assert {tile.k_step for tile in tiles} == {1, 4, 8}
    assert all(
        tile.rows * (tile.vectors + loads_of(tile.k_step, target)) + tile.vectors <= 32
        for tile in tiles
        if tile.k_step > 1
    )


@pytest.mark.parametrize(
    ("k", "runs", "found"),
    [
        ((3, 3, 64), (), {((), 1), ((), 4), ((), 8)}),
        ((3, 3, 12), (), {((), 1), ((), 4)}),  # more would be loops of one step
        ((7, 7, 3), ((7, 21), (7, 28)), {((), 1), ((), 3), ((7, 21), 7)}),
        ((3, 3, 1), ((3, 3),), {((), 1), ((3, 3), 3)}),
        ((77,), (), {((), 1), ((), 11)}),
        ((37,), (), {((), 1)}),
    ],
)
def test_steps_that_are_written_out(k: tuple[int, ...], runs: tuple[tuple[int, ...], ...], found: set) -> None:
    target = targets.parse("aarch64-linux-gnu")
    assert {(each.k, each.k_step) for each in loops_over_k(k, runs, target)} == found
    assert loops_over_k(k, runs, replace(target, operand_lanes=1, written_steps=1)) == [LoopsOverK()]


def test_last_loads_end_with_the_last_step() -> None:
    target = targets.parse("aarch64-linux-gnu")
    assert [(loaded_at_once(steps, target), loads_of(steps, target)) for steps in (1, 2, 3, 4, 7, 11)] == [
        (1, 1),
        (2, 1),
        (2, 2),
        (4, 1),
        (4, 2),
        (4, 3),
    ]


@pytest.mark.parametrize(("channels", "kernel"), [(3, 7), (1, 3), (11, 3)])
def test_the_same_sums(channels: int, kernel: int) -> None:
    """Elements that stand side by side are loaded at once, others one by one; the bits are those of single loads."""
    plain = targets.parse("host", cores=1)
    several = replace(plain, operand_lanes=4, written_steps=8)
    data, weights = random(2, 7, 9, channels, seed=1), random(40, kernel, kernel, channels, seed=2)
    arguments = (data, weights, (2, 2), (1, 1, 1, 1), (1, 1), 1)
    chosen: list[MultiplyAddChoice] = []

    def most_steps(templates: Any, workload: Any, target: Target) -> Decision[Any, Any]:
        template = next(each for each in templates if each.name == contraction.TEMPLATE)
        chosen.append(max(template.space(workload, target), key=lambda choice: (len(choice.k), choice.k_step)))
        return Decision(template, workload, chosen[-1])

    one = run_convolution(Runner(), *arguments, plain)
    at_once = run_convolution(Runner(), *arguments, several, choose=most_steps)

    assert chosen[0].k_step > 1 and bool(chosen[0].k) == (channels < 4)
    assert relative_error(at_once, convolution(*arguments)) < 1e-5
    np.testing.assert_array_equal(one, at_once)
