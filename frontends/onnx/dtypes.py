"""The dtypes of ONNX that Relax computes with, and their limits."""

from __future__ import annotations

from types import MappingProxyType
from typing import Any

import ml_dtypes
import numpy as np
import onnx_ir as ir

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
# The ONNX dtypes of tensors that can be imported.
SUPPORTED_DTYPES = frozenset(int(dtype) for dtype in _RELAX_NAMES)
FLOATS = frozenset({"float16", "bfloat16", "float32", "float64"})
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


def numpy_dtype(name: str) -> np.dtype[Any]:
    """The numpy dtype of a Relax name."""
    return np.dtype(ml_dtypes.bfloat16) if name == "bfloat16" else np.dtype(name)


def is_float(dtype: str) -> bool:
    """Whether a Relax dtype is a floating-point one."""
    return dtype in FLOATS


def accumulator(dtype: str) -> str:
    """The dtype that sums and products of many elements are taken in; they are rounded once, at the end."""
    return "float32" if dtype in NARROW_FLOATS else dtype


def lowest(dtype: str) -> float | int:
    """The least finite value of a dtype."""
    return _limits(dtype)[0]


def highest(dtype: str) -> float | int:
    """The greatest finite value of a dtype."""
    return _limits(dtype)[1]


def _limits(dtype: str) -> tuple[float | int, float | int]:
    if dtype == "bool":
        return 0, 1
    if is_float(dtype):
        info = ml_dtypes.finfo(numpy_dtype(dtype))
        return float(info.min), float(info.max)
    bounds = np.iinfo(dtype)
    return int(bounds.min), int(bounds.max)
