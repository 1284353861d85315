"""Our own Relax operators for quantized tensors: scales and zero points broadcast, and every step is defined.

    relax.tilewright.quantize(x, scale, zero_point)            floats -> integers
    relax.tilewright.dequantize(x, scale, zero_point)          integers -> floats
    relax.tilewright.requantize(sums, multiplier, zero_point)  int32 -> integers

A scale is a float tensor and a zero point one of integers; both broadcast against the first operand, whose shape the
result has: of rank 0 for a tensor, (C, 1, 1) for channels of an NCHW image. Attributes: `dtype` of the result, and
`low` and `high`, the ends of its range, which may be narrower than the dtype (4 bits; a clipped activation).
`quantized_arithmetic.py` has what they compute.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import tvm
from tvm import relax
from tvm.ir import Op

from ...ir_types import Call, Expr, Node, Type
from .quantized_arithmetic import Array, dequantized, quantized, requantized
from .registration import register

QUANTIZE, DEQUANTIZE, REQUANTIZE = (f"relax.tilewright.{name}" for name in ("quantize", "dequantize", "requantize"))


def quantize(
    x: Expr, scale: Expr, zero_point: Expr, dtype: str, low: int | None = None, high: int | None = None
) -> Expr:
    """saturate(round(x / scale) + zero_point) in `dtype`."""
    return _to_integers(QUANTIZE, [x, scale, zero_point], dtype, low, high)


def requantize(
    sums: Expr, multiplier: Expr, zero_point: Expr, dtype: str, low: int | None = None, high: int | None = None
) -> Expr:
    """saturate(round(sums * multiplier) + zero_point) in `dtype`, of sums in int32."""
    return _to_integers(REQUANTIZE, [sums, multiplier, zero_point], dtype, low, high)


def dequantize(x: Expr, scale: Expr, zero_point: Expr, dtype: str = "float32") -> Expr:
    """(x - zero_point) * scale in `dtype`, a float."""
    return tvm.ir.Call(Op.get(DEQUANTIZE), [x, scale, zero_point], tvm.ir.make_node("ir.DictAttrs", dtype=dtype))


def range_of(call: Call) -> tuple[str, int, int]:
    """The dtype of the result of a quantize or requantize, its lowest and its highest value."""
    return str(call.attrs["dtype"]), int(call.attrs["low"]), int(call.attrs["high"])


def evaluated(call: Call, operands: list[Array]) -> Array:
    """The result of a call whose operands are known."""
    x, factor, zero_point = operands
    name = str(call.op.name)
    if name == DEQUANTIZE:
        return dequantized(x, factor, zero_point, str(call.attrs["dtype"]))
    return (quantized if name == QUANTIZE else requantized)(x, factor, zero_point, *range_of(call))


def is_quantized_constant(call: Call, operands: list[Array]) -> bool:
    """Whether a call of known operands dequantizes a tensor: it stays, as integers are what kernels multiply."""
    return str(getattr(call.op, "name", "")) == DEQUANTIZE and operands[0].size > 1


def _to_integers(name: str, operands: list[Any], dtype: str, low: int | None, high: int | None) -> Expr:
    limits = np.iinfo(dtype)
    low, high = (int(limits.min) if low is None else low), (int(limits.max) if high is None else high)
    bounds = {"low": tvm.tirx.IntImm("int64", low), "high": tvm.tirx.IntImm("int64", high)}
    return tvm.ir.Call(Op.get(name), operands, tvm.ir.make_node("ir.DictAttrs", dtype=dtype, **bounds))


def _infer_type(call: Call, context: Node) -> Type:
    return relax.TensorType(call.args[0].ty.shape, str(call.attrs["dtype"]))


def _legalize(builder: relax.BlockBuilder, call: Call) -> Expr:
    """The definition in plain operators, for where no rule takes it."""
    op, emit = relax.op, builder.emit
    x, factor, zero = call.args
    zero = emit(op.astype(zero, "int32"))
    if call.op.name == DEQUANTIZE:
        difference = emit(op.subtract(emit(op.astype(x, "int32")), zero))
        product = op.multiply(emit(op.astype(difference, "float32")), emit(op.astype(factor, "float32")))
        return op.astype(emit(product), str(call.attrs["dtype"]))
    dtype, low, high = range_of(call)
    if call.op.name == QUANTIZE:
        scaled = emit(op.divide(x, emit(op.astype(factor, str(x.ty.dtype)))))
    else:
        scaled = emit(op.multiply(emit(op.astype(x, "float32")), emit(op.astype(factor, "float32"))))
    whole = emit(op.round(emit(op.astype(scaled, "float32"))))
    ends = [emit(op.astype(emit(op.subtract(relax.const(end, "int32"), zero)), "float32")) for end in (low, high)]
    inside = emit(op.minimum(emit(op.maximum(whole, ends[0])), ends[1]))
    return op.astype(emit(op.add(emit(op.astype(inside, "int32")), zero)), dtype)


for _name in (QUANTIZE, DEQUANTIZE, REQUANTIZE):
    register(_name, __doc__, _infer_type, _legalize)
