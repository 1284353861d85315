"""Our own Relax operator for products of floats with weights of a few bits, which are dequantized in registers.

    relax.tilewright.weight_product(x, integers, scale, zero_point) = x @ dequantize(integers, scale, zero_point)

with x (..., k) of float32 and constants: `integers` (k, n) of int8 or uint8, `scale` (blocks, n) of float32, and
`zero_point`, of int32 and the shape of the scales or of rank 0. Attributes: `bits` that hold an integer, 4 or 8, and
`block`, the rows of `integers` that share a scale; the last of them may be fewer. Where there is one block, its scale
is multiplied with the sum and not with each of its terms.
"""

from __future__ import annotations

import numpy as np
import tvm
from tvm import relax
from tvm.ir import Op

from ...ir_types import Call, Expr, Node, Type
from .registration import register

NAME = "relax.tilewright.weight_product"
WORD_BITS = 32  # integers are stored in words of so many, whole blocks in whole words


def weight_product(x: Expr, integers: Expr, scale: Expr, zero_point: Expr, *, bits: int, block: int) -> Expr:
    """A call of the operator."""
    attributes = {"bits": tvm.tirx.IntImm("int64", bits), "block": tvm.tirx.IntImm("int64", block)}
    return tvm.ir.Call(Op.get(NAME), [x, integers, scale, zero_point], tvm.ir.make_node("ir.DictAttrs", **attributes))


def format_of(call: Call) -> tuple[int, int]:
    """The bits of an integer, and the rows that share a scale."""
    return int(call.attrs["bits"]), int(call.attrs["block"])


def stored_bits(bits: int) -> int:
    """The bits that an integer of so many has in a word."""
    return 4 if bits <= 4 else 8


def can_store(bits: int, block: int, depth: int) -> bool:
    """Whether words hold integers of so many bits in such blocks of so many rows."""
    return bits in (4, 8) and (block >= depth or block % (WORD_BITS // bits) == 0)


def block_of_row(depth: int, block: int) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    """The block that each of so many rows is in."""
    return np.arange(depth, dtype=np.int64) // block


def _infer_type(call: Call, context: Node) -> Type:
    x, integers = (each.ty for each in call.args[:2])
    return relax.TensorType([*list(x.shape)[:-1], integers.shape[1]], str(x.dtype))


def _legalize(builder: relax.BlockBuilder, call: Call) -> Expr:
    """The definition in plain operators, for where no template takes it."""
    from .quantize import dequantize

    x, integers, *parameters = call.args
    rows = relax.const(block_of_row(int(integers.ty.shape[0]), format_of(call)[1]), "int64")
    whole = [builder.emit(relax.op.take(each, rows, 0)) if each.ty.ndim else each for each in parameters]
    return relax.op.matmul(x, builder.emit(dequantize(integers, *whole)))


register(NAME, __doc__, _infer_type, _legalize)
