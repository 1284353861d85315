"""Attention to a cache, our own Relax operator: one kernel, whose operands stay where they are."""

from __future__ import annotations

from tvm import relax

from ...ir_passes.dialect.cached_attention import NAME as NAME
from ...ir_passes.dialect.cached_attention import heads_first_of
from ..templates.cached_attention import TEMPLATE, CachedHeads
from ..templates.template import Chooser
from ..tensorir.expressions import constant_shape


def lower_cached_attention(builder: relax.BlockBuilder, call: relax.Call, decide: Chooser) -> relax.Expr:
    """Lowers `relax.tilewright.cached_attention` to a `call_tir`."""
    decision = decide(heads_of(call))
    masks = [constant_shape(each) for each in call.args[5:]]
    scale, nan_is_zero = float(call.attrs["scale"]), bool(int(call.attrs["nan_is_zero"]))
    function = decision.compute(decide.target, masks, scale, nan_is_zero)
    kernel = builder.add_func(decision.marked(function), TEMPLATE)
    return relax.call_tir(kernel, relax.Tuple(list(call.args)), call.ty)


def heads_of(call: relax.Call) -> CachedHeads:
    """The sizes of a call."""
    batch, queries, heads, depth = constant_shape(call.args[0])
    keys_first, values_first = heads_first_of(call)
    k, v = (constant_shape(each) for each in call.args[1:3])
    own, keys = (k[1], k[2]) if keys_first else (k[2], k[1])
    by_text = bool(constant_shape(call.args[4]))
    return CachedHeads(batch, heads, queries, keys, depth, v[3], heads // own, keys_first, values_first, by_text)
