"""Relax constants as numpy arrays, without copies where they can be had."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import tvm
from tvm import relax

from ...dtypes import numpy_dtype as numpy_dtype
from ...ir_types import Expr

Array = npt.NDArray[Any]


def is_constant(expr: Expr) -> bool:
    """Whether `expr` is a constant tensor."""
    return isinstance(expr, tvm.ir.GenericConst)


def array_of(expr: Expr) -> Array | None:
    """The values of a constant tensor (a read-only view of its memory), or None for any other expression."""
    if not isinstance(expr, tvm.ir.GenericConst):
        return None
    try:
        array: Array = np.from_dlpack(expr.value)
    except (RuntimeError, BufferError):  # dtypes that numpy's DLPack does not know, bfloat16 among them
        array = expr.value.numpy()
    array.flags.writeable = False
    return array


def constant(array: Array) -> Expr:
    """A constant tensor holding a copy of `array`, with its dtype (relax.const would narrow 64-bit dtypes)."""
    return relax.const(tvm.runtime.tensor(np.ascontiguousarray(array).reshape(array.shape)))


def scalar_of(expr: Expr) -> float | int | bool | None:
    """The value of a constant that holds one number, or the same number everywhere; else None.

    Only constants of up to 64 elements are searched for being uniform: larger ones are weights.
    """
    array = array_of(expr)
    if array is None or array.size == 0:
        return None
    if array.size == 1:
        return array.reshape(-1)[0].item()  # type: ignore[no-any-return]  # numpy types item() as Any
    if array.size <= 64 and (array == array.reshape(-1)[0]).all():
        return array.reshape(-1)[0].item()  # type: ignore[no-any-return]  # as above
    return None
