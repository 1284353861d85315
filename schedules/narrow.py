"""Which contractions a machine computes faster with narrower operands."""

from __future__ import annotations

from dataclasses import replace

from tvm import relax

from ..targets.target import Target
from .operators import attention, convolution, matmul, weight_product
from .templates import contraction, dot_product
from .templates.attention import cycles

# Cycles that a vector of floats takes to be read for its largest, divided by a scale, and stored as integers.
_QUANTIZED_VECTOR = 20.0


def gains(call: relax.Call, target: Target) -> bool:
    """Whether a contraction is faster with the operands that `call` has than with operands of its result's dtype.

    Args:
        call: a product, convolution or attention as in the graph before it is lowered.
    """
    name = str(call.op.name)
    if name == "relax.tilewright.attention":
        sizes = attention.heads_of(call)
        wide = replace(sizes, dtype=str(call.ty.dtype))
        return attention.can_lower_attention(call) and cycles(sizes, target) < cycles(wide, target)
    if name == weight_product.NAME:
        return weight_product.gains(call, target)
    if name == "relax.matmul":
        return dot_product.takes(matmul.workload_of(call), target)
    if convolution.geometry_of(call).is_depthwise:  # as many products, of fewer bytes where those are integers
        return "int" in str(call.ty.dtype)
    return dot_product.takes(convolution.workload_of(call), target)


def gains_dynamically(call: relax.Call, target: Target) -> bool:
    """Whether a product of integers is faster than one of floats, where the left operand is quantized for it.

    Args:
        call: the product of integers.
    """
    workload = matmul.workload_of(call)
    if not dot_product.takes(workload, target):
        return False
    floats = replace(workload, lhs="float32", rhs="float32", accumulator="float32", runs=())
    depth = workload.k[-1]
    vectors = workload.batch * workload.rows * depth / target.lanes()
    quantizing = vectors * _QUANTIZED_VECTOR / target.cores
    integers = dot_product.estimate(workload, dot_product.default(workload, target), target)
    return integers + quantizing < contraction.estimate(floats, contraction.default(floats, target), target)
