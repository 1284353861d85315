"""Conversions between dtypes, and bits taken for another dtype."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
from tvm import relax, te, tirx, topi

from ....ir_types import Scalar
from .. import narrow
from ..dtypes import NARROW, accumulator, numpy_dtype, relax_dtype
from ..node import Expr, Node, Result, Value, dtype_of
from ..registry import operator

_ROUNDINGS = ("up", "down", "nearest")


def _wanted(node: Node) -> ir.DataType:
    dtype = node.attr_dtype("to")
    if dtype is None:
        raise node.invalid("to is 0, which is no dtype")
    return dtype


@operator("Cast")
def cast(node: Node) -> Result:
    """Converted to a dtype; floats are truncated to integers, and anything but 0 is true."""
    dtype = _wanted(node)
    name = str(dtype.numpy()) if dtype.numpy() in map(numpy_dtype, NARROW) else relax_dtype(dtype, node.label)
    return _cast(node, name)


@operator("CastLike")
def cast_like(node: Node) -> Result:
    """Converted to the second input's dtype."""
    return _cast(node, node.dtype(1))


def _cast(node: Node, dtype: str) -> Result:
    saturate, rounding = node.attr_flag("saturate", True), node.attr_str("round_mode", "up")
    if rounding not in _ROUNDINGS:
        raise node.invalid(f"the attribute round_mode is '{rounding}'")
    known = node.constant(0)
    if known is not None and known.dtype.kind not in "OSU":
        with np.errstate(all="ignore"):
            if dtype in NARROW:
                return narrow.cast_array(known, dtype, saturate=saturate, rounding=rounding)
            return known.astype(numpy_dtype(dtype))
    if node.dtype(0) == dtype:
        return node.inputs[0]
    given = node.inputs[0]
    if isinstance(given, narrow.Narrow):
        if dtype not in NARROW and dtype != "bool":
            return narrow.decoded(node, given.codes, given.dtype, dtype)
        x = node.emit(narrow.decoded(node, given.codes, given.dtype, "float32"))
    else:
        x = node.expr(0)
    if dtype in NARROW:
        return narrow.encoded(node, x, dtype, saturate=saturate, rounding=rounding)
    return converted(node, x, dtype)


def converted(node: Node, x: Expr, dtype: str) -> Expr:
    """A tensor in another dtype that kernels compute with."""
    x = node.emit(x)
    if dtype_of(x) == dtype:
        return x
    if dtype == "bool":
        kind = accumulator(dtype_of(x))  # TVM compares bfloat16 by its bits, in which the two zeros differ
        wide = x if kind == dtype_of(x) else relax.op.astype(x, kind)
        return relax.op.not_equal(wide, node.scalar(0, kind))
    return relax.op.astype(x, dtype)


@operator("BitCast")
def bit_cast(node: Node) -> Result:
    """The same bits as another dtype of the same width."""
    wanted = _wanted(node)
    name = str(wanted.numpy())
    known = node.constant(0)
    if known is not None:
        if known.dtype.itemsize != wanted.numpy().itemsize:
            raise node.invalid(f"{known.dtype} and {name} differ in width")
        return np.ascontiguousarray(known).reshape(known.shape).view(wanted.numpy())
    if np.dtype(numpy_dtype(node.dtype(0))).itemsize != wanted.numpy().itemsize or wanted.bitwidth < 8:
        raise node.invalid(f"{node.dtype(0)} and {name} differ in width")
    given = node.inputs[0]
    codes: Value = given.codes if isinstance(given, narrow.Narrow) else node.expr(0)
    kind = narrow.CODES if name in NARROW else relax_dtype(wanted, node.label)
    bits = _same_bits(node, codes, kind)
    return narrow.Narrow(node.emit(bits), name) if name in NARROW else bits


def _same_bits(node: Node, x: Expr, dtype: str) -> Expr:
    """Bits by way of integers; a bool is a byte of 0 or 1, and whatever is not 0 is true."""
    given = dtype_of(x)
    if given == dtype:
        return x
    if given == "bool":
        return _same_bits(node, node.emit(relax.op.astype(x, "uint8")), dtype)
    if dtype == "bool":
        return relax.op.not_equal(_same_bits(node, x, "uint8"), node.scalar(0, "uint8"))

    def bit_cast(a: te.Tensor) -> te.Tensor:
        def element(*i: Scalar) -> Scalar:
            return tirx.reinterpret(dtype, a(*i))

        return te.compute(a.shape, element, name="bit_cast", tag=topi.tag.ELEMWISE)

    return node.emit_te(bit_cast, x)
