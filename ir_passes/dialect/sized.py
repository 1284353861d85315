"""Our own Relax operators for numbers that depend on the sizes of a call.

    relax.tilewright.counted()    start, start + step, ...: int64 or int32, so many as the type says
    relax.tilewright.size()       an int64 scalar, the size that `text` says, as `sizes.parse_size` reads it
    relax.tilewright.sized(x)     x, a vector for the largest sizes, of which so many elements are there as `text` says

The importer writes `counted` where a model counts (ONNX's Range), so that what is computed of a position that depends
on a size stays to be seen. Once it is known how starts, lengths and constants depend on sizes, `counted` is a constant,
or a constant and a `size`, of which `hold_extents` makes a parameter of `main`; and `sized`, where its length varies.
Attributes: `start`, `step`, `count` and `dtype`; `text`.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import tvm
from tvm import relax, tirx
from tvm.ir import Op

from ...dtypes import numpy_dtype
from ...ir_types import Call, Expr, Node, Type
from .registration import register

COUNTED, SIZE, SIZED = (f"relax.tilewright.{name}" for name in ("counted", "size", "sized"))


def counted(start: int, step: int, count: int, dtype: str) -> Expr:
    """A call that counts."""
    numbers = {"start": start, "step": step, "count": count}
    attributes = {name: tirx.IntImm("int64", number) for name, number in numbers.items()}
    return tvm.ir.Call(Op.get(COUNTED), [], tvm.ir.make_node("ir.DictAttrs", dtype=dtype, **attributes))


def size(text: str) -> Expr:
    """A call that is a size."""
    return tvm.ir.Call(Op.get(SIZE), [], tvm.ir.make_node("ir.DictAttrs", text=text))


def sized(x: Expr, text: str) -> Expr:
    """A call that says how much of a vector is there."""
    return tvm.ir.Call(Op.get(SIZED), [x], tvm.ir.make_node("ir.DictAttrs", text=text))


def count_of(call: Call) -> int:
    """How many numbers a call counts."""
    return int(call.attrs["count"])


def start_of(call: Call) -> int:
    """Where a call counts from."""
    return int(call.attrs["start"])


def numbers_of(call: Call, start: int | None = None) -> np.ndarray[Any, Any]:
    """What a call counts, or from elsewhere on."""
    begin = start_of(call) if start is None else start
    dtype = numpy_dtype(str(call.attrs["dtype"]))
    return (begin + int(call.attrs["step"]) * np.arange(int(call.attrs["count"]))).astype(dtype)


def _type_of_counted(call: Call, context: Node) -> Type:
    return relax.TensorType([int(call.attrs["count"])], str(call.attrs["dtype"]))


def _type_of_size(call: Call, context: Node) -> Type:
    return relax.TensorType([], "int64")


def _type_of_sized(call: Call, context: Node) -> Type:
    return call.args[0].ty


register(SIZED, __doc__, _type_of_sized)
register(COUNTED, __doc__, _type_of_counted)
register(SIZE, __doc__, _type_of_size)
