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
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from tvm import te, tirx

from ...targets.target import Target
from ..tensorir.annotations import ANCHOR, FLOPS
from ..tensorir.expressions import Scalar, accumulator, dtype_bits, int64

TEMPLATE = "contraction"
Choice = Mapping[str, int]

# A panel of B larger than this share of L1 comes from L2 for every tile of rows.
_L1_SHARE = 0.75
# Parallel work is cut so that the busiest core has at most this share more than the mean.
_IMBALANCE = 1.10
_MIN_TILES_PER_BLOCK = 4


@dataclass(frozen=True)
class Workload:
    """The sizes of a contraction.

    Attributes:
        batch: independent products: groups of a convolution, heads of an attention.
        rows: output pixels or tokens.
        columns: output channels of one product.
        k: extents of the reduction axes, outermost first: (kernel height, kernel width, channels).
        dtype: of both operands and the result.
        image_line: pixels of a line of an image, where the next line is not at the same distance in A; else 0.
    """

    batch: int
    rows: int
    columns: int
    k: tuple[int, ...]
    dtype: str = "float32"
    image_line: int = 0

    def with_k(self, k: tuple[int, ...]) -> Workload:
        """The same with other extents of k."""
        return replace(self, k=k)

    @property
    def line(self) -> int:
        """Rows whose elements of A lie at one distance from each other; a divisor of `rows`."""
        return self.image_line or self.rows

    @property
    def accumulator(self) -> str:
        """The dtype that sums are kept in: half precisions sum in float32."""
        return accumulator(self.dtype)

    def lanes(self, target: Target) -> int:
        """Sums in one vector register; a single column has no vectors."""
        return 1 if self.columns == 1 else target.lanes(dtype_bits(self.accumulator))

    @property
    def flops(self) -> int:
        """Floating point operations: a multiply and an add a term."""
        return 2 * self.batch * self.rows * self.columns * math.prod(self.k)


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
    if depth * vectors * lanes * dtype_bits(workload.dtype) // 8 > target.l1_bytes * _L1_SHARE:
        step = max(step, vectors / core.l2_vectors_per_cycle)
    return tiles * (depth * (step + core.step_overhead) + core.tile_overhead * rows * vectors)


def cycles_from_memory(workload: Workload, choice: Choice, target: Target) -> float:
    """Estimated cycles until all cores are done, when B comes from memory."""
    sums = cycles(workload, choice["rows"], choice["vectors"], target) / target.cores
    weights = workload.batch * workload.columns * math.prod(workload.k) * dtype_bits(workload.dtype) // 8
    return sums + weights / target.core.dram_bytes_per_cycle


def space(workload: Workload, target: Target) -> list[Choice]:
    """All choices that fit the registers: ``rows`` and ``vectors`` of a register tile, ``row_tiles`` of a block."""
    return [
        {**tile, "row_tiles": row_tiles}
        for tile in register_tiles(workload, target)
        for row_tiles in blockings(workload, tile["rows"], tile["vectors"] * workload.lanes(target), target)
    ]


def register_tiles(workload: Workload, target: Target) -> list[Choice]:
    """Every ``rows`` by ``vectors`` of sums that fits the registers."""
    tiles: list[Choice] = []
    for vectors in range(1, (target.num_vector_registers // 2) if workload.columns > 1 else 2):
        for rows in range(1, min(target.core.addressed_rows, workload.rows) + 1):
            if _registers_used(rows, vectors, target) <= target.num_vector_registers:
                tiles.append({"rows": rows, "vectors": vectors})
    return tiles


def default(workload: Workload, target: Target) -> Choice:
    """The choice the machine's numbers give: the fewest estimated cycles, and rows cut for the cores."""
    tiles = [(tile["rows"], tile["vectors"]) for tile in register_tiles(workload, target)]
    # Among equals, wide tiles: they read A less often.
    rows, vectors = min(tiles, key=lambda tile: (cycles(workload, tile[0], tile[1], target), -tile[1], tile[0]))
    row_tiles = blockings(workload, rows, vectors * workload.lanes(target), target)[0]
    return {"rows": rows, "vectors": vectors, "row_tiles": row_tiles}


def blockings(workload: Workload, rows: int, columns: int, target: Target) -> list[int]:
    """Tiles of `rows` by `columns` in one block of rows: all, or as few as keep the cores evenly busy.

    Blocks for the caches do not pay: a panel of B comes from L2 and rows of A may come from L3, at a few bytes a cycle,
    while every further block reads all panels again (measured with 512 KiB of L2).
    """
    row_tiles = math.ceil(workload.rows / rows)
    column_tiles = math.ceil(workload.columns / columns)
    sizes = []
    for count in range(1, row_tiles + 1):
        size = math.ceil(row_tiles / count)
        tasks = workload.batch * math.ceil(row_tiles / size) * column_tiles
        if target.cores == 1 or math.ceil(tasks / target.cores) * target.cores <= tasks * _IMBALANCE:
            sizes.append(size)
        if sizes or size < _MIN_TILES_PER_BLOCK:
            break
    return sizes or [row_tiles]


def padded_rows(workload: Workload, choice: Choice) -> int:
    """Rows of C: whole blocks."""
    block = choice["rows"] * choice["row_tiles"]
    return math.ceil(workload.rows / block) * block


def tile_columns(workload: Workload, choice: Choice, target: Target) -> int:
    """Columns of a register tile, the innermost extent of the packed B."""
    return choice["vectors"] * workload.lanes(target)


def packed_shape(workload: Workload, choice: Choice, target: Target) -> tuple[int, ...]:
    """Shape of the packed B."""
    columns = tile_columns(workload, choice, target)
    return (workload.batch, math.ceil(workload.columns / columns), *workload.k, columns)


def compute(
    workload: Workload,
    choice: Choice,
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
        product = lhs(batch, row, *k).astype(accumulator) * packed[
            (batch, column // columns, *k, column % columns)
        ].astype(accumulator)
        return te.sum(product, axis=axes)

    shape = [int64(workload.batch), int64(rows), int64(packed_shape(workload, choice, target)[1] * columns)]
    stated = {ANCHOR: template, FLOPS: workload.flops if flops is None else flops}
    attributes = {**stated, "tilewright.lanes": workload.lanes(target)}
    attributes |= {f"tilewright.{name}": value for name, value in choice.items()}
    return te.compute(shape, element, name=name, attrs=attributes)
