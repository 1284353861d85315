"""Contractions by dot-product instructions: operands of 16 bits, sums in float32.

The same C[batch, row, column] = sum over k of A(batch, row, k) * B(batch, column, k) as in `contraction.py`, for units
that add several products at once (`targets.DotUnit`): vector instructions that take a pair of k for 16 columns, and
matrix instructions that take a tile of 16 rows by 32 k and one of 32 k by 16 columns. `B` is packed as

    packed[batch, column // tile_columns, k..., run // group, column % tile_columns, run % group]

where `run` is the innermost part of k: elements that lie side by side in A, so that one load takes a group or a tile
row of them. The loop nest:

    parallel (batch, block of rows, panel of columns)
        for tile of rows in block
            local C[row_registers * rows, vectors * lanes] = 0          float32, in registers
            for k outside the run, for chunk of the run
                unrolled row registers, unrolled vectors: one instruction each
            epilogue(C) -> output

The innermost part is written as loops over one instruction's rows, lanes and terms, marked for
`compiler/lowering/select_dots.py`, which puts the instruction in their place; left alone they compute the same.

Rows of a matrix instruction must lie at one distance in A. So an instruction never leaves a line of pixels
(`Workload.line`): lines are as long as whole instructions, and what is too long of them is computed and dropped.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import ml_dtypes
import numpy as np
import numpy.typing as npt
from tvm import te, tirx

from ...targets.target import DotUnit, Target
from ..tensorir.annotations import ANCHOR, FLOPS, STAGE
from ..tensorir.expressions import Scalar, int64, int64s, largest_divisor
from ..tensorir.padding import within
from .contraction import TEMPLATE, Choice, Workload, blockings
from .packing import in_panels

ACCUMULATOR = "float32"
# Annotation of the anchor: the name of the unit.
UNIT = "tilewright.unit"
# Annotation of the anchor: whether the unit is a matrix unit, 0 or 1.
MATRIX = "tilewright.is_matrix"
# What `annotations.STAGE` says of the operand's stage.
OPERAND = "operand"
# Annotation of the anchor where its sums are read by lines of pixels: lines in a block.
BLOCK_LINES = "tilewright.block_lines"
# Registers that are left for operands.
_OPERAND_VECTORS = 4
_MAX_ROW_REGISTERS = 8
# Fewer columns waste a unit's lanes.
_MIN_COLUMNS = 8
_RUN_MULTIPLES = (2, 32)
# What a contraction with zeros added to its operand has to be shorter by, for the copy.
_COPY_COST = 1.3


def faster_units(target: Target) -> list[DotUnit]:
    """The units that a target may use and that multiply more in a cycle than its multiply-adds.

    Where none does, bfloat16 saves bytes alone.
    """
    return [unit for unit in target.dot_units if unit.rate * unit.rows * unit.depth > target.core.fmas_per_cycle]


def depth_of(run: int, unit: DotUnit) -> int:
    """Elements of a run that one instruction takes: a divisor of `run`, whole groups."""
    return max(size for size in range(unit.group, min(run, unit.depth) + 1, unit.group) if run % size == 0)


def steps(run: int, unit: DotUnit) -> int:
    """Instructions that a run takes."""
    return run // depth_of(run, unit)


def padded_runs(length: int) -> list[tuple[int, ...]]:
    """Longer runs that may take fewer instructions: extents of k of a product of that depth."""
    return [(longer,) for longer in sorted({math.ceil(length / to) * to for to in _RUN_MULTIPLES}) if longer > length]


def best(workloads: Sequence[Workload], target: Target) -> tuple[Workload, Choice, DotUnit] | None:
    """Which of the equivalent `workloads` to compute, and how, for the fewest estimated cycles.

    The first workload's operand needs no copy; the others have to save a share of its time.

    Returns:
        None where no unit suits any of them.
    """
    found = [
        (cycles(workload, choice, unit) * (_COPY_COST if index else 1.0), workload, choice, unit)
        for index, workload in enumerate(workloads)
        if workload.columns >= _MIN_COLUMNS
        for unit in faster_units(target)
        if workload.k[-1] % unit.group == 0
        for choice in space(workload, unit)
    ]
    if not found:
        return None
    _, workload, choice, unit = min(found, key=lambda each: each[0])
    tile = choice["rows"] * choice["row_registers"]
    row_tiles = blockings(workload, tile, tile_columns(choice, unit), target)[0]
    return workload, {**choice, "row_tiles": row_tiles}, unit


def space(workload: Workload, unit: DotUnit) -> list[Choice]:
    """``rows`` of an instruction, ``row_registers`` and ``vectors`` of a tile, ``depth``: all that fit."""
    depth = depth_of(workload.k[-1], unit)
    choices: list[Choice] = []
    for rows in _row_counts(workload, unit):
        for registers in range(1, min(_MAX_ROW_REGISTERS, math.ceil(workload.rows / rows)) + 1):
            if ends_within_lines(workload, rows) and math.ceil(workload.line / rows) % registers:
                continue  # a tile would reach from one line into the next
            for vectors in range(1, math.ceil(workload.columns / unit.lanes) + 1):
                if unit.is_matrix:
                    fits = registers * vectors + registers + vectors <= unit.registers
                else:
                    fits = registers * vectors + vectors + _OPERAND_VECTORS <= unit.registers
                if not fits:
                    break
                choices.append({"rows": rows, "row_registers": registers, "vectors": vectors, "depth": depth})
    return choices


def _row_counts(workload: Workload, unit: DotUnit) -> list[int]:
    """Rows that an instruction may take: of as many to a line the fewest, or all that there may be."""
    most = min(unit.rows, workload.line)
    counts = {math.ceil(workload.line / math.ceil(workload.line / rows)) for rows in range(1, most + 1)}
    return sorted({*counts, most})


def ends_within_lines(workload: Workload, rows: int) -> bool:
    """Whether lines of pixels end within an instruction of so many rows."""
    return workload.image_line % rows > 0


def cycles(workload: Workload, choice: Choice, unit: DotUnit) -> float:
    """Estimated cycles of one core for the whole contraction, operands in the caches."""
    rows, registers, vectors = choice["rows"], choice["row_registers"], choice["vectors"]
    instructions = math.prod(workload.k) // choice["depth"]
    tiles = workload.batch * math.ceil(whole_rows(workload, choice) / (rows * registers))
    tiles *= math.ceil(workload.columns / (vectors * unit.lanes))
    if unit.is_matrix:
        loaded = registers * rows + vectors * choice["depth"] // unit.group
        step = max(float(registers * vectors * rows), loaded / unit.loads_per_cycle)
    else:
        step = max(registers * vectors / unit.rate, (registers + vectors) / unit.loads_per_cycle, unit.latency)
    return tiles * (instructions * (step + unit.step_overhead) + unit.tile_overhead * rows * registers * vectors)


def tile_columns(choice: Choice, unit: DotUnit) -> int:
    """Columns of a register tile."""
    return choice["vectors"] * unit.lanes


def whole_rows(workload: Workload, choice: Choice) -> int:
    """Rows that instructions read: more than there are where a line does not end with an instruction."""
    return workload.rows // workload.line * whole_line(workload, choice)


def whole_line(workload: Workload, choice: Choice) -> int:
    """Rows that instructions read of a line."""
    return math.ceil(workload.line / choice["rows"]) * choice["rows"]


def packed_shape(workload: Workload, choice: Choice, unit: DotUnit) -> tuple[int, ...]:
    """Shape of the packed B."""
    columns = tile_columns(choice, unit)
    *outer, run = workload.k
    return (workload.batch, math.ceil(workload.columns / columns), *outer, run // unit.group, columns, unit.group)


def pack_constant(
    matrix: npt.NDArray[np.generic], workload: Workload, choice: Choice, unit: DotUnit
) -> npt.NDArray[np.generic]:
    """Packs a constant B.

    Args:
        matrix: shape (batch, columns, *k), float32; the last extent may be shorter than that of `workload`.

    Returns:
        A new array of `packed_shape` and the unit's dtype; padding is zero.
    """
    shape = packed_shape(workload, choice, unit)
    run = workload.k[-1]
    flat = matrix.reshape(workload.batch, workload.columns, math.prod(workload.k[:-1]), -1)
    whole = np.pad(flat.astype(getattr(ml_dtypes, unit.dtype)), [(0, 0)] * 3 + [(0, run - flat.shape[-1])])
    panels = in_panels(whole.reshape(workload.batch, workload.columns, -1), shape[-2])
    grouped = panels.reshape(*panels.shape[:2], -1, unit.group, shape[-2])
    return np.ascontiguousarray(grouped.swapaxes(-1, -2)).reshape(shape)


def pack_at_run_time(
    element: Callable[..., Scalar], workload: Workload, choice: Choice, unit: DotUnit, *, name: str = "packed"
) -> te.Tensor:
    """A stage that packs B when the kernel runs.

    Args:
        element: the element of B at (batch, column, *k).
    """
    shape = packed_shape(workload, choice, unit)
    columns = shape[-2]

    def packed(batch: Any, panel: Any, *rest: Any) -> Scalar:
        *outer, group, lane, term = rest
        column = panel * columns + lane
        value = element(batch, column, *outer, group * unit.group + term).astype(unit.dtype)
        return within(value, column, workload.columns, shape[1] * columns)

    return te.compute(int64s(shape), packed, name=name, attrs={STAGE: "pack"})


def compute(
    workload: Workload,
    choice: Choice,
    unit: DotUnit,
    lhs: Callable[..., Scalar],
    packed: te.Tensor,
    *,
    template: str = TEMPLATE,
    name: str = TEMPLATE,
) -> te.Tensor:
    """C with shape (batch, padded rows, padded columns), float32.

    Where lines end within instructions it is (batch, lines, padded pixels of a line, padded columns).

    Args:
        lhs: the element of A at (batch, row, *k), of the unit's dtype; row is below `whole_rows`.
        packed: B of `packed_shape`.
        template: the template built around this block.
        name: of the block.
    """
    block, columns = choice["rows"] * choice["row_registers"] * choice["row_tiles"], tile_columns(choice, unit)
    by_lines, line = ends_within_lines(workload, choice["rows"]), whole_line(workload, choice)
    lines = workload.rows // workload.line
    rows = math.ceil(whole_rows(workload, choice) / block) * block
    *outer, run = workload.k
    axes = [te.reduce_axis((int64(0), int64(extent)), f"k{i}") for i, extent in enumerate(outer) if extent > 1]
    group = te.reduce_axis((int64(0), int64(run // unit.group)), "group")
    term = te.reduce_axis((int64(0), int64(unit.group)), "term")
    last = whole_rows(workload, choice) // choice["rows"] - 1

    def element(batch: tirx.Var, *rest: tirx.Var) -> Scalar:
        *position, column = rest
        remaining = iter(axes)
        at = [next(remaining) if extent > 1 else int64(0) for extent in outer]
        row = position[0] * line + position[1] if by_lines else position[0]
        if not by_lines and rows > whole_rows(workload, choice):  # the last tile again
            row = tirx.min(row // choice["rows"], int64(last)) * choice["rows"] + row % choice["rows"]
        left = lhs(batch, row, *at, group * unit.group + term).astype(ACCUMULATOR)
        right = packed[(batch, column // columns, *at, group, column % columns, term)].astype(ACCUMULATOR)
        return te.sum(left * right, axis=[*axes, group, term])

    attributes = {ANCHOR: template, FLOPS: workload.flops, UNIT: unit.name, MATRIX: int(unit.is_matrix)}
    attributes["tilewright.lanes"] = unit.lanes
    attributes |= {f"tilewright.{key}": value for key, value in choice.items()}
    if by_lines:  # blocks are whole lines
        attributes[BLOCK_LINES] = largest_divisor(lines, math.ceil(block / line))
    shape = [
        workload.batch,
        *((lines, line) if by_lines else (rows,)),
        packed_shape(workload, choice, unit)[1] * columns,
    ]
    return te.compute(int64s(shape), element, name=name, attrs=attributes)
