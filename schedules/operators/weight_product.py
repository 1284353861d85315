"""Products of floats with weights of a few bits, our own Relax operator: weights are packed into words."""

from __future__ import annotations

import math
from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
from tvm import relax, te

from ...ir_passes.dialect.weight_product import NAME as NAME
from ...ir_passes.dialect.weight_product import format_of
from ...ir_types import Scalar
from ...targets.target import Target
from ..templates import contraction_choice, weight_product
from ..templates.contraction import Workload
from ..templates.template import Chooser
from ..templates.weight_product import WeightProduct
from ..tensorir.expressions import constant_shape, flatten, int64, int64s, unflatten
from .convolution import new_constant, relax_constant


def workload_of(call: relax.Call) -> WeightProduct:
    """The product that a call is."""
    x, integers, scale = (constant_shape(each) for each in call.args[:3])
    bits, block = format_of(call)
    zero = relax_constant(call.args[3])
    depth, columns = integers
    assert scale == (math.ceil(depth / block), columns)
    return WeightProduct(math.prod(x[:-1]), columns, depth, bits, min(block, depth), bool((zero != zero.flat[0]).any()))


def lower_weight_product(builder: relax.BlockBuilder, call: relax.Call, decide: Chooser) -> relax.Expr:
    """Lowers a call to a `call_tir` of the activations and of packed weights."""
    workload, shape = workload_of(call), constant_shape(call)
    decision, target = decide(workload), decide.target
    integers, scale, zero = (relax_constant(each) for each in call.args[1:])
    zeros = np.broadcast_to(zero, scale.shape)
    arrays = weight_product.packed(workload, decision.choice, target, integers, scale, zeros)
    common = weight_product.zero_of(workload, integers, zero)
    sums_scale = [] if workload.scales_terms else [scale.reshape(-1)]

    def compute(data: te.Tensor, *weights: te.Tensor) -> te.Tensor:
        def element(batch: Any, row: Any, inner: Any) -> Scalar:
            return data[(*unflatten(row, shape[:-1]), inner)]

        packed = weights[: len(arrays)]
        sums = decision.compute(target, weight_product.operand(workload, element), common, *packed)

        def output(*index: Any) -> Scalar:
            *position, column = index
            total = sums[int64(0), flatten(position, shape[:-1]), column]
            return total if workload.scales_terms else total * weights[-1][column]

        return te.compute(int64s(shape), output, name="product")

    constants = [new_constant(np.ascontiguousarray(each)) for each in [*arrays, *sums_scale]]
    return builder.call_te(
        compute, call.args[0], *constants, primfunc_name_hint="weight_product", primfunc_attrs=decision.marks()
    )


def gains(call: relax.Call, target: Target) -> bool:
    """Whether a product is faster with weights of a few bits than with floats, or memory is what is scarce.

    Weights come from memory; where those of floats fit the last cache they may be there, and it has to be faster then,
    too.
    """
    workload = workload_of(call)
    if not weight_product.takes(workload, target):
        return False
    if target.saves_memory:
        return True
    floats = Workload(1, workload.rows, workload.columns, (workload.depth,))
    core, fits = target.core, floats.product_bytes[1] < target.l3_bytes
    cached = replace(
        core,
        dram_bytes_per_cycle=core.l3_bytes_per_cycle,
        prefetched_bytes_per_cycle=core.l3_bytes_per_cycle,
        dram_shared_bytes_per_cycle=core.l3_shared_bytes_per_cycle,
    )
    machines = [target, replace(target, core=cached)] if fits else [target]
    return all(_cycles(weight_product, workload, each) < _cycles(contraction_choice, floats, each) for each in machines)


@cache
def _cycles(template: Any, workload: object, target: Target) -> float:
    cycles: float = template.estimate(workload, template.default(workload, target), target)
    return cycles
