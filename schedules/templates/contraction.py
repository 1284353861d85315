"""The register-tiled contraction: convolution, dense layers and batched matrix products in one template.

Every one of them is C[batch, row, column] = sum over k of A(batch, row, k) * B(batch, column, k): rows are pixels or
tokens, columns are output channels, k runs over kernel positions and input channels. `A` is any index function of the
channels-last activations; `B` is packed, at compile time when it is constant, as

    packed[batch, column // tile_columns, k..., column % tile_columns]

so that the innermost loop reads it in order, whole registers at a time. The loop nest:

    parallel (batch, block of rows, tile of columns)       one panel of B stays in the L1 or L2 cache
        for tile of rows in block                          the rows of A stream from L2 or L3
            local C[tile_rows, tile_columns] = 0           in registers
            for k                                          not unrolled
                unrolled rows, unrolled vectors            broadcast A, load B, multiply-add
            epilogue(C) -> output                          bias, activation, residual, permutation

Odd sizes never reach the inner loops: rows and columns are padded to whole tiles inside C, padding rows read the last
row again, padding columns are zeros in the packed B, and only the epilogue's stores are guarded.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from tvm import te, tirx

from ...annotations import ANCHOR, FLOPS, LANES, LHS, RHS, operand
from ...targets.target import Target
from ..tensorir.expressions import Scalar, dtype_bits, int64
from .choices import Choice
from .sharing import thread_counts

TEMPLATE = "contraction"

# A panel of B larger than this share of L1 comes from L2 for every tile of rows.
_L1_SHARE = 0.75
# Parallel work is cut so that the busiest core has at most this share more than the mean.
_IMBALANCE = 1.10
# Multiply-adds below which waking other cores costs more than they save.
PARALLEL_PRODUCTS = 1 << 19
_MIN_TILES_PER_BLOCK = 4


@dataclass(frozen=True)
class Filter:
    """What a contraction is where it is a convolution.

    Attributes:
        images: of the batch.
        output: extents of an image of the result; they are the rows.
        kernel, strides, dilation: an axis of an image.
        is_constant: whether the weights are known when compiling.
    """

    images: int
    output: tuple[int, ...]
    kernel: tuple[int, ...]
    strides: tuple[int, ...]
    dilation: tuple[int, ...]
    is_constant: bool


@dataclass(frozen=True)
class Workload:
    """The sizes of a contraction.

    Attributes:
        batch: independent products: groups of a convolution, heads of an attention.
        rows: output pixels or tokens.
        columns: output channels of one product.
        k: extents of the reduction axes, outermost first: (kernel height, kernel width, channels).
        lhs, rhs: the dtypes that A and B are multiplied in.
        accumulator: the dtype that sums are kept in, and both operands of a vector multiply-add are made.
        image_line: pixels of a line of an image, where the next line is not at the same distance in A; else 0.
        runs: other extents of k that may stand for `k`, with zeros in both operands or with axes joined.
        filter: the convolution that it is.
    """

    batch: int
    rows: int
    columns: int
    k: tuple[int, ...]
    lhs: str = "float32"
    rhs: str = "float32"
    accumulator: str = "float32"
    image_line: int = 0
    runs: tuple[tuple[int, ...], ...] = ()
    filter: Filter | None = None

    def with_k(self, k: tuple[int, ...]) -> Workload:
        """The same with other extents of k."""
        return replace(self, k=k)

    @property
    def line(self) -> int:
        """Rows whose elements of A lie at one distance from each other; a divisor of `rows`."""
        return self.image_line or self.rows

    def lanes(self, target: Target) -> int:
        """Sums in one vector register; a single column has no vectors."""
        return 1 if self.columns == 1 else target.lanes(dtype_bits(self.accumulator))

    @property
    def flops(self) -> int:
        """Floating point operations: a multiply and an add a term."""
        return 2 * self.batch * self.rows * self.columns * math.prod(self.k)


@dataclass(frozen=True)
class MultiplyAddChoice(Choice):
    """``rows`` and ``vectors`` of a register tile, ``row_tiles`` of a block of rows; ``threads`` share the blocks."""

    rows: int
    vectors: int
    row_tiles: int = 1
    threads: int = 1

    @property
    def tile_rows(self) -> int:
        """Rows of a tile of sums."""
        return self.rows


def takes(workload: object, target: Target) -> bool:
    """Every contraction."""
    return isinstance(workload, Workload)


def _registers_used(rows: int, vectors: int, target: Target) -> int:
    # One register holds the broadcast element of A, unless the multiply-add itself broadcasts it from memory.
    broadcast = 0 if target.broadcasts_operands else 1
    product = 0 if target.has_fma else 1
    return rows * vectors + vectors + broadcast + product


def cycles(workload: Workload, rows: int, vectors: int, target: Target) -> float:
    """Estimated cycles of one core for the whole contraction with this tile, B in the caches."""
    core, lanes = target.core, workload.lanes(target)
    depth = math.prod(workload.k)
    tiles = workload.batch * math.ceil(workload.rows / rows) * math.ceil(workload.columns / (vectors * lanes))
    step = max(rows * vectors / core.fmas_per_cycle, (rows + vectors) / core.loads_per_cycle, core.fma_latency)
    if depth * vectors * lanes * dtype_bits(workload.rhs) // 8 > target.l1_bytes * _L1_SHARE:
        step = max(step, vectors / core.l2_vectors_per_cycle)
    return tiles * (depth * (step + core.step_overhead) + core.tile_overhead * rows * vectors)


def estimate(workload: Workload, choice: MultiplyAddChoice, target: Target) -> float:
    """Estimated cycles until all cores are done, when B comes from memory."""
    # Where work is too small to be shared, so it is for every other way to compute it.
    sums = cycles(workload, choice.rows, choice.vectors, target) / target.cores
    weights = workload.batch * workload.columns * math.prod(workload.k) * dtype_bits(workload.rhs) // 8
    return sums + weights / target.core.dram_bytes_per_cycle


def space(workload: Workload, target: Target) -> Iterator[MultiplyAddChoice]:
    """All register tiles that fit, in blocks of every number of tiles that makes another number of blocks."""
    for tile in register_tiles(workload, target):
        for row_tiles in blockings(math.ceil(workload.rows / tile.rows)):
            for threads in thread_counts(target):
                yield replace(tile, row_tiles=row_tiles, threads=threads)


def register_tiles(workload: Workload, target: Target) -> Iterator[MultiplyAddChoice]:
    """Every tile of sums that fits the registers."""
    for vectors in range(1, (target.num_vector_registers // 2) if workload.columns > 1 else 2):
        for rows in range(1, min(target.core.addressed_rows, workload.rows) + 1):
            if _registers_used(rows, vectors, target) <= target.num_vector_registers:
                yield MultiplyAddChoice(rows, vectors)


def blockings(row_tiles: int) -> Iterator[int]:
    """Tiles in a block of rows, most first: of all that make as many blocks the fewest."""
    size = row_tiles
    while size:
        yield size
        size = math.ceil(row_tiles / math.ceil(row_tiles / (size - 1))) if size > 1 else 0


def default(workload: Workload, target: Target) -> MultiplyAddChoice:
    """The choice the machine's numbers give: the fewest estimated cycles, and rows cut for the cores."""
    # Among equals, wide tiles: they read A less often.
    tile = min(
        register_tiles(workload, target),
        key=lambda tile: (cycles(workload, tile.rows, tile.vectors, target), -tile.vectors, tile.rows),
    )
    tile = replace(tile, row_tiles=blocking(workload, tile.rows, tile.vectors * workload.lanes(target), target))
    products = math.prod((padded_rows(workload, tile), *packed_shape(workload, tile, target)))
    return replace(tile, threads=target.cores if products >= PARALLEL_PRODUCTS else 1)


def blocking(workload: Workload, rows: int, columns: int, target: Target) -> int:
    """Tiles of `rows` by `columns` in one block of rows: all, or as few as keep the cores evenly busy.

    Blocks for the caches do not pay: a panel of B comes from L2 and rows of A may come from L3, at a few bytes a cycle,
    while every further block reads all panels again (measured with half a MiB of L2).
    """
    row_tiles = math.ceil(workload.rows / rows)
    column_tiles = math.ceil(workload.columns / columns)
    for size in blockings(row_tiles):
        tasks = workload.batch * math.ceil(row_tiles / size) * column_tiles
        if target.cores == 1 or math.ceil(tasks / target.cores) * target.cores <= tasks * _IMBALANCE:
            return size
        if size < _MIN_TILES_PER_BLOCK:
            break
    return row_tiles


def padded_rows(workload: Workload, choice: MultiplyAddChoice) -> int:
    """Rows of C: whole blocks."""
    block = choice.rows * choice.row_tiles
    return math.ceil(workload.rows / block) * block


def tile_columns(workload: Workload, choice: MultiplyAddChoice, target: Target) -> int:
    """Columns of a register tile, the innermost extent of the packed B."""
    return choice.vectors * workload.lanes(target)


def packed_shape(workload: Workload, choice: MultiplyAddChoice, target: Target) -> tuple[int, ...]:
    """Shape of the packed B."""
    columns = tile_columns(workload, choice, target)
    return (workload.batch, math.ceil(workload.columns / columns), *workload.k, columns)


def compute(
    workload: Workload,
    choice: MultiplyAddChoice,
    target: Target,
    lhs: Callable[..., Scalar],
    packed: te.Tensor,
    *,
    template: str = TEMPLATE,
    name: str = TEMPLATE,
    flops: int | None = None,
) -> te.Tensor:
    """C with shape (batch, padded rows, padded columns), of the accumulator's dtype.

    Args:
        lhs: the element of A at (batch, row, *k); row is always below `workload.rows`.
        packed: B of `packed_shape`.
        template: the template built around this block.
        name: of the block.
        flops: useful floating point operations, where they are not those of the contraction itself.
    """
    columns = tile_columns(workload, choice, target)
    rows, accumulator = padded_rows(workload, choice), workload.accumulator
    axes = [te.reduce_axis((int64(0), int64(extent)), f"k{i}") for i, extent in enumerate(workload.k) if extent > 1]
    if not axes:
        axes = [te.reduce_axis((int64(0), int64(1)), "k0")]

    def element(batch: tirx.Var, row: tirx.Var, column: tirx.Var) -> Scalar:
        remaining = iter(axes)
        k: Sequence[Any] = [next(remaining) if extent > 1 else int64(0) for extent in workload.k]
        row = row if rows == workload.rows else tirx.min(row, int64(workload.rows - 1))
        left = lhs(batch, row, *k).astype(accumulator)
        right = packed[(batch, column // columns, *k, column % columns)].astype(accumulator)
        return te.sum(operand(LHS, left) * operand(RHS, right), axis=axes)

    shape = [int64(workload.batch), int64(rows), int64(packed_shape(workload, choice, target)[1] * columns)]
    attributes = {**ANCHOR.entry(template), **FLOPS.entry(workload.flops if flops is None else flops)}
    attributes |= LANES.entry(workload.lanes(target))
    return te.compute(shape, element, name=name, attrs=attributes)
