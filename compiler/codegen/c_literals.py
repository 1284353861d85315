"""What C calls types, how it writes numbers exactly, what needs parentheses; and what LLVM calls its intrinsics."""

from __future__ import annotations

import math
from collections.abc import Mapping
from types import MappingProxyType

import numpy as np
import tvm
from tvm.ir import Call

from ...errors import CompilerError
from ...hidden_floats import name_of
from ..library.tensor_spec import C_TYPES

SUFFIXES: Mapping[str, str] = MappingProxyType({"float32": "f", "float64": ""})  # of numbers and functions of libm
_VECTORS: Mapping[str, str] = MappingProxyType({"bool": "v_bool", "float32": "v_float32"})  # of integers: v_int32


def c_type(dtype: str) -> str:
    """The type of elements of a dtype in memory.

    Raises:
        CompilerError: C has none.
    """
    if dtype not in C_TYPES:
        if "x" in dtype:  # what functions of the target return, or steps of a computation in vectors
            return f"{dtype}_t" if dtype == "int8x16" else _VECTORS.get(dtype.partition("x")[0], "v_int32")
        raise CompilerError(f"C has no type for {dtype}")
    return C_TYPES[dtype]


def float_constant(value: float, dtype: str) -> str:
    """The shortest decimal that is read as exactly this float."""
    if math.isnan(value):
        return "NAN" if dtype == "float32" else "(double)NAN"
    if math.isinf(value):
        infinity = "INFINITY" if dtype == "float32" else "(double)INFINITY"
        return infinity if value > 0 else f"(-{infinity})"
    text = str(np.float32(value)) if dtype == "float32" else repr(float(value))
    return text + SUFFIXES[dtype]


def integer_constant(value: int, dtype: str) -> str:
    """An integer of its dtype; of those narrower than int an int."""
    if dtype == "int64":
        return f"INT64_C({value})" if value > -(1 << 63) else "INT64_MIN"
    if dtype == "uint64":
        return f"UINT64_C({value})"
    if dtype == "uint32":
        return f"{value}u"
    return str(value) if value > -(1 << 31) else "INT32_MIN"


def intrinsic_name(call: Call) -> str:
    """The name of the intrinsic of LLVM's that a call calls; empty for other calls."""
    if "call_llvm" not in name_of(call):
        return ""
    return str(tvm.get_global_func("target.llvm_get_intrinsic_name")(call.args[0].value))


def is_closed(text: str) -> bool:
    """Whether an expression is a call, an element of an array, or stands in parentheses."""
    if text[-1] not in ")]" or not (text[0].isalpha() or text[0] in "_("):
        return False
    depth = 0
    for position, character in enumerate(text):
        if character in "([":
            depth += 1
        elif character in ")]":
            depth -= 1
            if depth == 0 and position < len(text) - 1:
                return False
        elif depth == 0 and not (character.isalnum() or character == "_"):
            return False
    return True
