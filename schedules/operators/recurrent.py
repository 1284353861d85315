"""Recurrent layers, our own Relax operator: weights as the template takes them."""

from __future__ import annotations

from tvm import relax, te

from ...ir_passes.dialect.recurrent import NAME as NAME
from ...ir_passes.dialect.recurrent import layer_of
from ..templates.recurrent import Recurrence, pack_at_run_time, pack_constant
from ..templates.template import Chooser
from ..tensorir.expressions import constant_shape
from .convolution import new_constant, relax_constant


def lower_recurrent(builder: relax.BlockBuilder, call: relax.Call, decide: Chooser) -> relax.Expr:
    """Lowers `relax.tilewright.recurrent` to a `call_tir` of one kernel; constant weights are packed."""
    projected, weights, *rest = call.args
    steps, batch, _ = constant_shape(projected)
    workload = Recurrence(layer_of(call), steps, batch, constant_shape(weights)[2], str(projected.ty.dtype))
    decision = decide(workload)
    constant = relax_constant(weights)

    def packed(given: te.Tensor) -> te.Tensor:
        return pack_at_run_time(given, workload, decision.choice)

    if constant is None:
        weights = builder.emit_te(packed, weights, primfunc_name_hint="pack")
    else:
        weights = new_constant(pack_constant(constant, workload, decision.choice))
    function = decision.compute(decide.target)
    kernel = builder.add_func(decision.marked(function), workload.layer.kind)
    return relax.call_tir(kernel, relax.Tuple([projected, weights, *rest]), list(call.ty.fields))
