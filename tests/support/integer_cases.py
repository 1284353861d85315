"""Expressions of integers at the ends of their dtypes, as one model, and what numpy makes of each operator."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper

Array = Any
DTYPES = ("int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "uint64")


class Graph:
    """Nodes that are written down as expressions are computed with `Term`s."""

    def __init__(self, dtype: str) -> None:
        self.dtype = np.dtype(dtype)
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []

    def node(self, operator: str, *operands: Term, **attributes: Any) -> Term:
        name = f"t{len(self.nodes)}"
        self.nodes.append(helper.make_node(operator, [each.name for each in operands], [name], **attributes))
        return Term(self, name)

    def constant(self, value: Array) -> Term:
        name = f"c{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(np.asarray(value), name))
        return Term(self, name)


class Term:
    """A tensor of a graph."""

    def __init__(self, graph: Graph, name: str) -> None:
        self.graph, self.name = graph, name

    def binary(self, operator: str, other: Any) -> Term:
        return self.graph.node(operator, self, other)

    def __add__(self, other: Term) -> Term:
        return self.binary("Add", other)

    def __sub__(self, other: Term) -> Term:
        return self.binary("Sub", other)

    def __mul__(self, other: Term) -> Term:
        return self.binary("Mul", other)

    def __lt__(self, other: Term) -> Term:
        return self.binary("Less", other)

    def __le__(self, other: Term) -> Term:
        return self.binary("LessOrEqual", other)

    def __gt__(self, other: Term) -> Term:
        return self.binary("Greater", other)

    def __ge__(self, other: Term) -> Term:
        return self.binary("GreaterOrEqual", other)

    def equals(self, other: Term) -> Term:
        return self.binary("Equal", other)


def equals(a: Any, b: Any) -> Any:
    return a.equals(b) if isinstance(a, Term) else a == b


def negative(a: Any) -> Any:
    return a.graph.node("Neg", a) if isinstance(a, Term) else np.negative(a)


def absolute(a: Any) -> Any:
    return a.graph.node("Abs", a) if isinstance(a, Term) else np.abs(a)


def quotient(a: Any, b: Any) -> Any:
    """Rounded towards zero."""
    if isinstance(a, Term):
        return a.binary("Div", b)
    rounded = np.floor_divide(a, b)
    return np.where((rounded < 0) & (rounded * b != a), rounded + np.ones_like(rounded), rounded).astype(a.dtype)


def remainder(a: Any, b: Any) -> Any:
    return a.binary("Mod", b) if isinstance(a, Term) else np.mod(a, b)


def larger(a: Any, b: Any) -> Any:
    return a.binary("Max", b) if isinstance(a, Term) else np.maximum(a, b)


def widened(a: Any) -> Any:
    return a.graph.node("Cast", a, to=onnx.TensorProto.DOUBLE) if isinstance(a, Term) else a.astype("float64")


def total(a: Any) -> Any:
    """Along the second axis."""
    if isinstance(a, Term):
        return a.graph.node("ReduceSum", a, a.graph.constant(np.array([1])), keepdims=1)
    return a.sum(1, keepdims=True, dtype=a.dtype)


def running(a: Any) -> Any:
    return a.graph.node("CumSum", a, a.graph.constant(np.array(1))) if isinstance(a, Term) else np.cumsum(a, 1, a.dtype)


def inverted(a: Any) -> Any:
    return a.graph.node("BitwiseNot", a) if isinstance(a, Term) else np.invert(a)


def joined(operator: str, a: Any, b: Any) -> Any:
    """BitwiseAnd, BitwiseOr or BitwiseXor."""
    functions = {"BitwiseAnd": np.bitwise_and, "BitwiseOr": np.bitwise_or, "BitwiseXor": np.bitwise_xor}
    return a.binary(operator, b) if isinstance(a, Term) else functions[operator](a, b)


# What is computed of x, z and constants; `low` and `high` are the ends of the dtype.
Case = Callable[[Any, Any, dict[str, Any]], Any]
CASES: dict[str, Case] = {
    "x < x + 1": lambda x, z, c: x < x + c["one"],
    "x < x + z": lambda x, z, c: x < x + z,
    "x - 1 < x": lambda x, z, c: x - c["one"] < x,
    "x + 100 >= 100": lambda x, z, c: x + c["many"] >= c["many"],
    "x - 100 < 0": lambda x, z, c: x - c["many"] < c["zero"],
    "x + 1 = x": lambda x, z, c: equals(x + c["one"], x),
    "x = low": lambda x, z, c: equals(x, c["low"]),
    "low = x": lambda x, z, c: equals(c["low"], x),
    "x <= low": lambda x, z, c: x <= c["low"],
    "low >= x": lambda x, z, c: c["low"] >= x,
    "x < low": lambda x, z, c: x < c["low"],
    "x > high": lambda x, z, c: x > c["high"],
    "x >= high": lambda x, z, c: x >= c["high"],
    "x + low": lambda x, z, c: x + c["low"],
    "x + high": lambda x, z, c: x + c["high"],
    "x - high": lambda x, z, c: x - c["high"],
    "x - low": lambda x, z, c: x - c["low"],
    "0 - x": lambda x, z, c: c["zero"] - x,
    "x + high - high = x": lambda x, z, c: equals((x + c["high"]) - c["high"], x),
    "2 x / 2": lambda x, z, c: quotient(x * c["two"], c["two"]),
    "2 x = 0": lambda x, z, c: equals(x * c["two"], c["zero"]),
    "2 x < 0": lambda x, z, c: x * c["two"] < c["zero"],
    "x x < 0": lambda x, z, c: x * x < c["zero"],
    "x z": lambda x, z, c: x * z,
    "(x + 100) mod 10": lambda x, z, c: remainder(x + c["many"], c["ten"]),
    "x - x / 10 * 10": lambda x, z, c: x - quotient(x, c["ten"]) * c["ten"],
    "max(x, x + 1)": lambda x, z, c: larger(x, x + c["one"]),
    "max(x + 100, x + 1)": lambda x, z, c: larger(x + c["many"], x + c["one"]),
    "max(1 - x, 100 - x)": lambda x, z, c: larger(c["one"] - x, c["many"] - x),
    "not (x + 1)": lambda x, z, c: inverted(x + c["one"]),
    "not (x + 1) = -2 - x": lambda x, z, c: equals(inverted(x + c["one"]), c["zero"] - c["two"] - x),
    "(x + z) and z": lambda x, z, c: joined("BitwiseAnd", x + z, z),
    "(x z) or (x - z)": lambda x, z, c: joined("BitwiseOr", x * z, x - z),
    "(x - 1) xor x": lambda x, z, c: joined("BitwiseXor", x - c["one"], x),
    "wide x + 100": lambda x, z, c: widened(x + c["many"]),
    "wide x z": lambda x, z, c: widened(x * z),
}
SIGNED: dict[str, Case] = {
    "-x < 0": lambda x, z, c: negative(x) < c["zero"],
    "|x|": lambda x, z, c: absolute(x),
    "|x| < 0": lambda x, z, c: absolute(x) < c["zero"],
    "wide |x|": lambda x, z, c: widened(absolute(x)),
}
# Reductions, which ONNX has of 32 and 64 bits alone.
WIDE: dict[str, Case] = {
    "sum": lambda x, z, c: total(x),
    "sum < x": lambda x, z, c: total(x) < x,
    "wide sum": lambda x, z, c: widened(total(x)),
    "running < x": lambda x, z, c: running(x) < x,
}
WIDE_AND_SIGNED: dict[str, Case] = {"sum of |x| < 0": lambda x, z, c: total(absolute(x)) < c["zero"]}


def _numbers(dtype: str) -> dict[str, Array]:
    ends = np.iinfo(dtype)
    plain = {"zero": 0, "one": 1, "two": 2, "ten": 10, "many": 100, "low": ends.min, "high": ends.max}
    return {name: np.array(value, dtype) for name, value in plain.items()}


def _values(dtype: str) -> tuple[Array, Array]:
    low, high = np.iinfo(dtype).min, np.iinfo(dtype).max
    some = np.array([0, 1, 2, 5, 7, 100, high, high - 1, high // 2, high // 2 + 1, low, low + 1, 127], dtype)
    return np.repeat(some, some.size).reshape(13, 13), np.tile(some, some.size).reshape(13, 13)


@dataclass(frozen=True)
class Sample:
    """Every case of a dtype as one model: its inputs and what is right, by case and output."""

    model: onnx.ModelProto
    inputs: dict[str, Array]
    expected: dict[tuple[str, str], Array]

    def wrong(self, actual: Mapping[str, Array]) -> dict[str, Any]:
        """The cases whose results are not the expected ones."""
        return {
            case: actual[output].tolist()
            for (case, output), right in self.expected.items()
            if actual[output].dtype != right.dtype or not np.array_equal(actual[output], right)
        }


def sample(dtype: str) -> Sample:
    is_signed, is_wide = dtype.startswith("int"), np.dtype(dtype).itemsize >= 4
    cases = {
        **CASES,
        **(SIGNED if is_signed else {}),
        **(WIDE if is_wide else {}),
        **(WIDE_AND_SIGNED if is_signed and is_wide else {}),
    }
    x, z = _values(dtype)
    numbers = _numbers(dtype)
    graph = Graph(dtype)
    constants = {name: graph.constant(value) for name, value in numbers.items()}
    results = {name: case(Term(graph, "x"), Term(graph, "z"), constants).name for name, case in cases.items()}
    with np.errstate(all="ignore"):
        expected = {(name, results[name]): np.asarray(case(x, z, numbers)) for name, case in cases.items()}
    inputs = [helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(x.dtype), x.shape) for name in "xz"]
    outputs = [
        helper.make_tensor_value_info(output, helper.np_dtype_to_tensor_dtype(right.dtype), right.shape)
        for (_, output), right in expected.items()
    ]
    made = helper.make_graph(graph.nodes, "integers", inputs, outputs, graph.constants)
    model = helper.make_model(made, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)
    return Sample(model, {"x": x, "z": z}, expected)
