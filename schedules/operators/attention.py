"""Attention, our own Relax operator: its operands as the template takes them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from tvm import relax, te

from ...ir_passes.dialect.attention import decomposed, has_integers, is_of_sums
from ...targets.target import Target
from ..templates import attention
from ..templates.attention import AttentionChoice, Heads
from ..templates.dot_product_choice import DotProductChoice
from ..templates.flash_attention import FlashChoice
from ..templates.template import Chooser, Decision
from ..tensorir.expressions import constant_shape
from ..tensorir.operands import uncast
from .convolution import new_constant, relax_constant


def lower_attention(builder: relax.BlockBuilder, call: relax.Call, decide: Chooser) -> relax.Expr:
    """Lowers `relax.tilewright.attention` of q, k, v (batch, tokens, heads, depth) and masks to a `call_tir`.

    Where no template takes it, not in float32 either, it becomes products and a softmax.
    """
    sizes, operands = heads_of(call), list(call.args)
    if not decide.takes(sizes):
        wide = replace(sizes, dtype=str(call.ty.dtype))
        if has_integers(call) or not decide.takes(wide):
            return decomposed(builder, call)
        operands[:3] = [builder.emit(relax.op.astype(operand, wide.dtype)) for operand in operands[:3]]
        sizes = wide
    decision = decide(sizes)
    lower = _by_keys if isinstance(decision.choice, FlashChoice) else _by_queries
    return lower(builder, call, operands, decision, decide.target)


def _by_queries(
    builder: relax.BlockBuilder,
    call: relax.Call,
    operands: list[relax.Expr],
    decision: Decision[Heads, AttentionChoice],
    target: Target,
) -> relax.Expr:
    """Whole rows of scores, a block of queries at a time."""
    sizes = decision.workload
    if isinstance(decision.choice.scores, DotProductChoice) and not has_integers(call):
        operands[:3] = [uncast(builder, operand) for operand in operands[:3]]
    width = attention.rows_of(sizes, decision.choice.scores, target).length
    of_sums, masks = ([each for each in operands[3:] if is_of_sums(each) is kind] for kind in (True, False))
    masks = [_padded_constant(each, sizes.keys, width, attention.beyond(place)) for place, each in enumerate(masks)]
    operands[3:] = [*of_sums, *masks]
    options = {"heads": constant_shape(call.args[0])[2], **_options(call)}

    def attended(*tensors: te.Tensor) -> te.Tensor:
        return decision.compute(target, *tensors, **options)

    return builder.call_te(attended, *operands, primfunc_name_hint=attention.ATTENTION, primfunc_attrs=decision.marks())


def _by_keys(
    builder: relax.BlockBuilder,
    call: relax.Call,
    operands: list[relax.Expr],
    decision: Decision[Heads, FlashChoice],
    target: Target,
) -> relax.Expr:
    """Scores of a tile of keys at a time, which are nowhere in memory; operands are cast where they are copied."""
    if decision.choice.unit:
        operands[:3] = [uncast(builder, operand) for operand in operands[:3]]
    shapes = [(constant_shape(each), str(each.ty.dtype)) for each in operands]
    function = decision.compute(target, shapes, **_options(call))
    kernel = builder.add_func(decision.marked(function), decision.template.name)
    return relax.call_tir(kernel, relax.Tuple(operands), call.ty)


def _options(call: relax.Call) -> dict[str, Any]:
    return {"scale": float(call.attrs["scale"]), "nan_is_zero": bool(int(call.attrs["nan_is_zero"]))}


def _padded_constant(mask: relax.Expr, keys: int, width: int, beyond: float) -> relax.Expr:
    """As `_padded_mask`, of a constant when compiling; any other mask as it is."""
    array = relax_constant(mask)
    if array is None:
        return mask
    own = np.broadcast_to(array, (*array.shape[:-1], keys))
    return new_constant(np.pad(own, [(0, 0)] * 3 + [(0, width - keys)], constant_values=beyond))


def heads_of(call: relax.Call) -> Heads:
    """The sizes of a call."""
    batch, queries, heads, depth = constant_shape(call.args[0])
    keys, value_depth = constant_shape(call.args[1])[1], constant_shape(call.args[2])[3]
    multiplied, key, values = (str(each.ty.dtype) for each in call.args[:3])
    integers = (multiplied, key) if has_integers(call) else None
    return Heads(batch * heads, queries, keys, depth, value_depth, values, integers)


def can_lower_attention(call: relax.Call) -> bool:
    """Whether it is attention with results in float32, of something."""
    return str(call.ty.dtype) == "float32" and all(0 not in constant_shape(arg) for arg in call.args)
