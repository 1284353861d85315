"""The register-tiled contraction: convolution, dense layers and batched matrix products in one template.

Every one of them is C[batch, row, column] = sum over k of A(batch, row, k) * B(batch, column, k): rows are pixels or
tokens, columns are output channels, k runs over kernel positions and input channels. `A` is any index function of the
channels-last activations; `B` is packed, at compile time when it is constant, as

    packed[batch, column // tile_columns, k..., column % tile_columns]

so that the innermost loop reads it in order, whole registers at a time. The loop nest:

    parallel (batch, block of rows, panel of columns)      one panel of B stays in the L1 or L2 cache
        for tile of rows in block                          the rows of A stream from L2 or L3
            local C[tile_rows, tile_columns] = 0           in registers
            for k                                          not unrolled
                unrolled rows, unrolled vectors            broadcast A, load B, multiply-add
            epilogue(C) -> output                          bias, activation, residual, permutation

Where memory is scarce, a block of rows is a line of the image, and zeros are put around the lines that it reads alone,
in a band that the next block uses again.

Several steps of k may be unrolled inside of the loop over k (`k_step`): where multiply-adds take an operand by its
place in a register (`Target.operand_lanes`), as one load then brings a row's elements of A for several of them, and
where one instruction starts at a time, as then fewer of them count and branch. Few channels make short loops, so that
the axis of the filter before them may be joined with them to one axis of k (`k`).

Odd sizes never reach the inner loops: rows and columns are padded to whole tiles inside C, padding rows read the last
row again, padding columns are zeros in the packed B, and only the epilogue's stores are guarded. How tiles are cut into
tasks for cores is `cutting.py`'s.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from tvm import te, tirx

from ...annotations import ANCHOR, FLOPS, INSIDE, LANES, LHS, RHS, operand
from ...ir_types import Scalar
from ...targets.target import Target
from ..tensorir.expressions import dtype_bits, int64
from .cutting import CutChoice
from .sparsity import Sparsity
from .taps import Filter, offsets_inside

TEMPLATE = "contraction"


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
        runs: other extents of k that may stand for `k`, with zeros in both operands or with axes joined; of several
            axes all joined where windows of the image are copied, one after the other.
        filter: the convolution that it is.
        sparsity: of B, where that is constant and mostly zeros.
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
    sparsity: Sparsity | None = None

    def with_k(self, k: tuple[int, ...]) -> Workload:
        """The same with other extents of k."""
        return replace(self, k=k)

    def sliced(self, count: int) -> Workload:
        """The contractions of so many slices of the innermost axis of k, a batch of them for each product."""
        return replace(self, batch=self.batch * count, k=(*self.k[:-1], self.k[-1] // count))

    @property
    def line(self) -> int:
        """Rows whose elements of A lie at one distance from each other; a divisor of `rows`."""
        return self.image_line or self.rows

    @property
    def copies_windows(self) -> bool:
        """Whether k is one axis although windows have several."""
        return self.filter is not None and len(self.k) == 1 < len(self.filter.kernel)

    @property
    def offset_axes(self) -> int:
        """How many axes of k are offsets of the filter alone, with a loop over channels inside of theirs."""
        return len(self.k) - 1 if self.filter is not None and self.k[-1] > 1 else 0

    def lanes(self, target: Target) -> int:
        """Sums in one vector register; a single column has no vectors."""
        return 1 if self.columns == 1 else target.lanes(dtype_bits(self.accumulator))

    @property
    def product_bytes(self) -> tuple[float, float, float]:
        """Of A, of B and of the results of one product; what neighbouring pixels of a convolution share counts once."""
        depth = math.prod(self.k)
        own = depth if self.filter is None else min(depth, self.k[-1] * math.prod(self.filter.strides))
        elements = (self.rows * own, self.columns * depth, self.rows * self.columns)
        dtypes = (self.lhs, self.rhs, self.accumulator)
        a, b, c = (count * dtype_bits(dtype) / 8 for count, dtype in zip(elements, dtypes, strict=True))
        return a, b, c

    @property
    def flops(self) -> int:
        """Floating point operations: a multiply and an add a term."""
        return 2 * self.batch * self.rows * self.columns * math.prod(self.k)


@dataclass(frozen=True)
class MultiplyAddChoice(CutChoice):
    """``rows`` and ``vectors`` of a register tile, and how tiles are cut into tasks.

    ``k_step``: the steps of k that are written out; `loaded_at_once` of a row's elements of A come in one load.
    ``k``: extents of k, where they are not those of the workload: one of its `runs`.
    """

    rows: int
    vectors: int
    k_step: int = 1
    k: tuple[int, ...] = ()

    @property
    def tile_rows(self) -> int:
        """Rows of a tile of sums."""
        return self.rows


def takes(workload: object, target: Target) -> bool:
    """Every contraction."""
    return isinstance(workload, Workload)


def as_chosen(workload: Workload, choice: MultiplyAddChoice) -> Workload:
    """The workload with the extents of k that a choice has."""
    return workload.with_k(choice.k) if choice.k else workload


def in_bands(workload: Workload, target: Target) -> bool:
    """Whether zeros are put around a line's part of an image at a time, and not around all of it."""
    return target.saves_memory and workload.image_line > 0


def taps(workload: Workload, target: Target) -> Filter | None:
    """The filter whose taps beside the image are left out; a band does not tell where in the image it is."""
    return None if in_bands(workload, target) else workload.filter


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
    rhs: Callable[..., Scalar],
    *,
    template: str = TEMPLATE,
    name: str = TEMPLATE,
    flops: int | None = None,
) -> te.Tensor:
    """C with shape (batch, padded rows, padded columns), of the accumulator's dtype.

    Args:
        lhs: the element of A at (batch, row, *k); row is always below `workload.rows`.
        rhs: the element of B at (batch, panel, *k, place in the panel), as `packed_shape` has them.
        template: the template built around this block.
        name: of the block.
        flops: useful floating point operations, where they are not those of the contraction itself.
    """
    columns = tile_columns(workload, choice, target)
    rows, accumulator = padded_rows(workload, choice), workload.accumulator
    axes = [te.reduce_axis((int64(0), int64(extent)), f"k{i}") for i, extent in enumerate(workload.k) if extent > 1]
    axes = axes or [te.reduce_axis((int64(0), int64(1)), "k0")]

    def element(batch: tirx.Var, row: tirx.Var, column: tirx.Var) -> Scalar:
        remaining = iter(axes)
        k: Sequence[Any] = [next(remaining) if extent > 1 else int64(0) for extent in workload.k]
        row = row if rows == workload.rows else tirx.min(row, int64(workload.rows - 1))
        left = lhs(batch, row, *k).astype(accumulator)
        right = rhs(batch, column // columns, *k, column % columns).astype(accumulator)
        return te.sum(operand(LHS, left) * operand(RHS, right), axis=axes)

    shape = [int64(workload.batch), int64(rows), int64(packed_shape(workload, choice, target)[1] * columns)]
    counted = FLOPS.entry(workload.flops if flops is None else flops)
    attributes = {**ANCHOR.entry(template), **counted, **LANES.entry(workload.lanes(target))}
    inside = offsets_inside(taps(workload, target), workload.offset_axes, choice.rows)
    if inside:  # what loops over k say, those of one step have none
        said = [(each.axis, each.before, each.extent) for each in inside if workload.k[each.axis - 1] > 1]
        attributes |= INSIDE.entry([int64(value) for triple in said for value in triple])
    return te.compute(shape, element, name=name, attrs=attributes)
