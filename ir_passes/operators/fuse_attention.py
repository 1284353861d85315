"""softmax(q k^T * scale + masks) v becomes one operator, which keeps no score matrix in memory."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import tvm
from tvm import relax

from ...ir_types import Call
from ..core.base import GraphPass, PassResult
from ..core.constants import scalar_of
from ..core.graph import Expr, Var
from ..core.match import calls, made_by, only_use
from ..core.rewriter import Rewriter, dtype_of, rewrite, shape_of
from ..dialect.attention import attention
from .attention_scores import find_scores, mask_operand, regroups, without_scale
from .canonical_moves import RESHAPES

_MAX_STEPS = 4


@dataclass(frozen=True)
class FuseAttention(GraphPass):
    """matmul(softmax(matmul(q, k) * scale + masks), v) -> attention(q, k, v, *masks, scale), for float32.

    Factors may stand on q, on k or on the scores, masks (biases of positions among them) be added before or after, and
    the axes before the last two be reshaped in between; the last of them are the heads, those before it the batch. In
    products of rank 3, heads are looked for behind the reshape that merged them. Probabilities may have NaN replaced by
    0, or those of whole rows, as ONNX's Attention does where all keys are masked: then the results of these rows are 0,
    whatever the values are. The operator takes tokens before heads, so the values are transposed to that and back;
    where a model transposed them from it, Canonicalize takes both away. Scores that anything else reads stay. Contract:
    but for that, the same function, that of NaN and infinities too, up to rounding.
    """

    def __call__(self, module: tvm.IRModule) -> PassResult:
        """Rewrite `main`."""
        return rewrite(module, _visit)


@dataclass(frozen=True)
class _Heads:
    """An operand (*leading, rows, columns), or with rows and columns swapped."""

    expr: Expr
    leading: tuple[int, ...]
    swapped: bool = False


def _visit(rewriter: Rewriter, var: Var, value: Expr) -> Expr | None:
    if not calls(value, "matmul") or not all(_is_batch(arg) for arg in value.args):
        return None
    found = _probabilities(rewriter, value.args[0])
    if found is None:
        return None
    softmax, nan_is_zero, empty_rows = found
    scores = find_scores(rewriter, softmax.args[0])
    if scores is None or not all(_is_batch(arg) for arg in scores.product.args):
        return None
    q, left = without_scale(rewriter, scores.product.args[0])
    k, right = without_scale(rewriter, scores.product.args[1])
    if scores.by_head is not None:
        q = rewriter.emit(relax.op.multiply(q, scores.by_head), var.name)
    operands = _with_common_heads(rewriter, q, k, value.args[1])
    shape = shape_of(value)
    if operands is None or shape is None:
        return None
    heads = operands[0].leading[-1] if len(operands[0].leading) > 1 else 1
    stops = [*(each.expr for each in operands), *(mask.expr for mask in scores.masks)]
    hint = rewriter.hint(var, value, *stops)
    masks = [mask_operand(rewriter, mask, heads, hint) for mask in scores.masks]
    if any(mask is None for mask in masks):
        return None
    tokens_first = [
        _tokens_before_heads(rewriter, each, hint, transposed=position == 1) for position, each in enumerate(operands)
    ]
    scale = scores.scale * left * right
    result = rewriter.emit(attention([*tokens_first, *masks], scale=scale, nan_is_zero=nan_is_zero), hint)
    result = _heads_before_tokens(rewriter, result, operands[0].leading, shape, hint)
    if empty_rows is None:
        return result
    return rewriter.emit(relax.op.where(empty_rows, relax.const(0, "float32"), result), hint)


def _is_batch(expr: Expr) -> bool:
    shape = shape_of(expr)
    return shape is not None and len(shape) >= 3 and 0 not in shape and dtype_of(expr) == "float32"


def _probabilities(rewriter: Rewriter, expr: Expr) -> tuple[Call, bool, Expr | None] | None:
    """The softmax that `expr` is, and whether its NaN are made 0, as in where(isnan(p), 0, p), or which rows; reshapes
    may follow."""
    rows = None
    empty = made_by(rewriter, expr, "where") if _without_nan(rewriter, expr) is None else None
    if empty is not None and _is_of_rows(empty) and only_use(rewriter, expr):
        rows, _, expr = empty.args
    regrouped = made_by(rewriter, expr, *RESHAPES)
    while regrouped is not None and regroups(regrouped) and only_use(rewriter, expr):
        expr = regrouped.args[0]
        regrouped = made_by(rewriter, expr, *RESHAPES)
    plain = _without_nan(rewriter, expr)
    softmax = made_by(rewriter, expr if plain is None else plain, "nn.softmax")
    if softmax is None or int(softmax.attrs.axis) not in (-1, softmax.ty.ndim - 1):
        return None
    uses = rewriter.uses(expr) if plain is None else rewriter.uses(plain) - 1
    return (softmax, plain is not None, rows) if uses <= 1 else None


def _is_of_rows(chosen: Call) -> bool:
    """Whether a choice puts 0 in place of whole rows."""
    rows, zero, rest = chosen.args
    shape = shape_of(rows)
    return scalar_of(zero) == 0 and shape is not None and shape[-1:] == (1,) and shape_of(rest) == shape_of(chosen)


def _without_nan(rewriter: Rewriter, expr: Expr) -> Expr | None:
    """p, if `expr` is where(isnan(p), 0, p)."""
    chosen = made_by(rewriter, expr, "where")
    if chosen is None or not only_use(rewriter, expr) or scalar_of(chosen.args[1]) != 0:
        return None
    condition = made_by(rewriter, chosen.args[0], "isnan")
    same = condition is not None and condition.args[0].same_as(chosen.args[2])
    return chosen.args[2] if same and only_use(rewriter, chosen.args[0]) else None


def _with_common_heads(rewriter: Rewriter, *operands: Expr) -> list[_Heads] | None:
    """Operands with the same leading axes, two or more if there are such; None where groups of heads share one."""
    found = [list(_views(rewriter, operand)) for operand in operands]
    if len({views[0].leading for views in found}) != 1:
        return None
    if len(found[0][0].leading) > 1:
        return [views[0] for views in found]
    common = [view.leading for view in found[0] if all(view.leading in {v.leading for v in views} for views in found)]
    leading = next((each for each in common if len(each) > 1), common[0])
    return [next(view for view in views if view.leading == leading) for views in found]


def _views(rewriter: Rewriter, expr: Expr) -> Iterator[_Heads]:
    """An operand, and what it was before its leading axes were merged."""
    swapped = False
    for _ in range(_MAX_STEPS):
        shape = shape_of(expr)
        if shape is None or len(shape) < 3:
            return
        yield _Heads(expr, shape[:-2], swapped)
        value = made_by(rewriter, expr, "permute_dims", *RESHAPES)
        if value is None:
            return
        if calls(value, "permute_dims"):
            rank = len(shape)
            order = [int(axis) % rank for axis in value.attrs.axes] if value.attrs.axes is not None else []
            if order != [*range(rank - 2), rank - 1, rank - 2]:
                return
            swapped = not swapped
        elif not regroups(value):
            return
        expr = value.args[0]


def _tokens_before_heads(rewriter: Rewriter, operand: _Heads, hint: str, *, transposed: bool) -> Expr:
    """(batch, tokens, heads, depth) of (*batch, heads, tokens, depth), or of one that is `transposed` as keys are."""
    shape = shape_of(operand.expr)
    assert shape is not None
    count = len(operand.leading)
    tokens, depth = (count + 1, count) if transposed != operand.swapped else (count, count + 1)
    batch, heads = (operand.leading[:-1], operand.leading[-1]) if count > 1 else (operand.leading, 1)
    order = (*range(count - 1), tokens, count - 1, depth) if count > 1 else (0, tokens, depth)
    expr = operand.expr
    if order != tuple(range(count + 2)):
        expr = rewriter.emit(relax.op.permute_dims(expr, order), hint)
    target = (math.prod(batch), shape[tokens], heads, shape[depth])
    return expr if shape_of(expr) == target else rewriter.emit(relax.op.reshape(expr, list(target)), hint)


def _heads_before_tokens(
    rewriter: Rewriter, result: Expr, leading: tuple[int, ...], shape: tuple[int, ...], hint: str
) -> Expr:
    """The result (batch, tokens, heads, depth) as the product of probabilities and values had it."""
    count = len(leading)
    if count > 1:
        tokens_first = (*leading[:-1], shape[-2], leading[-1], shape[-1])
        if shape_of(result) != tokens_first:
            result = rewriter.emit(relax.op.reshape(result, list(tokens_first)), hint)
        result = rewriter.emit(relax.op.permute_dims(result, (*range(count - 1), count, count - 1, count + 1)), hint)
    return result if shape_of(result) == shape else rewriter.emit(relax.op.reshape(result, list(shape)), hint)
