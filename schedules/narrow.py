"""Which contractions a machine computes faster with narrower operands."""

from __future__ import annotations

from dataclasses import replace

from tvm import relax

from ..targets.target import Target
from .operators import attention, convolution, matmul
from .templates import dot_product
from .templates.attention import cycles


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
    if target.saves_memory and "int" in str(call.ty.dtype):
        return True  # no faster, perhaps, but with a quarter of the bytes
    if name == "relax.matmul":
        return dot_product.takes(matmul.workload_of(call), target)
    if convolution.geometry_of(call).is_depthwise:  # as many products, of fewer bytes where those are integers
        return "int" in str(call.ty.dtype)
    return dot_product.takes(convolution.workload_of(call), target)
