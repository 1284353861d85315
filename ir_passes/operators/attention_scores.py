"""What the operand of attention's softmax is: a product of queries and keys, scaled, with masks added to it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from tvm import relax

from ...ir_types import Call
from ..core.constants import array_of, constant
from ..core.graph import Expr
from ..core.match import calls, keeps_shape, made_by, only_use, scalar_factor
from ..core.rewriter import Rewriter, dtype_of, shape_of
from .canonical_moves import RESHAPES

_MAX_STEPS = 12


@dataclass(frozen=True)
class Mask:
    """What is added to scores: `expr` times `factor`; its shape broadcasts to (*leading, queries, keys)."""

    expr: Expr
    factor: float
    leading: tuple[int, ...]


@dataclass(frozen=True)
class Scores:
    """product * scale * by_head + masks.

    Attributes:
        product: the matmul of queries (..., queries, depth) and keys (..., depth, keys).
        by_head: a factor that is the same for all queries and keys of a head, of shape (..., 1, 1), or None.
    """

    product: Call
    scale: float = 1.0
    by_head: Expr | None = None
    masks: tuple[Mask, ...] = ()


def find_scores(rewriter: Rewriter, expr: Expr, steps: int = _MAX_STEPS) -> Scores | None:
    """`expr` as scores that nothing else reads, through sums, factors and reshapes of the axes before the last two."""
    value = rewriter.definition(expr)
    if steps == 0 or value is None or not only_use(rewriter, expr):
        return None
    if calls(value, "matmul"):
        return Scores(value)
    if calls(value, *RESHAPES):
        return find_scores(rewriter, value.args[0], steps - 1) if regroups(value) else None
    if calls(value, "add", "subtract"):
        pairs = [tuple(value.args), tuple(value.args)[::-1]][: 1 if calls(value, "subtract") else 2]
        for inner, mask in pairs:
            found = find_scores(rewriter, inner, steps - 1) if keeps_shape(value, inner) else None
            if found is not None:
                sign = -1.0 if calls(value, "subtract") else 1.0
                return replace(found, masks=(*found.masks, Mask(mask, sign, _leading(value))))
        return None
    return _multiplied(rewriter, value, steps)


def _multiplied(rewriter: Rewriter, value: Call, steps: int) -> Scores | None:
    scaled = scalar_factor(value)
    if scaled is not None:
        found = find_scores(rewriter, scaled[0], steps - 1)
        return None if found is None else _scaled_by(found, scaled[1])
    if not calls(value, "multiply"):
        return None
    for inner, factor in (tuple(value.args), tuple(value.args)[::-1]):
        shape = shape_of(factor)
        if shape is None or any(extent != 1 for extent in shape[-2:]) or not keeps_shape(value, inner):
            continue
        found = find_scores(rewriter, inner, steps - 1)
        if (
            found is not None
            and not found.masks
            and found.by_head is None
            and _leading(value) == _leading(found.product)
        ):
            return replace(found, by_head=factor)
    return None


def _scaled_by(scores: Scores, scale: float) -> Scores:
    """The scores, masks and all, times a number."""
    masks = tuple(replace(mask, factor=mask.factor * scale) for mask in scores.masks)
    return replace(scores, scale=scores.scale * scale, masks=masks)


def without_scale(rewriter: Rewriter, operand: Expr) -> tuple[Expr, float]:
    """An operand of the product before it was multiplied by a number, and the number."""
    value = made_by(rewriter, operand, "multiply", "divide")
    found = scalar_factor(value) if value is not None else None
    return found if found is not None else (operand, 1.0)


def regroups(value: Call) -> bool:
    """Whether a reshape leaves the last two axes as they are."""
    before, after = shape_of(value.args[0]), shape_of(value)
    if before is None or after is None or min(len(before), len(after)) < 2:
        return False
    return before[-2:] == after[-2:]


def _leading(value: Expr) -> tuple[int, ...]:
    return (shape_of(value) or ())[:-2]


def mask_operand(rewriter: Rewriter, mask: Mask, heads: int, hint: str) -> Expr | None:
    """A mask in the shape that attention takes: (batch, heads, queries, keys), or of fewer images, which repeat.

    Args:
        heads: of an image; the axes before the last of them are the batch.
    """
    shape = shape_of(mask.expr)
    if shape is None or dtype_of(mask.expr) != "float32":
        return None
    missing = len(mask.leading) + 2 - len(shape)
    full = (1,) * missing + shape
    split = _split(mask.leading, heads)
    if split is None or missing < 0:
        return None
    wide = [
        extent
        for before, after in ((0, split), (split, len(mask.leading)))
        for extent in _repeating(full[before:after], mask.leading[before:after], repeats=before == 0)
    ]
    target = (math.prod(wide[:split]), math.prod(wide[split:]), *full[-2:])
    spread = (*wide, *full[-2:])
    array = array_of(mask.expr)
    if array is not None:
        scaled = np.broadcast_to(array.reshape(full) * np.float32(mask.factor), spread)
        return constant(np.ascontiguousarray(scaled).reshape(target))
    expr = mask.expr
    if mask.factor != 1:
        expr = rewriter.emit(relax.op.multiply(expr, relax.const(mask.factor, "float32")), hint)
    if spread != full:
        expr = rewriter.emit(relax.op.broadcast_to(expr, list(spread)), hint)
    return expr if shape_of(expr) == target else rewriter.emit(relax.op.reshape(expr, list(target)), hint)


def _split(leading: Sequence[int], heads: int) -> int | None:
    """Where the axes of the heads begin among `leading`."""
    for position in range(len(leading), -1, -1):
        if math.prod(leading[position:]) == heads:
            return position
    return None


def _repeating(extents: Sequence[int], whole: Sequence[int], *, repeats: bool) -> Sequence[int]:
    """Extents that merge into one axis which is 1 or all of it, or a part of it that repeats: widened if need be."""
    if all(extent == 1 for extent in extents) or tuple(extents) == tuple(whole):
        return extents
    first = next(axis for axis, extent in enumerate(extents) if extent > 1)
    # Axes that are not widened have to come last.
    return (*extents[:first], *whole[first:]) if repeats else whole
