"""Operands of contractions: their dtypes; casts and padding that become part of the kernel that reads them."""

from __future__ import annotations

from typing import TypedDict

from tvm import relax, te

from ...annotations import CAST, PADDED
from ...ir_types import PrimFunc
from .expressions import accumulator, constant_shape, dtype_bits, int64s
from .padding import padded


class Dtypes(TypedDict):
    """Those of a `Workload`."""

    lhs: str
    rhs: str
    accumulator: str


def operand_dtypes(call: relax.Call) -> Dtypes:
    """The dtypes of the two operands of a call, and what its sums are kept in: the result's own, or a wider one."""
    lhs, rhs, result = (str(each.ty.dtype) for each in (*call.args[:2], call))
    own = accumulator(lhs)
    return {"lhs": lhs, "rhs": rhs, "accumulator": result if dtype_bits(result) > dtype_bits(own) else own}


def lower_cast(builder: relax.BlockBuilder, call: relax.Call) -> relax.Expr:
    """Lowers `relax.astype` to fewer bits, and says so: who reads the result may round the operand itself."""
    dtype, shape = str(call.ty.dtype), constant_shape(call)

    def compute(data: te.Tensor) -> te.Tensor:
        return te.compute(int64s(shape), lambda *index: data[index].astype(dtype), name="cast")

    return builder.call_te(compute, call.args[0], primfunc_name_hint="cast", primfunc_attrs=CAST.entry(dtype))


def narrows(call: relax.Call) -> bool:
    """Whether a `relax.astype` rounds floats to fewer bits."""
    source, result = str(call.args[0].ty.dtype), str(call.ty.dtype)
    return source == "float32" and result in ("bfloat16", "float16") and bool(constant_shape(call))


def uncast(builder: relax.BlockBuilder, operand: relax.Expr) -> relax.Expr:
    """What was cast to make an operand, where `lower_cast` did it; else the operand."""
    function, source = _made(builder, operand)
    return source if function is not None and CAST.of(function) is not None else operand


def lower_pad(builder: relax.BlockBuilder, call: relax.Call) -> relax.Expr:
    """Lowers `relax.nn.pad` of integers, and says so: who reads the result may pad the operand itself."""
    widths, value = [int(width) for width in call.attrs.pad_width], int(call.attrs.pad_value)
    extents, shape = constant_shape(call.args[0]), constant_shape(call)

    def compute(data: te.Tensor) -> te.Tensor:
        return padded(lambda *index: data[index], extents, shape, widths[::2], data.dtype, {}, "padded", value)

    marks = PADDED.entry(int64s([value, *widths]))
    return builder.call_te(compute, call.args[0], primfunc_name_hint="pad", primfunc_attrs=marks)


def pads_integers(call: relax.Call) -> bool:
    """Whether a `relax.nn.pad` puts one integer around integers."""
    integers = str(call.ty.dtype) in ("int8", "uint8") and str(call.attrs.pad_mode) == "constant"
    return integers and 0 not in constant_shape(call.args[0])


def unpadded(builder: relax.BlockBuilder, operand: relax.Expr) -> tuple[relax.Expr, tuple[int, ...], int]:
    """What was padded to make an operand, the widths before and after, an axis, and the value, by `lower_pad`."""
    function, source = _made(builder, operand)
    found = None if function is None else PADDED.of(function)
    return (operand, (), 0) if found is None else (source, found[1:], found[0])


def _made(builder: relax.BlockBuilder, operand: relax.Expr) -> tuple[PrimFunc | None, relax.Expr]:
    """The function that made an operand, and its first argument."""
    made = builder.lookup_binding(operand) if isinstance(operand, relax.Var) else None
    if not isinstance(made, relax.Call) or getattr(made.op, "name", "") != "relax.call_tir":
        return None, operand
    return builder.get()[made.args[0]], made.args[1].fields[0]
