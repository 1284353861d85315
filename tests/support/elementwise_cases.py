"""Every element-wise operator of ONNX on a dtype, as one model with a kernel for each."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
from onnx import helper
from small_models import model, node

FLOATS = ("float32", "float64", "float16")
INTEGERS = ("int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "uint64")
_ROWS = 3
COLUMNS = 18  # no vector's lanes divide them
_UNARY_OF_FLOATS = """
    Abs Acos Acosh Asin Asinh Atan Atanh Ceil Celu Cos Cosh Elu Erf Exp Floor HardSigmoid HardSwish LeakyRelu Log
    LogSoftmax Mish Neg Reciprocal Relu Round Selu Sigmoid Sign Sin Sinh Softmax Softplus Softsign Sqrt Tan Tanh
    ThresholdedRelu Gelu Hardmax IsNaN IsInf Shrink
"""
_TRUTHS = ("IsNaN", "IsInf", "Equal", "Greater", "GreaterOrEqual", "Less", "LessOrEqual")
_COMMON = "Add Sub Mul Div Max Min Pow Equal Greater GreaterOrEqual Less LessOrEqual Mean Sum PRelu"
_UNARY_OF_INTEGERS = "BitwiseNot Sign"
_BINARY_OF_INTEGERS = "BitwiseAnd BitwiseOr BitwiseXor"
_SAME = ("Mean", "Sum")  # of floats alone
_OF_POWERS = ("int32", "int64")  # and those of slopes


def _casts(dtype: str) -> list[tuple[str, dict[str, Any], str]]:
    kinds = [*FLOATS, *INTEGERS, "bool"]
    return [("Cast", {"to": helper.np_dtype_to_tensor_dtype(np.dtype(kind))}, kind) for kind in kinds if kind != dtype]


def _calls(dtype: str) -> list[tuple[str, int, dict[str, Any], str]]:
    """Operators with how many operands they take, their attributes, and what they give."""
    is_float = dtype.startswith("float")
    unary = (_UNARY_OF_FLOATS if is_float else _UNARY_OF_INTEGERS).split()
    binary = (_COMMON if is_float else f"{_COMMON} {_BINARY_OF_INTEGERS}").split()
    if not is_float:
        binary = [each for each in binary if each not in _SAME]
    if dtype.startswith("int"):
        unary += ["Abs", "Neg"]
    if not is_float and dtype not in _OF_POWERS:
        binary = [each for each in binary if each not in ("Pow", "PRelu")]
    calls: list[tuple[str, int, dict[str, Any], str]] = [(each, 1, {}, dtype) for each in unary]
    calls += [(each, 2, {}, dtype) for each in binary]
    calls += [("Mod", 2, {"fmod": flag}, dtype) for flag in ((1,) if is_float else (0, 1))]
    calls += [("Gelu", 1, {"approximate": "tanh"}, dtype)] if is_float else []
    if dtype.startswith("uint"):
        calls += [("BitShift", 2, {"direction": direction}, dtype) for direction in ("LEFT", "RIGHT")]
    calls += [(name, 1, attributes, kind) for name, attributes, kind in _casts(dtype)]
    return [(name, count, given, "bool" if name in _TRUTHS else kind) for name, count, given, kind in calls]


def elementwise_model(dtype: str) -> onnx.ModelProto:
    """Of `x` and `z`, with bounds and a choice besides."""
    shape = (_ROWS, COLUMNS)
    nodes, outputs = [], {}
    for number, (name, operands, attributes, kind) in enumerate(_calls(dtype)):
        output = f"y{number}_{name}"
        nodes.append(node(name, ["x", "z"][:operands], output, output, **attributes))
        outputs[output] = (kind, shape)
    nodes += [
        node("Clip", ["x", "low", "high"], "clipped", "clip"),
        node("Clip", ["x", "low"], "floored", "clip below"),
        node("Where", ["truth", "x", "z"], "chosen", "where"),
    ]
    outputs |= dict.fromkeys(("clipped", "floored", "chosen"), (dtype, shape))
    inputs = {"x": (dtype, shape), "z": (dtype, shape), "truth": ("bool", shape)}
    return model(nodes, inputs, outputs, {"low": np.array(0, dtype), "high": np.array(6, dtype)})
