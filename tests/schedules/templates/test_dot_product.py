"""Contractions by units for narrow operands, in software: any sizes, against sums of products of rounded operands."""

from __future__ import annotations

import math
import re
from dataclasses import replace

import ml_dtypes
import numpy as np
import pytest
import tvm_ffi
from hypothesis import given, settings
from hypothesis import strategies as st
from kernel_runner import TOLERANCE, Runner, draw_window, random, relative_error, run_convolution
from numpy_reference import convolution
from soft_units import BFLOAT16, UNITS, target_with
from tilewright.compiler.lowering.lower import lower_kernel
from tilewright.ir_passes.dialect.attention import attention
from tilewright.schedules.legalize import legalize
from tilewright.schedules.schedule import schedule_module
from tilewright.schedules.templates import dot_product, dot_product_packing
from tilewright.schedules.templates.contraction import Workload
from tilewright.schedules.templates.dot_product_choice import DotProductChoice, depth_of
from tilewright.schedules.templates.table import DOT_PRODUCT
from tilewright.schedules.templates.template import Chooser
from tvm import relax, s_tir, tirx

AMX, VECTOR = "AMX-BF16", "AVX512-BF16"
DTYPES = ("bfloat16", "bfloat16", "float32")


def rounded(array: np.ndarray) -> np.ndarray:
    return array.astype(ml_dtypes.bfloat16).astype("float32")


def check_convolution(run: Runner, unit: str, data, weights, strides, padding, dilation, groups, cores=2) -> None:
    target = target_with(unit, cores=cores)
    actual = run_convolution(run, data, weights, strides, padding, dilation, groups, target, "bfloat16")
    if groups == 1 or weights.shape[-1] % 2 == 0:  # channels of groups cannot be padded: odd ones are not rounded
        data, weights = rounded(data), rounded(weights)
    expected = convolution(data, weights, strides, padding, dilation, groups)
    assert relative_error(actual, expected) < TOLERANCE


@pytest.mark.parametrize("unit", [AMX, VECTOR])
@settings(max_examples=8, deadline=None, derandomize=True)
@given(data=st.data())
def test_any_convolution(run: Runner, unit: str, data: st.DataObject) -> None:
    def draw(low: int, high: int) -> int:
        return data.draw(st.integers(low, high))

    window = draw_window(draw, data)
    space = tuple(
        draw(size + 3, size + 24) if axis == len(window.reach) - 1 else draw(size + 3, size + 5)
        for axis, size in enumerate(window.reach)
    )
    groups = data.draw(st.sampled_from([1, 1, 1, 2]))
    channels, outputs = data.draw(st.sampled_from([1, 2, 3, 8, 24, 33, 40, 64])), draw(8, 70)
    image = random(draw(1, 2), *space, channels * groups, seed=1)
    weights = random(outputs * groups, *window.kernel, channels, seed=2)
    moved = (window.strides, window.padding, window.dilation)
    check_convolution(run, unit, image, weights, *moved, groups, cores=draw(1, 3))


@pytest.mark.parametrize(
    ("size", "channels", "outputs", "kernel", "stride", "padding"),
    [
        (56, 64, 64, 1, 1, 0),
        (14, 32, 96, 3, 1, 1),
        (17, 64, 48, 3, 1, 1),  # lines of 17 pixels: instructions of 9 rows
        (35, 32, 40, 5, 1, 2),
        (30, 3, 16, 7, 2, 3),  # the first layer: a line of the kernel is one run
        (15, 32, 32, 1, 2, 0),
    ],
)
def test_convolutions_of_networks(run: Runner, size, channels, outputs, kernel, stride, padding) -> None:
    image, weights = random(1, size, size, channels), random(outputs, kernel, kernel, channels, seed=1)
    check_convolution(run, AMX, image, weights, (stride,) * 2, (padding,) * 4, (1, 1), 1)


@pytest.mark.sweep(4)
@pytest.mark.parametrize("unit", [AMX, VECTOR])
@pytest.mark.parametrize(
    ("left", "right"),
    [
        ((1, 64), (64, 40)),
        ((128, 96), (96, 200)),
        ((50, 33), (33, 17)),  # odd depth: zeros behind it
        ((2, 3, 20, 32), (32, 48)),
        ((2, 3, 20, 32), (2, 3, 32, 24)),  # products of their own right sides
        ((3, 1, 5, 14), (4, 14, 9)),  # broadcast
    ],
)
@pytest.mark.parametrize("constant", [True, False])
def test_products(run: Runner, unit: str, left, right, constant: bool) -> None:
    a, b = random(*left), random(*right, seed=1)
    if constant:
        actual = run(lambda x: relax.op.matmul(x, relax.const(b)), a, target=target_with(unit), multiply_in="bfloat16")
    else:
        actual = run(relax.op.matmul, a, b, target=target_with(unit), multiply_in="bfloat16")
    assert relative_error(actual, rounded(a).astype("float64") @ rounded(b)) < TOLERANCE


def test_epilogue(run: Runner) -> None:
    a, b, c = random(40, 64), random(64, 48, seed=1), random(40, 48, seed=2)
    actual = run(
        lambda x, y: relax.op.nn.relu(relax.op.add(relax.op.matmul(x, relax.const(b)), y)),
        a,
        c,
        target=target_with(AMX),
        multiply_in="bfloat16",
    )
    assert relative_error(actual, np.maximum(rounded(a).astype("float64") @ rounded(b) + c, 0)) < TOLERANCE


@pytest.mark.parametrize("unit", [AMX, VECTOR])
@pytest.mark.parametrize(
    ("queries", "keys", "depth", "value_depth"), [(32, 32, 32, 32), (20, 29, 16, 40), (1, 7, 8, 8)]
)
def test_attention(run: Runner, unit: str, queries, keys, depth, value_depth) -> None:
    q, k = random(2, queries, 3, depth), random(2, keys, 3, depth, seed=1)
    v, mask = random(2, keys, 3, value_depth, seed=2), random(2, 1, queries, keys, seed=3)
    actual = run(
        lambda *operands: attention(operands, scale=0.3, nan_is_zero=False),
        q,
        k,
        v,
        mask,
        target=target_with(unit),
        multiply_in="bfloat16",
    )
    assert run.templates == ["attention"]
    scores = np.einsum("bqhd,bkhd->bhqk", rounded(q).astype("float64"), rounded(k)) * 0.3 + mask
    powers = np.exp(scores - scores.max(-1, keepdims=True))
    expected = np.einsum("bhqk,bkhd->bqhd", powers / powers.sum(-1, keepdims=True), rounded(v))
    # Probabilities are rounded to 8 bits before they multiply the values.
    assert relative_error(actual, expected) < 2**-8


def test_odd_depth_of_heads_is_multiplied_in_float32(run: Runner) -> None:
    q, k, v = random(1, 9, 2, 7), random(1, 9, 2, 7, seed=1), random(1, 9, 2, 8, seed=2)
    actual = run(
        lambda *operands: attention(operands, scale=1.0, nan_is_zero=False),
        q,
        k,
        v,
        target=target_with(AMX),
        multiply_in="bfloat16",
    )
    scores = np.einsum("bqhd,bkhd->bhqk", q.astype("float64"), k)
    powers = np.exp(scores - scores.max(-1, keepdims=True))
    expected = np.einsum("bhqk,bkhd->bqhd", powers / powers.sum(-1, keepdims=True), v)
    assert relative_error(actual, expected) < 1e-5


@pytest.mark.parametrize("unit", [UNITS[name] for name in BFLOAT16], ids=BFLOAT16)
@pytest.mark.parametrize("run_length", [2, 24, 32, 40, 62, 64, 112, 144])
def test_an_instruction_takes_a_divisor_of_the_run(unit, run_length: int) -> None:
    depth = depth_of(run_length, unit)
    assert run_length % depth == 0 and depth % unit.group == 0 and depth <= unit.depth


def test_the_largest_tiles_are_those_of_the_palette() -> None:
    """A kernel in the tiles that most registers are needed for names tiles 0 to 7 and no others."""
    target, workload = target_with(AMX, cores=1), Workload(1, 49, 512, (512,), *DTYPES)
    needed = {
        tile: tile.row_registers * tile.vectors + tile.row_registers + tile.vectors
        for tile in dot_product.tiles(workload, UNITS[AMX], target)
    }
    largest = [tile for tile, registers in needed.items() if registers == max(needed.values())]
    assert {(tile.row_registers, tile.vectors) for tile in largest} == {(2, 2)}
    for tile in largest[:: max(1, len(largest) // 2)]:
        decide = Chooser(target, (replace(DOT_PRODUCT, default=lambda *_, tile=tile: tile),))
        builder = relax.BlockBuilder()
        x = relax.Var("x", relax.TensorType((49, 512), "bfloat16"))
        with builder.function("main", [x]):
            with builder.dataflow():
                weights = relax.const(random(512, 512).astype(ml_dtypes.bfloat16))
                product = builder.emit(relax.op.matmul(x, weights, "float32"))
                result = builder.emit_output(relax.Tuple([product]))
            builder.emit_func_output(result)
        module = schedule_module(legalize(builder.get(), decide), decide)
        (function,) = (each for each in module.functions.values() if isinstance(each, tirx.PrimFunc))
        lowered = lower_kernel(function, "k", target.to_tvm(), parallel=False, units=target.units)
        text = str(lowered.function.script())
        numbers = {int(number) for number in re.findall(r"soft_tile\w+\", T.uint8\((\d+)\)", text)}
        assert numbers == set(range(8))


def test_long_products_use_full_tiles() -> None:
    target, workload = target_with(AMX, VECTOR), Workload(1, 1024, 1024, (1024,), *DTYPES)
    choice = dot_product.default(workload, target)
    assert choice.unit == AMX
    assert (choice.rows, choice.row_registers, choice.vectors) == (16, 2, 2)
    assert depth_of(1024, UNITS[AMX]) == 32
    assert math.prod(dot_product_packing.packed_shape(workload, choice, UNITS[AMX])) == 1024 * 1024


@pytest.mark.parametrize(
    ("rows", "columns", "depth", "in_blocks"),
    [
        (3136, 256, 64, True),  # 56x56: results leave L2 before their neighbours are there
        (3136, 64, 64, False),  # results stay in L2
        (196, 1024, 256, False),
    ],
)
def test_large_results_of_short_sums_are_computed_in_blocks_of_rows(rows, columns, depth, in_blocks: bool) -> None:
    target = replace(target_with(AMX, cores=1), l2_bytes=2 << 20)
    workload = Workload(1, rows, columns, (depth,), *DTYPES)
    choice = dot_product.default(workload, target)
    block = choice.tile_rows * choice.row_tiles
    assert (block < rows) == in_blocks
    if in_blocks:
        whole = replace(choice, row_tiles=math.ceil(rows / choice.tile_rows))
        assert choice.row_tiles >= 4 and block * columns * 4 <= target.l2_bytes / 8
        assert whole in dot_product.space(workload, target)
        assert dot_product.estimate(workload, whole, target) > 1.5 * dot_product.estimate(workload, choice, target)


def test_packing_keeps_pairs_together() -> None:
    workload = Workload(1, 8, 20, (6,), *DTYPES)
    unit = UNITS[VECTOR]
    choice = DotProductChoice(VECTOR, (6,), rows=1, row_registers=1, vectors=1)
    matrix = np.arange(20 * 5).reshape(1, 20, 5).astype(ml_dtypes.bfloat16)  # the sixth is padding
    packed = dot_product_packing.pack_constant(matrix, workload, choice, unit).astype("float32")
    assert packed.shape == (1, 2, 3, 1, 1, 16, 2)
    assert packed[0, 1, 0, 0, 0, 3].tolist() == [matrix[0, 19, 0], matrix[0, 19, 1]]
    assert packed[0, 1, 2, 0, 0, 3].tolist() == [matrix[0, 19, 4], 0]
    assert not packed[0, 1, :, 0, 0, 4:].any()


def test_what_an_instruction_takes_of_the_second_operand_lies_together() -> None:
    workload = Workload(1, 64, 70, (3, 64), *DTYPES)
    choice = DotProductChoice(AMX, (3, 64), rows=16, row_registers=2, vectors=2)
    matrix = random(1, 70, 3, 64).astype(ml_dtypes.bfloat16)
    packed = dot_product_packing.pack_constant(matrix, workload, choice, UNITS[AMX])
    assert packed.shape == (1, 3, 3, 2, 2, 16, 16, 2)
    tile = packed[0, 1, 2, 1, 0]  # columns 32 to 47, k (2, 32) to (2, 63)
    assert tile.tobytes() == matrix[0, 32:48, 2, 32:].reshape(16, 16, 2).swapaxes(0, 1).tobytes()


@pytest.mark.parametrize("kernel", [1, 3])
def test_copied_rows_do_not_share_sets_of_the_cache(run: Runner, kernel: int) -> None:
    """Rows of 512 bytes: 576 apart where they are copied, as an image with zeros around it and casts are."""
    data, weights = random(1, 9, 9, 256), random(32, kernel, kernel, 256, seed=1)
    check_convolution(run, AMX, data, weights, (1, 1), (kernel // 2,) * 4, (1, 1), 1)


@pytest.mark.parametrize(("line", "elements"), [(64, [256, 32]), (128, [512, 64])])
def test_rows_of_a_copy_are_a_line_apart_in_the_cache(line: int, elements: list[int]) -> None:
    target = target_with(VECTOR, cores=1)
    target = replace(target, core=replace(target.core, line_bytes=line))
    weights = relax.const(random(512, 48))
    module = Runner().scheduled(
        lambda x: relax.op.matmul(x, weights), random(40, 512), target=target, multiply_in="bfloat16"
    )
    found: list[list[int]] = []

    def note(block: s_tir.SBlock) -> None:
        for _, _, factor, offset in block.annotations.get("buffer_dim_align", ()):
            found.append([int(factor), int(offset)])

    for function in module.functions.values():
        if isinstance(function, tirx.PrimFunc):
            tvm_ffi.structural_walk(function.body, (s_tir.SBlock, note))
    assert found == [elements]
