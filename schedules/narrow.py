"""Which contractions a machine computes faster with narrower operands, and by how much."""

from __future__ import annotations

import math
from dataclasses import replace

from tvm import relax

from ..targets.target import FLOAT32_BITS, Target
from .operators import attention, convolution, matmul, weight_product
from .templates import dot_product, flash_attention, tensor_cores
from .templates.attention import cycles
from .templates.template import Chooser
from .tensorir.expressions import constant_shape

# Vector instructions that make integers of a register of floats: a product, rounding, two bounds, packing; and back.
_TO_INTEGERS, _TO_FLOATS = 5, 4
_SAVED_BYTES = 3  # an element, where a float becomes an integer of 8 bits
_ROW_SCALE = 12  # instructions a register that find the largest of a row, and what a division takes more than a product


def gains(call: relax.Call, target: Target) -> bool:
    """Whether a contraction is faster with the operands that `call` has than with operands of its result's dtype.

    Args:
        call: a product, convolution or attention as in the graph before it is lowered.
    """
    name = str(call.op.name)
    if name == "relax.tilewright.attention":
        sizes = attention.heads_of(call)
        if target.grid is not None:
            products = (sizes.scores, sizes.values(sizes.queries, sizes.keys))
            by_products = all(tensor_cores.takes(each, target) for each in products)
            return attention.can_lower_attention(call) and (by_products or flash_attention.takes(sizes, target))
        wide = replace(sizes, dtype=str(call.ty.dtype), integers=None)
        return attention.can_lower_attention(call) and cycles(sizes, target) < cycles(wide, target)
    if name == weight_product.NAME:
        return weight_product.gains(call, target)
    if target.saves_memory and "int" in str(call.ty.dtype):
        return True  # no faster, perhaps, but with a quarter of the bytes
    takes = dot_product.takes if target.grid is None else tensor_cores.takes
    if name == "relax.matmul":
        return takes(matmul.workload_of(call), target)
    if convolution.geometry_of(call).is_depthwise:  # as many products, of fewer bytes where those are integers
        return "int" in str(call.ty.dtype)
    return takes(convolution.workload_of(call), target)


def saved_cycles(call: relax.Call, decide: Chooser) -> float:
    """Estimated cycles that integers save a product, convolution or attention against float32, on all cores.

    What its operand takes less from the caches counts, what makes integers of floats does not (`conversion_cycles`).
    """
    target = decide.target
    if not gains(call, target):
        return 0.0
    read = sum(math.prod(constant_shape(each)) for each in call.args[:2] if convolution.relax_constant(each) is None)
    moved = read * _SAVED_BYTES * 8 / (FLOAT32_BITS * target.lanes()) / target.core.l2_vectors_per_cycle / target.cores
    if str(call.op.name) == "relax.tilewright.attention":
        sizes = attention.heads_of(call)
        return decide.cycles(replace(sizes, integers=None)) - decide.cycles(sizes) + moved
    is_product = str(call.op.name) == "relax.matmul"
    if not is_product and convolution.geometry_of(call).is_depthwise:
        return moved
    workload = matmul.workload_of(call) if is_product else convolution.workload_of(call)
    wide = replace(workload, lhs="float32", rhs="float32", accumulator="float32")
    return decide.cycles(wide) - decide.cycles(workload) + moved


def conversion_cycles(tensor: relax.Expr, float_readers: int, target: Target) -> float:
    """Estimated cycles of making integers of a tensor's floats, and floats again for so many that read those."""
    vectors = math.prod(constant_shape(tensor)) / target.lanes()
    instructions = _TO_INTEGERS + _TO_FLOATS * float_readers
    return vectors * instructions / target.core.fmas_per_cycle / target.cores


def gains_dynamically(call: relax.Call, decide: Chooser) -> bool:
    """Whether a product of integers is faster than one of floats, where each row of its operand is quantized for it."""
    vectors = math.prod(constant_shape(call.args[0])) / decide.target.lanes()
    settled = vectors * _ROW_SCALE / decide.target.core.fmas_per_cycle / decide.target.cores
    return saved_cycles(call, decide) > settled + conversion_cycles(call.args[0], 0, decide.target)
