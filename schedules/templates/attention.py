"""Attention: softmax(q k^T * scale + masks) v for many heads, a block of rows of scores at a time.

Two contractions of the register-tiled kind with a softmax between them. The scores of a block of queries live in the
cache, never as a whole matrix in memory. The loop nest:

    pack k and v of every head                                  for the inner loops of the contractions; where one
    parallel (head, block of queries)                           block has all queries, inside of it
        for tile: scores = q k^T * scale + masks                keys beyond the last are -inf
        for query: probabilities = softmax(scores)              whole vectors: exp(-inf) is 0
        for tile: output = probabilities v

Queries and keys may be integers of 8 bits, with sums in int32; probabilities and values are floats then.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from tvm import te, tirx

from ...annotations import ANCHOR, STAGE
from ...ir_passes.dialect.attention import SUMS_OF_INTEGERS
from ...ir_types import Scalar
from ...targets.target import DotUnit, Target
from ..tensorir.expressions import constant_shape, int64, int64s
from ..tensorir.padding import within
from . import contraction_choice, dot_product, rows, rows_choice
from .choices import Choice
from .contraction import MultiplyAddChoice, Workload
from .contraction_choice import register_tiles
from .cutting import blockings
from .dot_product import faster_units
from .dot_product_choice import DotProductChoice
from .microkernels import microkernel
from .rows import softmax_stages
from .rows_choice import ROWS, Rows, RowsChoice
from .sharing import best_threads, elapsed, thread_counts

Tile = MultiplyAddChoice | DotProductChoice
ATTENTION = "attention"
# The blocks, in order: the products of queries and keys; those with scale and mask; the end of the softmax; the sums of
# values; and the result, which consumers join.
PRODUCTS, SCORES, PROBABILITIES, SUMS, RESULT = "scores", "masked_scores", "probabilities", "sums", "attended"
# The share of L2 that a block of scores may take.
_L2_SHARE = 0.25
_MAX_ROW_TILES = 16
_FLOAT_BYTES = 4
_DTYPE = "float32"


@dataclass(frozen=True)
class Heads:
    """The sizes of an attention: so many independent heads (of all images), queries and keys, and depths.

    Attributes:
        dtype: that queries, keys, values and probabilities are multiplied in; sums are float32.
        integers: the dtypes of queries and of keys, where those are integers; their sums are int32.
    """

    heads: int
    queries: int
    keys: int
    depth: int
    value_depth: int
    dtype: str = _DTYPE
    integers: tuple[str, str] | None = None

    @property
    def scores(self) -> Workload:
        """The product of queries and keys."""
        lhs, rhs = self.integers or (self.dtype, self.dtype)
        sums = _DTYPE if self.integers is None else SUMS_OF_INTEGERS
        return Workload(self.heads, self.queries, self.keys, (self.depth,), lhs, rhs, sums)

    def values(self, queries: int, keys: int) -> Workload:
        """The product of so many rows of so many probabilities with the values."""
        return Workload(self.heads, queries, self.value_depth, (keys,), self.dtype, self.dtype, _DTYPE)


@dataclass(frozen=True)
class AttentionChoice(Choice):
    """How the two products are multiplied, in tiles of as many rows and blocks of as many tiles, and the softmax.

    At most so many ``threads`` share the blocks.
    """

    scores: Tile
    values: Tile
    softmax: RowsChoice
    threads: int = 1

    @property
    def block(self) -> int:
        """Rows of scores in a block."""
        return self.scores.tile_rows * self.scores.row_tiles


def takes(workload: object, target: Target) -> bool:
    """Attention whose dtype something multiplies."""
    return isinstance(workload, Heads) and bool(_pairs(workload, target))


def space(workload: Heads, target: Target) -> Iterator[AttentionChoice]:
    """All pairs of tiles of the same rows, in blocks whose scores fit the L2 cache."""
    scores, values = (list(tiles) for tiles in _tiles(workload, target))
    for first in scores:
        for second in (each for each in values if _row_shape(each) == _row_shape(first)):
            for softmax in rows_choice.space(rows_of(workload, first, target), target.with_cores(1)):
                for size in _block_sizes(workload, first, target.l2_bytes):
                    pair = AttentionChoice(replace(first, row_tiles=size), replace(second, row_tiles=size), softmax)
                    for threads in thread_counts(target):
                        yield replace(pair, threads=threads)


def default(workload: Heads, target: Target) -> AttentionChoice:
    """Tiles, blocks that leave most of the L2 cache free, and threads, together: the fewest estimated cycles."""
    choices = []
    for scores, values in _pairs(workload, target):
        softmax = rows_choice.default(rows_of(workload, scores, target), target.with_cores(1))
        for size in _block_sizes(workload, scores, target.l2_bytes * _L2_SHARE):
            choice = AttentionChoice(replace(scores, row_tiles=size), replace(values, row_tiles=size), softmax)
            threads = best_threads(_block_cycles(workload, choice, target), block_count(workload, choice), target)
            choices.append(replace(choice, threads=threads))
    return min(choices, key=lambda choice: estimate(workload, choice, target))


def _block_sizes(workload: Heads, scores: Tile, most_bytes: float) -> list[int]:
    """Tiles in a block, most first: as many as have scores of so many bytes, or one."""
    tile_bytes = _FLOAT_BYTES * scores.tile_rows * workload.keys
    most = max(1, min(_MAX_ROW_TILES, int(most_bytes // tile_bytes)))
    return [each for each in blockings(math.ceil(workload.queries / scores.tile_rows)) if each <= most]


def estimate(workload: Heads, choice: AttentionChoice, target: Target) -> float:
    """Estimated cycles until all cores are done; keys and values are packed before, the same for every choice."""
    return elapsed(_block_cycles(workload, choice, target), block_count(workload, choice), choice.threads, target)


def block_count(workload: Heads, choice: AttentionChoice) -> int:
    """Iterations of the parallel loop."""
    return workload.heads * math.ceil(workload.queries / choice.block)


def _block_cycles(workload: Heads, choice: AttentionChoice, target: Target) -> float:
    """Estimated cycles of one core for all blocks: products, softmax, and keys and values read by each of them."""
    blocks = block_count(workload, choice)
    padded = replace(workload, queries=blocks // workload.heads * choice.block)
    softmax = replace(rows_of(padded, choice.scores, target), functions=1)
    key_bytes = _FLOAT_BYTES if workload.integers is None else 1
    loaded = workload.keys * (workload.depth * key_bytes + workload.value_depth * _FLOAT_BYTES)
    return (
        _cycles(padded, choice.scores, choice.values, target)
        + rows_choice.cycles(softmax, choice.softmax, target)
        + blocks * loaded / (target.vector_bits // 8) / target.core.l2_vectors_per_cycle
    )


def cycles(workload: Heads, target: Target) -> float:
    """Estimated cycles of one core for both products; infinite where nothing multiplies operands of that dtype."""
    pairs = _pairs(workload, target)
    return min((_cycles(workload, pair[0], pair[1], target) for pair in pairs), default=math.inf)


def _tiles(sizes: Heads, target: Target) -> tuple[Iterator[Tile], Iterator[Tile]]:
    """The tiles that scores may be made in, and sums of values."""
    scores, values = sizes.scores, sizes.values(sizes.queries, sizes.keys)
    found = faster_units(target, scores.lhs, scores.rhs, scores.accumulator)
    units = [unit for unit in found if sizes.depth % unit.group == 0]
    by_units = (tile for unit in units for tile in dot_product.tiles(scores, unit, target))
    if sizes.dtype == _DTYPE:
        of_scores = register_tiles(scores, target) if sizes.integers is None else by_units
        return of_scores, register_tiles(values, target)
    return by_units, (tile for unit in units for tile in dot_product.tiles(_whole(sizes, unit), unit, target))


def _whole(sizes: Heads, unit: DotUnit) -> Workload:
    """The sums of values over as many keys as a unit takes at once."""
    return sizes.values(sizes.queries, math.ceil(sizes.keys / unit.lanes) * unit.lanes)


def _pairs(sizes: Heads, target: Target) -> list[tuple[Tile, Tile]]:
    """The fastest tiles for scores and for sums of values, for each shape of rows that both have."""
    first, second = (
        _fastest((tile, _cycles_of(workload, tile, target)) for tile in tiles)
        for workload, tiles in zip(
            (sizes.scores, sizes.values(sizes.queries, sizes.keys)), _tiles(sizes, target), strict=True
        )
    )
    return [(first[shape], second[shape]) for shape in first if shape in second]


def _fastest(found: Iterable[tuple[Tile, float]]) -> dict[tuple[int, ...], Tile]:
    """For each shape of rows the tile of the fewest cycles."""
    fastest: dict[tuple[int, ...], tuple[Tile, float]] = {}
    for tile, cycles_of_tile in found:
        best = fastest.get(_row_shape(tile))
        if best is None or cycles_of_tile < best[1]:
            fastest[_row_shape(tile)] = (tile, cycles_of_tile)
    return {shape: tile for shape, (tile, _) in fastest.items()}


def _row_shape(tile: Tile) -> tuple[int, ...]:
    """Rows of a tile, as the tile counts them: equal for two that can share a loop over tiles."""
    by_instructions = isinstance(tile, DotProductChoice) and tile.rows > 1
    return (tile.rows, tile.tile_rows) if by_instructions else (tile.tile_rows,)


def _cycles(sizes: Heads, scores: Tile, values: Tile, target: Target) -> float:
    sums = sizes.values(sizes.queries, sizes.keys)
    return _cycles_of(sizes.scores, scores, target) + _cycles_of(sums, values, target)


def _cycles_of(workload: Workload, tile: Tile, target: Target) -> float:
    if isinstance(tile, DotProductChoice):
        return dot_product.cycles(workload.with_k(tile.k), tile, target.unit(tile.unit), target)
    return contraction_choice.cycles(workload, tile, target)


def rows_of(sizes: Heads, scores: Tile, target: Target) -> Rows:
    """The rows of scores, as long as the tiles that they are made in."""
    lanes = sizes.scores.lanes(target)
    if isinstance(scores, DotProductChoice):
        lanes = target.unit(scores.unit).lanes
    columns = scores.vectors * lanes
    return Rows(sizes.heads * sizes.queries, math.ceil(sizes.keys / columns) * columns, _DTYPE)


def compute(
    sizes: Heads,
    choice: AttentionChoice,
    target: Target,
    q: te.Tensor,
    k: te.Tensor,
    v: te.Tensor,
    *masks: te.Tensor,
    heads: int,
    scale: float,
    nan_is_zero: bool,
) -> te.Tensor:
    """The result, (batch, queries, heads, value depth), of so many heads of an image."""
    groups = heads // constant_shape(k)[2]
    scores = microkernel(sizes.scores, choice.scores, target, template=ATTENTION, name=PRODUCTS)
    values = microkernel(sizes.values(sizes.queries, sizes.keys), choice.values, target, template=ATTENTION, name=SUMS)

    def query(head: Any, row: Any, inner: Any) -> Scalar:
        return q[head // heads, row, head % heads, inner]

    def key(head: Any, column: Any, inner: Any) -> Scalar:
        return k[head // heads, column, head % heads // groups, inner]

    extents = (sizes.heads, sizes.queries, sizes.depth)
    lhs = scores.operand(query, extents, (sizes.heads, scores.rows_read, sizes.depth), (0, 0, 0))
    products = scores.compute_padded(lhs, scores.pack_at_run_time(key))
    width = constant_shape(products)[-1]
    reduce = partial(rows.compute, Rows(sizes.heads * sizes.queries, width, _DTYPE), choice.softmax, target)
    probabilities = _softmax(sizes, reduce, products, scale, masks, heads, nan_is_zero, values.operand_dtype)
    _, padded_rows, width = constant_shape(probabilities)
    # A unit takes keys by groups: as far as there are probabilities, which are zero for those that do not exist.
    summed = sizes.keys if isinstance(choice.values, MultiplyAddChoice) else width
    over = values.made_for(sizes.values(padded_rows, summed))

    def value(head: Any, column: Any, inner: Any) -> Scalar:
        return within(v[head // heads, inner, head % heads // groups, column], inner, sizes.keys, summed)

    sums = over.compute_padded(lambda *index: probabilities[index], over.pack_at_run_time(value))
    return te.compute(
        int64s((sizes.heads // heads, sizes.queries, heads, sizes.value_depth)),
        lambda image, row, head, inner: sums[image * heads + head, row, inner],
        name=RESULT,
    )


def _softmax(
    sizes: Heads,
    reduce: Callable[..., Any],
    products: te.Tensor,
    scale: float,
    masks: Sequence[te.Tensor],
    heads: int,
    nan_is_zero: bool,
    dtype: str,
) -> te.Tensor:
    """Probabilities of shape (heads, padded queries, padded keys) and of `dtype`, zero for padding keys.

    Args:
        reduce: reduces rows of them.
    """
    *lead, width = constant_shape(products)
    low = float("-inf")
    of_sums, of_scores = ([each for each in masks if (str(each.dtype) == _DTYPE) is kind] for kind in (False, True))
    shifts = [_padded_mask(mask, sizes.keys, width, 0) for mask in of_sums]
    whole = [_padded_mask(mask, sizes.keys, width, beyond(position)) for position, mask in enumerate(of_scores)]

    def score(head: Any, row: Any, column: Any) -> Scalar:
        def at(mask: te.Tensor) -> Scalar:
            query = tirx.min(row, int64(sizes.queries - 1))
            places = (head // heads % constant_shape(mask)[0], head % heads, query)
            own = zip(places, constant_shape(mask), strict=False)
            return mask[(*(index if extent > 1 else int64(0) for index, extent in own), column)]

        value = products[head, row, column]
        for mask in shifts:
            value = value + at(mask)
        value = value if sizes.integers is None else value.astype(_DTYPE)
        value = value if scale == 1 else value * tirx.const(scale, _DTYPE)
        for mask in whole:
            value = value + at(mask)
        return (
            value if whole or width == sizes.keys else tirx.Select(column < sizes.keys, value, tirx.const(low, _DTYPE))
        )

    scores = te.compute(int64s((*lead, width)), score, name=SCORES, attrs=STAGE.entry(SCORES))
    powers, factor = softmax_stages(reduce, lambda *index: scores[index], lead, width, _DTYPE)

    def probability(*index: Any) -> Scalar:
        value = powers[index] * factor[index[:-1]]
        # No other probability fails to be at least 0; `tirx.isnan` would not be vectorized.
        zero = tirx.const(0, _DTYPE)
        value = tirx.Select(value >= zero, value, zero) if nan_is_zero else value
        return value if dtype == _DTYPE else value.astype(dtype)

    return te.compute(int64s((*lead, width)), probability, name=PROBABILITIES, attrs=ANCHOR.entry(ROWS))


def beyond(position: int) -> float:
    """What a mask is beyond the keys: the first one keeps padding out."""
    return 0.0 if position else float("-inf")


def _padded_mask(mask: te.Tensor, keys: int, width: int, beyond: float) -> te.Tensor:
    """A mask for so many scores a row, with a value beyond the keys; itself where it is as long."""
    shape = constant_shape(mask)
    if shape[-1] == width:
        return mask

    def element(*index: Any) -> Scalar:
        own = mask[(*index[:-1], index[-1] if shape[-1] > 1 else int64(0))]
        return own if width == keys else tirx.if_then_else(index[-1] < keys, own, tirx.const(beyond, str(mask.dtype)))

    return te.compute(int64s((*shape[:-1], width)), element, name="padded_mask", attrs=STAGE.entry("pad"))
