"""Attention: softmax(q k^T * scale + mask) v for many heads, a block of rows of scores at a time.

Two contractions of the register-tiled kind with a softmax between them. The scores of a block of queries live in the
cache, never as a whole matrix in memory. The loop nest:

    pack k and v of every head                                  for the inner loops of the contractions
    parallel (head, block of queries)
        for tile: scores = q k^T * scale + mask                 keys beyond the last are -inf
        for query: probabilities = softmax(scores)              whole vectors: exp(-inf) is 0
        for tile: output = probabilities v
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

from tvm import relax, te, tirx

from ...annotations import ANCHOR, STAGE, TEMPLATE
from ...targets.target import Target
from ..tensorir.expressions import Scalar, constant_shape, int64, int64s
from ..tensorir.operands import uncast
from ..tensorir.padding import within
from . import dot_product
from .contraction import Workload
from .microkernels import DotProducts, Multiplier, MultiplyAdd
from .rows import ROWS, softmax_stages

ATTENTION = "attention"
# The blocks that are neither contractions nor rows: the scores with scale and mask; the result that consumers join.
SCORES = "masked_scores"
RESULT = "attended"
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
    """

    heads: int
    queries: int
    keys: int
    depth: int
    value_depth: int
    dtype: str = _DTYPE

    @property
    def scores(self) -> Workload:
        """The product of queries and keys."""
        return Workload(self.heads, self.queries, self.keys, (self.depth,), self.dtype, self.dtype, _DTYPE)

    def values(self, queries: int, keys: int) -> Workload:
        """The product of so many rows of so many probabilities with the values."""
        return Workload(self.heads, queries, self.value_depth, (keys,), self.dtype, self.dtype, _DTYPE)


def cycles(sizes: Heads, target: Target) -> float:
    """Estimated cycles of one core for both products; infinite where nothing multiplies operands of that dtype."""
    return min((sum(each.cycles for each in pair) for pair in _pairs(sizes, target).values()), default=math.inf)


def _pairs(sizes: Heads, target: Target) -> dict[tuple[int, ...], tuple[Multiplier, Multiplier]]:
    """How scores and sums of values may be multiplied, by the rows that their tiles have in common."""
    scores, values = sizes.scores, sizes.values(sizes.queries, sizes.keys)
    first: list[Multiplier] = []
    second: list[Multiplier] = []
    if sizes.dtype == _DTYPE:
        first += MultiplyAdd.tilings(scores, target, ATTENTION, "scores")
        second += MultiplyAdd.tilings(values, target, ATTENTION, "sums")
    for unit in dot_product.faster_units(target, sizes.dtype, sizes.dtype, _DTYPE):
        if sizes.depth % unit.group == 0:
            whole = sizes.values(sizes.queries, math.ceil(sizes.keys / unit.lanes) * unit.lanes)
            first += DotProducts.tilings(scores, unit, ATTENTION, "scores")
            second += DotProducts.tilings(whole, unit, ATTENTION, "sums")
    of_scores, of_values = _fastest(first), _fastest(second)
    return {shape: (of_scores[shape], of_values[shape]) for shape in of_scores if shape in of_values}


def multipliers(sizes: Heads, target: Target) -> tuple[Multiplier, Multiplier]:
    """How scores and sums of values are multiplied: in tiles of as many rows, ``row_tiles`` of them a block."""
    pairs = _pairs(sizes, target)
    shape = min(pairs, key=lambda rows: pairs[rows][0].cycles + pairs[rows][1].cycles)
    of_scores, of_values = pairs[shape]
    rows = math.prod(shape)
    tiles = math.ceil(sizes.queries / rows)
    fitting = int(target.l2_bytes * _L2_SHARE) // (_FLOAT_BYTES * rows * sizes.keys)
    blocks = math.ceil(tiles / max(1, min(fitting, _MAX_ROW_TILES)))
    while sizes.heads * blocks < target.cores and blocks < tiles:
        blocks += 1
    row_tiles = math.ceil(tiles / blocks)
    return (
        of_scores.made_for(of_scores.workload, row_tiles=row_tiles),
        of_values.made_for(of_values.workload, row_tiles=row_tiles),
    )


def _fastest(found: Iterable[Multiplier]) -> dict[tuple[int, ...], Multiplier]:
    """For each shape of rows the way of the fewest cycles."""
    fastest: dict[tuple[int, ...], Multiplier] = {}
    for each in found:
        best = fastest.get(each.row_shape)
        if best is None or each.cycles < best.cycles:
            fastest[each.row_shape] = each
    return fastest


def lower_attention(builder: relax.BlockBuilder, call: relax.Call, target: Target) -> relax.Expr:
    """Lowers `relax.tilewright.attention` of q, k, v (batch, tokens, heads, depth) and a mask to a `call_tir`."""
    sizes, operands = heads_of(call), list(call.args)
    if sizes.dtype != _DTYPE and not _pairs(sizes, target):
        operands[:3] = [builder.emit(relax.op.astype(operand, _DTYPE)) for operand in operands[:3]]
        call, sizes = builder.normalize(relax.Call(call.op, operands, call.attrs)), replace(sizes, dtype=_DTYPE)
    batch, queries, heads, depth = constant_shape(call.args[0])
    keys, value_depth = sizes.keys, sizes.value_depth
    scores, values = multipliers(sizes, target)
    if scores.casts_operands:
        operands[:3] = [uncast(builder, operand) for operand in operands[:3]]
    scale, nan_is_zero = float(call.attrs["scale"]), bool(int(call.attrs["nan_is_zero"]))

    def compute(q: te.Tensor, k: te.Tensor, v: te.Tensor, mask: te.Tensor | None = None) -> te.Tensor:
        def query(head: Any, row: Any, inner: Any) -> Scalar:
            return q[head // heads, row, head % heads, inner]

        def key(head: Any, column: Any, inner: Any) -> Scalar:
            return k[head // heads, column, head % heads, inner]

        extents = (sizes.heads, queries, depth)
        lhs = scores.operand(query, extents, (sizes.heads, scores.rows_read, depth), (0, 0, 0))
        products = scores.compute_padded(lhs, scores.pack_at_run_time(key))
        probabilities = _softmax(sizes, target, products, scale, mask, heads, nan_is_zero, values.operand_dtype)
        _, rows, width = constant_shape(probabilities)
        # A unit takes keys by groups: as far as there are probabilities, which are zero for those that do not exist.
        summed = width if values.casts_operands else keys
        over = values.made_for(sizes.values(rows, summed))

        def value(head: Any, column: Any, inner: Any) -> Scalar:
            return within(v[head // heads, inner, head % heads, column], inner, keys, summed)

        sums = over.compute_padded(lambda *index: probabilities[index], over.pack_at_run_time(value))
        return te.compute(
            int64s((batch, queries, heads, value_depth)),
            lambda image, row, head, inner: sums[image * heads + head, row, inner],
            name=RESULT,
        )

    return builder.call_te(compute, *operands, primfunc_name_hint=ATTENTION, primfunc_attrs=TEMPLATE.entry(ATTENTION))


def _softmax(
    sizes: Heads,
    target: Target,
    products: te.Tensor,
    scale: float,
    mask: te.Tensor | None,
    heads: int,
    nan_is_zero: bool,
    dtype: str,
) -> te.Tensor:
    """Probabilities of shape (heads, padded queries, padded keys) and of `dtype`, zero for padding keys."""
    *lead, width = constant_shape(products)
    low = tirx.const(float("-inf"), _DTYPE)
    if mask is not None:
        shape = constant_shape(mask)
        padded = te.compute(
            int64s((*shape[:-1], width)),
            lambda *i: tirx.if_then_else(
                i[-1] < sizes.keys, mask[(*i[:-1], i[-1] if shape[-1] > 1 else int64(0))], low
            ),
            name="padded_mask",
            attrs=STAGE.entry("pad"),
        )

    def score(head: Any, row: Any, column: Any) -> Scalar:
        product = products[head, row, column]
        product = product if scale == 1 else product * tirx.const(scale, _DTYPE)
        if mask is None:
            return product if width == sizes.keys else tirx.Select(column < sizes.keys, product, low)
        query = tirx.min(row, int64(sizes.queries - 1))
        at = [
            index if extent > 1 else int64(0)
            for index, extent in zip((head // heads, head % heads, query), shape[:-1], strict=True)
        ]
        return product + padded[(*at, column)]

    scores = te.compute(int64s((*lead, width)), score, name=SCORES, attrs=STAGE.entry(SCORES))
    powers, factor = softmax_stages(lambda *index: scores[index], lead, width, target.lanes(), _DTYPE)

    def probability(*index: Any) -> Scalar:
        value = powers[index] * factor[index[:-1]]
        # No other probability fails to be at least 0; `tirx.isnan` would not be vectorized.
        zero = tirx.const(0, _DTYPE)
        value = tirx.Select(value >= zero, value, zero) if nan_is_zero else value
        return value if dtype == _DTYPE else value.astype(dtype)

    return te.compute(int64s((*lead, width)), probability, name="probabilities", attrs=ANCHOR.entry(ROWS))


def heads_of(call: relax.Call) -> Heads:
    """The sizes of a call."""
    batch, queries, heads, depth = constant_shape(call.args[0])
    keys, value_depth = constant_shape(call.args[1])[1], constant_shape(call.args[2])[3]
    return Heads(batch * heads, queries, keys, depth, value_depth, str(call.args[0].ty.dtype))


def can_lower_attention(call: relax.Call) -> bool:
    """Whether it is attention with results in float32, of something."""
    return str(call.ty.dtype) == _DTYPE and all(0 not in constant_shape(arg) for arg in call.args)
