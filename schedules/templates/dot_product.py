"""Contractions by dot-product instructions: narrow operands, wide sums.

The same C[batch, row, column] = sum over k of A(batch, row, k) * B(batch, column, k) as in `contraction.py`, for units
that add several products at once (`targets.DotUnit`): vector instructions that take a pair of k for 16 columns, and
matrix instructions that take a tile of 16 rows by 32 k and one of 32 k by 16 columns. `B` is packed as

    packed[batch, column // tile_columns, k..., run // depth, vector, run % depth // group, lane, run % group]

(`dot_product_packing.py`) where `run` is the innermost part of k: elements that lie side by side in A, so that one load
takes a group or a tile row of them. `depth` of them and `lanes` columns, a `vector` of the tile's, are what one
instruction takes of B: they lie together, in the order in which it reads them. The loop nest:

    parallel (batch, block of rows, panel of columns)
        for tile of rows in block
            local C[row_registers * rows, vectors * lanes] = 0          float32, in registers
            for k outside the run, for chunk of the run
                unrolled row registers, unrolled vectors: one instruction each
            epilogue(C) -> output

Where a unit multiplies tiles, lowering moves the epilogue into the loop over k of the next tile
(`compiler/lowering/overlap.py`), and what its instructions read of B comes a panel ahead of time.

The innermost part is written as loops over one instruction's rows, lanes and terms, marked for
`compiler/lowering/select_dots.py`, which puts the instruction in their place; left alone they compute the same.

Some units read the first operand in wider integers than it has in memory: it is copied so, where memory is scarce a
block of rows at a time.

Rows of a matrix instruction must lie at one distance in A. So an instruction never leaves a line of pixels
(`Workload.line`): lines are as long as whole instructions, and what is too long of them is computed and dropped.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator

from tvm import te, tirx

from ...annotations import ANCHOR, BLOCK_LINES, FLOPS, LANES, LHS, RHS, operand
from ...ir_types import Scalar
from ...targets.target import DotUnit, Target
from ..tensorir import prefetch
from ..tensorir.expressions import dtype_bits, int64, int64s, largest_divisor
from .choices import Space
from .contraction import Workload, in_bands
from .cutting import Tiles, best, cuts, slices
from .dot_product_choice import DotProductChoice, depth_of, tile_columns
from .dot_product_packing import packed_shape, place_in_step

TEMPLATE = "dot_product"
# What STAGE says of the operand's stage.
OPERAND = "operand"
_MAX_ROW_REGISTERS = 8
# Fewer columns waste a unit's lanes.
_MIN_COLUMNS = 8
_RUN_BYTES = (4, 64)  # runs are made whole multiples of these: of a group, and of what a matrix instruction takes
_WINDOW_BYTES = 16
# What a contraction with zeros added to its operand has to be shorter by, for the copy; and the instructions of an
# element where windows are copied, which has to be found in the image.
_COPY_COST = 1.3
_WINDOW_COST = 20


def faster_units(target: Target, lhs: str, rhs: str, accumulator: str) -> list[DotUnit]:
    """The units that multiply operands of these dtypes into such sums, more in a cycle than multiply-adds do.

    Where none does, bfloat16 saves bytes alone. Products of integers are never made floats, and multiply-adds of
    integers are no faster than any unit.
    """
    return [
        unit
        for unit in target.units_for(lhs, rhs, accumulator)
        if accumulator == "int32" or unit.costs.rate * unit.rows * unit.depth > target.core.fmas_per_cycle
    ]


def padded_runs(length: int, dtype: str) -> tuple[tuple[int, ...], ...]:
    """Longer runs that may take fewer instructions: extents of k of a product of that depth.

    Operands of 32 bits are multiplied as bfloat16, where they are at all.
    """
    size = min(dtype_bits(dtype), 16) // 8
    longer = sorted({math.ceil(length / (to // size)) * (to // size) for to in _RUN_BYTES})
    return tuple((each,) for each in longer if each > length)


def padded_windows(length: int, dtype: str) -> list[tuple[int, ...]]:
    """Lengths of windows that are copied, longer than so many elements, in which vectors end."""
    whole = _WINDOW_BYTES // (dtype_bits(dtype) // 8)
    return [(longer,)] if (longer := math.ceil(length / whole) * whole) > length else []


def takes(workload: object, target: Target) -> bool:
    """Contractions of operands and sums that a faster unit is for, and of sizes that suit it."""
    return isinstance(workload, Workload) and any(True for _ in _suiting(workload, target))


def _suiting(workload: Workload, target: Target) -> Iterator[tuple[Workload, DotUnit]]:
    """The workload with each extents of k that a unit can take, and the unit."""
    for k in (workload.k, *workload.runs):
        for unit in faster_units(target, workload.lhs, workload.rhs, workload.accumulator):
            whole = unit.depth if unit.interleaved and unit.group > 1 else unit.group
            fits = workload.line >= unit.least_rows and workload.columns >= min(_MIN_COLUMNS, unit.lanes)
            suited = workload.with_k(k)
            if suited.copies_windows and not (unit.masked and in_bands(workload, target)):
                continue
            if fits and k[-1] % whole == 0:
                yield suited, unit


def space(workload: Workload, target: Target) -> Space[DotProductChoice]:
    """All tiles of all units that suit, cut in every way."""

    def counts(choice: DotProductChoice) -> Iterator[int]:
        group = target.unit(choice.unit).group
        return slices(choice.k[-1] // group, math.prod(choice.k) // group, target)

    def line(tile: DotProductChoice) -> int:
        if in_bands(workload, target):
            return math.ceil(workload.line / tile.tile_rows)
        return 1 if target.saves_memory and target.unit(tile.unit).copied_as else 0

    return cuts(
        lambda: (tile for run, unit in _suiting(workload, target) for tile in tiles(run, unit, target)),
        lambda tile: math.ceil(workload.rows / tile.tile_rows),
        counts,
        target,
        line,
    )


def default(workload: Workload, target: Target) -> DotProductChoice:
    """The choice of the fewest estimated cycles."""
    return best(space(workload, target), lambda choice: tiles_of(workload, choice, target), target)


def estimate(workload: Workload, choice: DotProductChoice, target: Target) -> float:
    """Estimated cycles until all cores are done, when B comes from memory."""
    return tiles_of(workload, choice, target).elapsed_of(choice, target)


def tiles_of(workload: Workload, choice: DotProductChoice, target: Target) -> Tiles:
    """The tiles of a choice.

    The workload's own k needs no copy of the operand; the others have to save a share of its time.
    """
    unit, part = target.unit(choice.unit), workload.with_k(choice.k).sliced(choice.k_splits)
    rows, panels = math.ceil(whole_rows(part, choice) / choice.tile_rows), packed_shape(part, choice, unit)[1]
    each = cycles(part, choice, unit, target) / (part.batch * rows * panels)
    if part.copies_windows:
        each += _WINDOW_COST * choice.tile_rows * part.k[-1] / panels
    copied = choice.k != workload.k and not unit.copied_as and not part.copies_windows
    a, b, c = part.product_bytes
    if unit.copied_as:
        each += unit.costs.copied * a / (rows * panels)
        a *= dtype_bits(unit.copied_as) / dtype_bits(part.lhs)
    # What reads results mostly multiplies them, so they are as narrow as operands.
    lines = math.ceil(tile_columns(choice, unit) * dtype_bits(part.lhs) / 8 / target.core.line_bytes)
    return Tiles(
        part.batch,
        rows,
        panels,
        each * (_COPY_COST if copied else 1.0),
        a,
        b,
        c,
        1 if unit.is_matrix else prefetch.fewest_tiles(tile_columns(choice, unit), target.core.line_bytes),
        choice.k_splits,
        choice.tile_rows * lines * unit.costs.line_apart,
        b / panels / (target.core.l2_vectors_per_cycle * target.core.line_bytes),
    )


def tiles(workload: Workload, unit: DotUnit, target: Target) -> Iterator[DotProductChoice]:
    """All tiles that fit a unit's registers; where loads bring several groups, first those that load the least."""
    found = _tiles(workload, unit, target)
    if target.operand_lanes == 1:
        return found
    groups = math.ceil(unit.depth / unit.group)
    return iter(sorted(found, key=lambda tile: 1 / (tile.vectors * groups) + 1 / tile.tile_rows))


def _tiles(workload: Workload, unit: DotUnit, target: Target) -> Iterator[DotProductChoice]:
    """All of them."""
    # Where there is one step, LLVM loads all that it reads of the second operand before the first tile.
    depth = depth_of(workload.k[-1], unit)
    is_held = target.operand_lanes > 1 and math.prod(workload.k) == depth
    for rows in _row_counts(workload, unit):
        by_lines = ends_within_lines(workload, rows) or in_bands(workload, target)
        for registers in range(1, min(_MAX_ROW_REGISTERS, math.ceil(workload.rows / rows)) + 1):
            if by_lines and math.ceil(workload.line / rows) % registers:
                continue  # a tile would reach from one line into the next
            for vectors in range(1, math.ceil(workload.columns / unit.lanes) + 1):
                held = vectors * (unit.least_rows * depth // unit.group - 1) if is_held else 0
                if unit.registers_used(rows, registers, vectors) + held > unit.registers:
                    break
                yield DotProductChoice(
                    unit=unit.name, k=workload.k, rows=rows, row_registers=registers, vectors=vectors
                )


def _row_counts(workload: Workload, unit: DotUnit) -> list[int]:
    """Rows that an instruction may take: of as many to a line the fewest, or all that there may be."""
    most = min(unit.rows, workload.line)
    counts = {math.ceil(workload.line / math.ceil(workload.line / rows)) for rows in range(1, most + 1)}
    return sorted(count for count in {*counts, most} if count >= unit.least_rows)


def ends_within_lines(workload: Workload, rows: int) -> bool:
    """Whether lines of pixels end within an instruction of so many rows."""
    return workload.image_line % rows > 0


def cycles(workload: Workload, choice: DotProductChoice, unit: DotUnit, target: Target) -> float:
    """Estimated cycles of one core for the whole contraction, operands in the caches."""
    rows, registers, vectors = choice.rows, choice.row_registers, choice.vectors
    depth = depth_of(workload.k[-1], unit)
    instructions = math.prod(workload.k) // depth
    tiles = workload.batch * math.ceil(whole_rows(workload, choice) / (rows * registers))
    tiles *= math.ceil(workload.columns / (vectors * unit.lanes))
    costs, vectors_of_tile = unit.costs, rows * registers * vectors
    loaded = registers * rows + vectors * (unit.lanes if unit.masked else math.ceil(depth / unit.group))
    if unit.masked and depth < unit.depth:
        loaded *= 2
    is_whole = unit.is_matrix or unit.masked
    products = registers * vectors * rows / unit.rows / costs.rate * (1.0 if is_whole else depth / unit.depth)
    step = max(target.core.together(products, loaded / costs.loads_per_cycle), costs.latency)
    # Rows that may lie in two lines have a pointer each, which moves on with every step.
    pointers = rows * registers if workload.line % (rows * registers) else 1
    step += target.core.beside * (loaded + pointers)
    each = max(instructions * (step + costs.step_overhead), costs.beside * vectors_of_tile)
    return tiles * (each + costs.tile_overhead * vectors_of_tile)


def whole_rows(workload: Workload, choice: DotProductChoice) -> int:
    """Rows that instructions read: more than there are where a line does not end with an instruction."""
    return workload.rows // workload.line * whole_line(workload, choice)


def whole_line(workload: Workload, choice: DotProductChoice) -> int:
    """Rows that instructions read of a line."""
    return math.ceil(workload.line / choice.rows) * choice.rows


def padded_rows(workload: Workload, choice: DotProductChoice) -> int:
    """Rows of C: whole blocks, or whole lines."""
    whole, block = whole_rows(workload, choice), choice.tile_rows * choice.row_tiles
    return whole if ends_within_lines(workload, choice.rows) else math.ceil(whole / block) * block


def compute(
    workload: Workload,
    choice: DotProductChoice,
    unit: DotUnit,
    lhs: Callable[..., Scalar],
    packed: te.Tensor,
    *,
    template: str = TEMPLATE,
    name: str = TEMPLATE,
    flops: int | None = None,
) -> te.Tensor:
    """C with shape (batch, padded rows, padded columns), of the accumulator's dtype.

    Where lines end within instructions it is (batch, lines, padded pixels of a line, padded columns).

    Args:
        lhs: the element of A at (batch, row, *k), of the dtype of A; row is below `whole_rows`.
        packed: B of `packed_shape`.
        template: the template built around this block.
        name: of the block.
        flops: useful operations, where they are not those of the contraction itself.
    """
    block, columns, lanes = choice.tile_rows * choice.row_tiles, tile_columns(choice, unit), unit.lanes
    groups = depth_of(workload.k[-1], unit) // unit.group
    by_lines, line = ends_within_lines(workload, choice.rows), whole_line(workload, choice)
    lines = workload.rows // workload.line
    rows = padded_rows(workload, choice)
    *outer, run = workload.k
    axes = [te.reduce_axis((int64(0), int64(extent)), f"k{i}") for i, extent in enumerate(outer) if extent > 1]
    group = te.reduce_axis((int64(0), int64(run // unit.group)), "group")
    term = te.reduce_axis((int64(0), int64(unit.group)), "term")
    last = whole_rows(workload, choice) // choice.rows - 1

    def element(batch: tirx.Var, *rest: tirx.Var) -> Scalar:
        *position, column = rest
        remaining = iter(axes)
        at = [next(remaining) if extent > 1 else int64(0) for extent in outer]
        row = position[0] * line + position[1] if by_lines else position[0]
        if not by_lines and rows > whole_rows(workload, choice):  # the last tile again
            row = tirx.min(row // choice.rows, int64(last)) * choice.rows + row % choice.rows
        left = lhs(batch, row, *at, group * unit.group + term).astype(workload.accumulator)
        place = place_in_step(group % groups, column % lanes, term, unit)
        inside = (group // groups, column % columns // lanes, *place)
        right = packed[(batch, column // columns, *at, *inside)].astype(workload.accumulator)
        return te.sum(operand(LHS, left) * operand(RHS, right), axis=[*axes, group, term])

    attributes = {
        **ANCHOR.entry(template),
        **FLOPS.entry(workload.flops if flops is None else flops),
        **LANES.entry(unit.lanes),
    }
    if by_lines:  # blocks are whole lines
        attributes |= BLOCK_LINES.entry(largest_divisor(lines, math.ceil(block / line)))
    shape = [
        workload.batch,
        *((lines, line) if by_lines else (rows,)),
        packed_shape(workload, choice, unit)[1] * columns,
    ]
    return te.compute(int64s(shape), element, name=name, attrs=attributes)
