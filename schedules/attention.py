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
from dataclasses import dataclass
from typing import Any

from tvm import relax, te, tirx

from ..targets.target import Target
from . import contraction
from .annotations import ANCHOR, STAGE, TEMPLATE
from .contraction import Choice, Workload
from .expressions import Scalar, constant_shape, int64, int64s
from .packing import pack_at_run_time
from .rows import ROWS, softmax_stages

ATTENTION = "attention"
# The blocks that are neither contractions nor rows: the scores with scale and mask; the result that consumers join.
SCORES = "masked_scores"
RESULT = "attended"
# The share of L2 that a block of scores may take.
_L2_SHARE = 0.25
_MAX_ROW_TILES = 16
_FLOAT_BYTES = 4


@dataclass(frozen=True)
class Heads:
    """The sizes of an attention: so many independent heads (of all images), queries and keys, and depths."""

    heads: int
    queries: int
    keys: int
    depth: int
    value_depth: int

    @property
    def scores(self) -> Workload:
        """The product of queries and keys."""
        return Workload(self.heads, self.queries, self.keys, (self.depth,))

    def values(self, queries: int) -> Workload:
        """The product of so many rows of probabilities with the values."""
        return Workload(self.heads, queries, self.value_depth, (self.keys,))


def default(sizes: Heads, target: Target) -> Choice:
    """``rows`` of both register tiles, their ``vectors`` and ``value_vectors``, ``row_tiles`` of a block of queries."""

    def best(workload: Workload) -> dict[int, tuple[float, int]]:
        found: dict[int, tuple[float, int]] = {}
        for tile in contraction.register_tiles(workload, target):
            cycles = contraction.cycles(workload, tile["rows"], tile["vectors"], target)
            found[tile["rows"]] = min(found.get(tile["rows"], (math.inf, 0)), (cycles, tile["vectors"]))
        return found

    scores, values = best(sizes.scores), best(sizes.values(sizes.queries))
    rows = min(scores.keys() & values.keys(), key=lambda count: scores[count][0] + values[count][0])
    tiles = math.ceil(sizes.queries / rows)
    fitting = int(target.l2_bytes * _L2_SHARE) // (_FLOAT_BYTES * rows * sizes.keys)
    blocks = math.ceil(tiles / max(1, min(fitting, _MAX_ROW_TILES)))
    while sizes.heads * blocks < target.cores and blocks < tiles:
        blocks += 1
    return {
        "rows": rows,
        "vectors": scores[rows][1],
        "value_vectors": values[rows][1],
        "row_tiles": math.ceil(tiles / blocks),
    }


def lower_attention(builder: relax.BlockBuilder, call: relax.Call, target: Target) -> relax.Expr:
    """Lowers `relax.tilewright.attention` of q, k, v (batch, tokens, heads, depth) and a mask to a `call_tir`."""
    batch, queries, heads, depth = constant_shape(call.args[0])
    keys, value_depth = constant_shape(call.args[1])[1], constant_shape(call.args[2])[3]
    sizes = Heads(batch * heads, queries, keys, depth, value_depth)
    choice = default(sizes, target)
    scale, nan_is_zero = float(call.attrs["scale"]), bool(int(call.attrs["nan_is_zero"]))

    def compute(q: te.Tensor, k: te.Tensor, v: te.Tensor, mask: te.Tensor | None = None) -> te.Tensor:
        def key(head: Any, column: Any, inner: Any) -> Scalar:
            return k[head // heads, column, head % heads, inner]

        def value(head: Any, column: Any, inner: Any) -> Scalar:
            return v[head // heads, inner, head % heads, column]

        products = contraction.compute(
            sizes.scores,
            choice,
            target,
            lambda head, row, inner: q[head // heads, row, head % heads, inner],
            pack_at_run_time(key, sizes.scores, choice, target, name="packed_keys"),
            template=ATTENTION,
            name="scores",
        )
        probabilities = _softmax(sizes, target, products, scale, mask, heads, nan_is_zero)
        value_choice = {**choice, "vectors": choice["value_vectors"]}
        values = sizes.values(constant_shape(probabilities)[1])
        sums = contraction.compute(
            values,
            value_choice,
            target,
            lambda head, row, inner: probabilities[head, row, inner],
            pack_at_run_time(value, values, value_choice, target, name="packed_values"),
            template=ATTENTION,
            name="sums",
        )
        return te.compute(
            int64s((batch, queries, heads, value_depth)),
            lambda image, row, head, inner: sums[image * heads + head, row, inner],
            name=RESULT,
        )

    return builder.call_te(compute, *call.args, primfunc_name_hint=ATTENTION, primfunc_attrs={TEMPLATE: ATTENTION})


def _softmax(
    sizes: Heads,
    target: Target,
    products: te.Tensor,
    scale: float,
    mask: te.Tensor | None,
    heads: int,
    nan_is_zero: bool,
) -> te.Tensor:
    """Probabilities of shape (heads, padded queries, padded keys), zero for padding keys."""
    *lead, width = constant_shape(products)
    low = tirx.const(float("-inf"), "float32")
    if mask is not None:
        shape = constant_shape(mask)
        padded = te.compute(
            int64s((*shape[:-1], width)),
            lambda *i: tirx.if_then_else(
                i[-1] < sizes.keys, mask[(*i[:-1], i[-1] if shape[-1] > 1 else int64(0))], low
            ),
            name="padded_mask",
            attrs={STAGE: "pad"},
        )

    def score(head: Any, row: Any, column: Any) -> Scalar:
        product = products[head, row, column]
        product = product if scale == 1 else product * tirx.const(scale, "float32")
        if mask is None:
            return product if width == sizes.keys else tirx.Select(column < sizes.keys, product, low)
        query = tirx.min(row, int64(sizes.queries - 1))
        at = [
            index if extent > 1 else int64(0)
            for index, extent in zip((head // heads, head % heads, query), shape[:-1], strict=True)
        ]
        return product + padded[(*at, column)]

    scores = te.compute(int64s((*lead, width)), score, name=SCORES, attrs={STAGE: SCORES})
    powers, factor = softmax_stages(lambda *index: scores[index], lead, width, target.lanes(), "float32")

    def probability(*index: Any) -> Scalar:
        value = powers[index] * factor[index[:-1]]
        # No other probability fails to be at least 0; `tirx.isnan` would not be vectorized.
        zero = tirx.const(0, "float32")
        return tirx.Select(value >= zero, value, zero) if nan_is_zero else value

    return te.compute(int64s((*lead, width)), probability, name="probabilities", attrs={ANCHOR: ROWS})


def can_lower_attention(call: relax.Call) -> bool:
    """Whether it is attention of float32, of something."""
    return str(call.ty.dtype) == "float32" and all(0 not in constant_shape(arg) for arg in call.args)
