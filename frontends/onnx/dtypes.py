"""The dtypes of ONNX that Relax computes with, and their limits."""

from __future__ import annotations

import math
from types import MappingProxyType
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from ...dtypes import FLOATS as FLOATS
from ...dtypes import accumulator as accumulator
from ...dtypes import is_float as is_float
from ...dtypes import numpy_dtype as numpy_dtype
from ...errors import UnsupportedError

_RELAX_NAMES = MappingProxyType(
    {
        ir.DataType.FLOAT: "float32",
        ir.DataType.DOUBLE: "float64",
        ir.DataType.FLOAT16: "float16",
        ir.DataType.BFLOAT16: "bfloat16",
        ir.DataType.BOOL: "bool",
        ir.DataType.INT8: "int8",
        ir.DataType.INT16: "int16",
        ir.DataType.INT32: "int32",
        ir.DataType.INT64: "int64",
        ir.DataType.UINT8: "uint8",
        ir.DataType.UINT16: "uint16",
        ir.DataType.UINT32: "uint32",
        ir.DataType.UINT64: "uint64",
    }
)
_COMPUTED = frozenset(_RELAX_NAMES.values())
# Dtypes that no kernel computes with: `narrow.py` moves and converts them.
NARROW = frozenset(
    (
        *("int2", "uint2", "int4", "uint4", "float4_e2m1fn"),
        *("float8_e4m3fn", "float8_e4m3fnuz", "float8_e5m2", "float8_e5m2fnuz", "float8_e8m0fnu"),
    )
)
# Integers of few bits, and the dtypes that kernels have them in.
STORED = MappingProxyType({"int2": "int8", "int4": "int8", "uint2": "uint8", "uint4": "uint8"})
# Sums of these lose digits quickly, so they are taken in float32.
NARROW_FLOATS = frozenset({"float16", "bfloat16"})


def relax_dtype(dtype: ir.DataType | int, where: str) -> str:
    """The Relax name of an ONNX dtype.

    Raises:
        UnsupportedError: Relax does not compute with it (strings, complex numbers, 4-bit and 8-bit floats).
    """
    name = _RELAX_NAMES.get(ir.DataType(dtype))
    if name is None:
        raise UnsupportedError(f"tensors of dtype {ir.DataType(dtype).name} are not supported", where=where)
    return name


def check_array(array: npt.NDArray[Any], *, computed: bool = False) -> None:
    """Refuses constants that cannot be used.

    Args:
        array: the constant.
        computed: whether kernels read it; else it may also be of a dtype that can only be moved and cast.

    Raises:
        UnsupportedError: of its dtype.
    """
    name = str(array.dtype)
    if name in _COMPUTED or (not computed and name in NARROW):
        return
    kind = "text" if array.dtype.kind in "OSU" else name
    raise UnsupportedError(f"tensors of {kind} are not supported")


def lowest(dtype: str) -> float | int:
    """What no value of a dtype is less than: minus infinity, or the least integer."""
    return _limits(dtype)[0]


def highest(dtype: str) -> float | int:
    """What no value of a dtype is greater than: infinity, or the greatest integer."""
    return _limits(dtype)[1]


def _limits(dtype: str) -> tuple[float | int, float | int]:
    if dtype == "bool":
        return 0, 1
    if is_float(dtype):
        return -math.inf, math.inf
    bounds = np.iinfo(dtype)
    return int(bounds.min), int(bounds.max)
