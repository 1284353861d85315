"""softmax(q k^T * scale + mask) v becomes one operator, which keeps no score matrix in memory."""

from __future__ import annotations

from dataclasses import dataclass

import tvm
from tvm import relax

from ..core.base import GraphPass, PassResult
from ..core.constants import scalar_of
from ..core.graph import Expr, Var
from ..core.match import calls, keeps_shape, made_by, only_use, scalar_factor
from ..core.rewriter import Rewriter, dtype_of, rewrite, shape_of
from .attention_operator import attention

_HEADS_INSIDE = (0, 2, 1, 3)  # (batch, heads, tokens, depth) <-> (batch, tokens, heads, depth)
_KEYS_INSIDE = (0, 3, 1, 2)  # (batch, heads, depth, tokens) -> (batch, tokens, heads, depth)


@dataclass(frozen=True)
class FuseAttention(GraphPass):
    """matmul(softmax(matmul(q, k) * scale + mask), v) -> attention(q, k, v, mask, scale), for float32 of rank 4.

    The scale and the mask may be missing; probabilities may have NaN replaced by 0. The operator takes tokens before
    heads, so the values are transposed to that and back; where a model transposed them from it, Canonicalize takes both
    away. Scores that anything else reads stay. Contract: the same function, that of NaN and infinities too.
    """

    def __call__(self, module: tvm.IRModule) -> PassResult:
        """Rewrite `main`."""
        return rewrite(module, _visit)


def _visit(rewriter: Rewriter, var: Var, value: Expr) -> Expr | None:
    if not calls(value, "matmul") or not all(_is_batch_of_heads(arg) for arg in value.args):
        return None
    probabilities, v = value.args
    plain = _without_nan(rewriter, probabilities)
    nan_is_zero = plain is not None
    if plain is not None:
        probabilities = plain
    softmax = made_by(rewriter, probabilities, "nn.softmax")
    uses = 2 if nan_is_zero else 1
    if softmax is None or rewriter.uses(probabilities) > uses or int(softmax.attrs.axis) not in (-1, 3):
        return None
    scores = softmax.args[0]
    mask, scores = _mask(rewriter, scores)
    scale, scores = _scale(rewriter, scores)
    product = made_by(rewriter, scores, "matmul")
    if product is None or not only_use(rewriter, scores) or not all(_is_batch_of_heads(arg) for arg in product.args):
        return None
    q, k = product.args
    leading = {shape[:2] for shape in map(shape_of, (q, k, v)) if shape is not None}
    if len(leading) != 1:
        return None
    hint = rewriter.hint(var, value, q, k, v, *([mask] if mask is not None else []))
    operands = [
        _transposed(rewriter, q, _HEADS_INSIDE, hint),
        _transposed(rewriter, k, _KEYS_INSIDE, hint),
        _transposed(rewriter, v, _HEADS_INSIDE, hint),
        *([mask] if mask is not None else []),
    ]
    result = rewriter.emit(attention(operands, scale=scale, nan_is_zero=nan_is_zero), hint)
    return _transposed(rewriter, result, _HEADS_INSIDE, hint)


def _without_nan(rewriter: Rewriter, expr: Expr) -> Expr | None:
    """p, if `expr` is where(isnan(p), 0, p)."""
    chosen = made_by(rewriter, expr, "where")
    if chosen is None or not only_use(rewriter, expr) or scalar_of(chosen.args[1]) != 0:
        return None
    condition = made_by(rewriter, chosen.args[0], "isnan")
    same = condition is not None and condition.args[0].same_as(chosen.args[2])
    return chosen.args[2] if same and only_use(rewriter, chosen.args[0]) else None


def _is_batch_of_heads(expr: Expr) -> bool:
    shape = shape_of(expr)
    return shape is not None and len(shape) == 4 and 0 not in shape and dtype_of(expr) == "float32"


def _mask(rewriter: Rewriter, scores: Expr) -> tuple[Expr | None, Expr]:
    """What is added to the scores, if anything, and the scores before that."""
    added = made_by(rewriter, scores, "add")
    if added is None or not only_use(rewriter, scores):
        return None, scores
    for inner, mask in (added.args, reversed(added.args)):
        shape = shape_of(mask)
        is_scores = made_by(rewriter, inner, "matmul", "multiply", "divide") is not None
        if is_scores and keeps_shape(added, inner) and shape is not None and len(shape) == 4:
            return mask, inner
    return None, scores


def _scale(rewriter: Rewriter, scores: Expr) -> tuple[float, Expr]:
    """The constant that the scores are multiplied by, and the scores before that."""
    scaled = made_by(rewriter, scores, "multiply", "divide")
    found = scalar_factor(scaled) if scaled is not None and only_use(rewriter, scores) else None
    return (found[1], found[0]) if found is not None else (1.0, scores)


def _transposed(rewriter: Rewriter, expr: Expr, axes: tuple[int, ...], hint: str) -> Expr:
    return rewriter.emit(relax.op.permute_dims(expr, axes), hint)
