"""Dtypes by the names that Relax, ONNX and numpy share, and what sums of them are kept in. Needs no TVM."""

from __future__ import annotations

from typing import Any

import numpy as np


def numpy_dtype(name: str) -> np.dtype[Any]:
    """The numpy dtype of a dtype's name; bfloat16, the float8s and the like are those of ml_dtypes."""
    try:
        return np.dtype(name)
    except TypeError:
        import ml_dtypes  # only where it is needed: a compiled model runs with numpy alone

        return np.dtype(getattr(ml_dtypes, name, name))


def accumulator(dtype: str) -> str:
    """The dtype that sums and products of many elements are taken in; they are rounded once, at the end."""
    return "float32" if dtype in ("float16", "bfloat16") else dtype


# Floating-point dtypes that are computed in.
FLOATS = frozenset({"float16", "bfloat16", "float32", "float64"})


def is_float(dtype: str) -> bool:
    """Whether a dtype is a floating-point one that is computed in."""
    return dtype in FLOATS
