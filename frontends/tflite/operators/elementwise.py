"""Operators on single elements, and the activations that are fused into others."""

from __future__ import annotations

from types import MappingProxyType

from ..node import Node, operator
from ..schema import ACTIVATIONS, BOUNDS

_ALIKE = MappingProxyType(
    {
        "ABS": "Abs",
        "CEIL": "Ceil",
        "COS": "Cos",
        "ELU": "Elu",
        "EXP": "Exp",
        "FLOOR": "Floor",
        "LOG": "Log",
        "LOGICAL_NOT": "Not",
        "LOGISTIC": "Sigmoid",
        "NEG": "Neg",
        "RELU": "Relu",
        "ROUND": "Round",
        "SIGN": "Sign",
        "SIN": "Sin",
        "SQRT": "Sqrt",
        "TANH": "Tanh",
        "HARD_SWISH": "HardSwish",
        "ADD": "Add",
        "SUB": "Sub",
        "MUL": "Mul",
        "DIV": "Div",
        "POW": "Pow",
        "MAXIMUM": "Max",
        "MINIMUM": "Min",
        "LESS": "Less",
        "LESS_EQUAL": "LessOrEqual",
        "GREATER": "Greater",
        "GREATER_EQUAL": "GreaterOrEqual",
        "EQUAL": "Equal",
        "LOGICAL_AND": "And",
        "LOGICAL_OR": "Or",
        "ADD_N": "Sum",
        "SELECT_V2": "Where",
    }
)
_FUSED = frozenset(("ADD", "SUB", "MUL", "DIV"))
_BOUNDED = ("RELU6", "RELU_N1_TO_1", "RELU_0_TO_1")


def activated(node: Node, value: str) -> str:
    """A value after the activation that is fused into the node."""
    kind = ACTIVATIONS[node.option("activation")]
    if kind == "NONE":
        return value
    if kind in _BOUNDED:
        return _clipped(node, value, kind)
    if kind not in ("RELU", "TANH"):
        raise node.unsupported(f"its fused activation {kind} is not supported")
    return node.emit(kind.capitalize(), value)


def biased(node: Node, value: str) -> str:
    """A product plus the node's bias along the last axis, its input 2, if it has one."""
    return node.emit("Add", value, node.value(2)) if node.has(2) else value


def _clipped(node: Node, value: str, kind: str) -> str:
    low, high = (node.real_constant(bound or 0) for bound in BOUNDS[kind])
    return node.emit("Clip", value, low, high)


@operator(*_ALIKE)
def alike(node: Node) -> str:
    """What ONNX has too, with the same broadcasting."""
    values = [node.value(index) for index in range(len(node))]
    value = node.emit(_ALIKE[node.kind], *values)
    return activated(node, value) if node.kind in _FUSED else value


@operator(*_BOUNDED)
def bounded(node: Node) -> str:
    """Relu with an upper bound."""
    return _clipped(node, node.value(0), node.kind)


@operator("SELECT")
def select(node: Node) -> str:
    """Where, with a condition that may be one for each first index."""
    if len(node.tensor(0).shape) not in (0, len(node.tensor(1).shape)):
        raise node.unsupported("a condition of another rank than the values is not supported")
    return node.emit("Where", node.value(0), node.value(1), node.value(2))


@operator("NOT_EQUAL")
def not_equal(node: Node) -> str:
    """Not of equal."""
    return node.emit("Not", node.emit("Equal", node.value(0), node.value(1)))


@operator("RSQRT")
def rsqrt(node: Node) -> str:
    """One over the square root."""
    return node.emit("Reciprocal", node.emit("Sqrt", node.value(0)))


@operator("SQUARE")
def square(node: Node) -> str:
    """x * x."""
    return node.emit("Mul", node.value(0), node.value(0))


@operator("SQUARED_DIFFERENCE")
def squared_difference(node: Node) -> str:
    """(x - y) * (x - y)."""
    difference = node.emit("Sub", node.value(0), node.value(1))
    return node.emit("Mul", difference, difference)


@operator("FLOOR_DIV")
def floor_div(node: Node) -> str:
    """The quotient rounded down; of integers too, where ONNX's Div rounds towards zero."""
    if node.tensor(0).dtype != "float32":
        raise node.unsupported(f"on {node.tensor(0).dtype} it is not supported")
    return node.emit("Floor", node.emit("Div", node.value(0), node.value(1)))


@operator("FLOOR_MOD")
def floor_mod(node: Node) -> str:
    """What is left after `FLOOR_DIV`: it has the divisor's sign."""
    if node.tensor(0).dtype != "float32":
        return node.emit("Mod", node.value(0), node.value(1))
    quotient = node.emit("Floor", node.emit("Div", node.value(0), node.value(1)))
    return node.emit("Sub", node.value(0), node.emit("Mul", quotient, node.value(1)))


@operator("LEAKY_RELU")
def leaky_relu(node: Node) -> str:
    """A slope below zero."""
    return node.emit("LeakyRelu", node.value(0), alpha=node.option("alpha"))


@operator("PRELU")
def prelu(node: Node) -> str:
    """A slope below zero for each channel; the slopes broadcast from the last axis, as ONNX's do."""
    return node.emit("PRelu", node.value(0), node.value(1))


@operator("GELU")
def gelu(node: Node) -> str:
    """x * Phi(x), or its approximation by tanh."""
    return node.emit("Gelu", node.value(0), approximate="tanh" if node.option("approximate") else "none")


@operator("SOFTMAX")
def softmax(node: Node) -> str:
    """Softmax along the last axis of beta * x."""
    value = node.value(0)
    if node.option("beta") != 1:
        value = node.emit("Mul", value, node.real_constant(node.option("beta")))
    return node.emit("Softmax", value, axis=-1)


@operator("LOG_SOFTMAX")
def log_softmax(node: Node) -> str:
    """Log of softmax along the last axis."""
    return node.emit("LogSoftmax", node.value(0), axis=-1)


@operator("CAST")
def cast(node: Node) -> str:
    """Another dtype."""
    import numpy as np
    from onnx import helper

    return node.emit("Cast", node.value(0), to=helper.np_dtype_to_tensor_dtype(np.dtype(node.output(0).dtype)))


@operator("QUANTIZE", "DEQUANTIZE")
def quantize(node: Node) -> str:
    """Real numbers to integers, back, or integers of another meaning: reading and writing the tensors does it."""
    if node.tensor(0).dtype == "float16":
        return node.emit("Cast", node.value(0), to=1)
    return node.value(0)
