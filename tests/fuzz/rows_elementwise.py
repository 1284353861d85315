"""Rows of element-wise operators and normalisations by element."""

from __future__ import annotations

from typing import Any

import numpy as np
from draft import FLOATS, INTEGERS, Draft, Unfit, onnx_dtype
from rows import row

_INTEGERS = ("int64", "int32")


def numbers(d: Draft) -> tuple[str, ...]:
    """The graph's floats, or now and then integers."""
    return (d.dtype,) if d.chance(0.85) else _INTEGERS


@row("Abs", "Neg", "Sign", "Identity")
def unary_of_numbers(d: Draft, op: str) -> None:
    d.node(op, [d.pick(numbers(d))])


@row(
    "Relu", "Sigmoid", "Tanh", "Erf", "Ceil", "Floor", "Round", "Sin", "Cos", "Atan", "Asinh", "Softplus", "Softsign",
    "Mish", "HardSwish",
)  # fmt: skip
def unary_of_floats(d: Draft, op: str) -> None:
    d.node(op, [d.pick()])


_DOMAINS = {
    "Acos": (-0.99, 0.99),
    "Asin": (-0.99, 0.99),
    "Atanh": (-0.9, 0.9),
    "Acosh": (1.1, 40.0),
    "Exp": (-20.0, 6.0),
    "Sinh": (-6.0, 6.0),
    "Cosh": (-6.0, 6.0),
    "Tan": (-1.4, 1.4),
    "Log": (1e-3, 1e4),
    "Sqrt": (0.0, 1e4),
    "Reciprocal": (0.05, 1e3),
}


@row(*_DOMAINS)
def unary_within(d: Draft, op: str) -> None:
    d.node(op, [d.within(*_DOMAINS[op])])


@row("LeakyRelu", "Elu", "Celu", "ThresholdedRelu")
def with_alpha(d: Draft, op: str) -> None:
    d.node(op, [d.pick()], alpha=d.one_of((None, 0.25, 1.0, 1.5)))


@row("Selu")
def selu(d: Draft, op: str) -> None:
    d.node(op, [d.pick()], **(d.one_of(({}, {"alpha": 1.2, "gamma": 0.9}))))


@row("HardSigmoid")
def hard_sigmoid(d: Draft, op: str) -> None:
    d.node(op, [d.pick()], **(d.one_of(({}, {"alpha": 1 / 6, "beta": 0.5}, {"alpha": -0.3, "beta": 0.25}))))


@row("Shrink")
def shrink(d: Draft, op: str) -> None:
    d.node(op, [d.pick(numbers(d))], **(d.one_of(({}, {"lambd": 1.5, "bias": 1.0}))))


@row("Gelu")
def gelu(d: Draft, op: str) -> None:
    d.node(op, [d.pick()], approximate=d.one_of((None, "tanh")))


@row("Swish")
def swish(d: Draft, op: str) -> None:
    d.node(op, [d.pick()], alpha=d.one_of((None, 1.0, 1.702)))


@row("PRelu")
def prelu(d: Draft, op: str) -> None:
    x = d.pick()
    shape = d.broadcasting(d.array(x).shape)
    d.node(op, [x, d.leaf(shape)])


def pair(d: Draft, dtypes: Any = None, **bounds: float) -> tuple[str, str]:
    """Two operands that broadcast, in either order."""
    first = d.pick(dtypes)
    array = d.array(first)

    def broadcasts(other: np.ndarray[Any, Any]) -> bool:
        if other.dtype != array.dtype:
            return False
        try:
            return bool(np.prod(np.broadcast_shapes(array.shape, other.shape)) <= 8000)
        except ValueError:
            return False

    def new() -> str:
        return d.leaf(d.broadcasting(array.shape), array.dtype.name, **bounds)

    second = new() if bounds else d.pick(array.dtype.name, fits=broadcasts, otherwise=new, reuse=0.55)
    return (first, second) if bounds or d.chance(0.7) else (second, first)


@row("Add", "Sub", "Mul")
def arithmetic(d: Draft, op: str) -> None:
    d.node(op, pair(d, numbers(d)))


@row("Div")
def divide(d: Draft, op: str) -> None:
    d.node(op, pair(d, numbers(d), low=1.0 if d.chance(0.7) else 0.25, high=7.0))


@row("Mod")
def modulo(d: Draft, op: str) -> None:
    if d.chance(0.7):
        d.node(op, pair(d, _INTEGERS, low=1, high=7), fmod=d.one_of((0, 1, None)))
    else:
        d.node(op, pair(d, low=0.5, high=3.0), fmod=1)


@row("Pow")
def power(d: Draft, op: str) -> None:
    if d.chance(0.5):
        x = d.pick()
        exponent = d.one_of((1.0, 2.0, 3.0, 4.0, -1.0) if d.chance(0.6) else (0.5, 1.5, 0.25, -0.5))
        base = x if exponent in (1.0, 2.0, 3.0, 4.0) else d.within(0.1, 8.0)
        shape = d.one_of(((), (1,), d.array(base).shape))
        d.node(op, [base, d.parameter(np.full(shape, exponent), d.dtype)])
    else:
        base = d.within(0.1, 8.0)
        d.node(op, [base, d.leaf(d.broadcasting(d.array(base).shape), low=-2.0, high=2.5)])


@row("Max", "Min", "Sum", "Mean")
def variadic(d: Draft, op: str) -> None:
    dtypes = numbers(d) if op in ("Max", "Min") else None
    first, second = pair(d, dtypes)
    more = [d.leaf(d.broadcasting(d.array(first).shape), d.array(first).dtype.name) for _ in range(d.between(0, 2))]
    d.node(op, [first, second, *more][: d.one_of((1, 2, 2, 3, 4))])


@row("And", "Or", "Xor")
def logic(d: Draft, op: str) -> None:
    d.node(op, pair(d, "bool"))


@row("Not")
def negate(d: Draft, op: str) -> None:
    d.node(op, [d.pick("bool", otherwise=lambda: condition(d))])


@row("Equal", "Greater", "GreaterOrEqual", "Less", "LessOrEqual")
def compare(d: Draft, op: str) -> None:
    kinds = (d.dtype,) if d.chance(0.6) else ("bool",) if op == "Equal" and d.chance(0.4) else _INTEGERS
    d.node(op, pair(d, kinds))


def condition(d: Draft) -> str:
    """A boolean tensor: there, a comparison, or an input."""
    if d.chance(0.7):
        return d.node(d.one_of(("Less", "Greater")), pair(d))
    return d.leaf(d.shape(), "bool")


@row("Where")
def where(d: Draft, op: str) -> None:
    choice = d.pick("bool", otherwise=lambda: condition(d))
    shape = d.array(choice).shape
    dtype = d.one_of((d.dtype, d.dtype, d.dtype, "int64", "bool"))

    def value() -> str:
        return d.pick(
            dtype,
            fits=lambda a: a.shape == shape,
            otherwise=lambda: d.leaf(d.broadcasting(shape), dtype),
            reuse=0.7,
        )

    d.node(op, [choice, value(), value()])


@row("BitwiseAnd", "BitwiseOr", "BitwiseXor")
def bitwise(d: Draft, op: str) -> None:
    d.node(op, pair(d, d.one_of((_INTEGERS, INTEGERS))))


@row("BitwiseNot")
def bitwise_not(d: Draft, op: str) -> None:
    d.node(op, [d.pick(_INTEGERS)])


@row("BitShift")
def bit_shift(d: Draft, op: str) -> None:
    x = d.leaf(d.shape(), d.one_of(("uint8", "uint32", "uint64")))
    d.node(
        op,
        [x, d.leaf(d.broadcasting(d.array(x).shape), d.array(x).dtype.name, low=0, high=5)],
        direction=d.one_of(("LEFT", "RIGHT")),
    )


@row("IsNaN", "IsInf")
def special(d: Draft, op: str) -> None:
    x = d.pick()
    if d.chance(0.3):  # a quotient that has some
        array = np.round(d.rng.standard_normal(d.array(x).shape)).astype(d.dtype)
        if d.dtype == "float32":
            array = np.where(d.rng.random(array.shape) < 0.3, np.inf, array).astype(d.dtype)
            x = d._input(np.where(d.rng.random(array.shape) < 0.3, np.nan, array).astype(d.dtype))
    flags = {"detect_negative": d.between(0, 1), "detect_positive": d.between(0, 1)} if op == "IsInf" else {}
    d.node(op, [x], **flags)


@row("Clip")
def clip(d: Draft, op: str) -> None:
    x = d.pick(numbers(d) if d.opset >= 12 else None)
    dtype = d.array(x).dtype.name
    if d.opset < 11:
        d.clipped(x, -0.5, 1.0)
        return
    low, high = d.one_of(((-1, 1), (0, 6), (0, None), (None, 1), (-2, 3)))

    def bound(value: int | None) -> str:
        if value is None:
            return ""
        return d.parameter(value, dtype) if d.chance(0.8) else d.leaf((), dtype, low=value, high=value)

    d.node(op, [x, bound(low), bound(high)])


@row("Cast")
def cast(d: Draft, op: str) -> None:
    x = d.pick((*FLOATS, *INTEGERS, "bool"))
    array = d.array(x)
    targets = [each for each in (*FLOATS, "int64", "int32", "int8", "bool", "uint8") if each != array.dtype.name]
    target = d.one_of(targets)
    small = array.dtype.kind == "b" or not array.size or np.abs(array.astype(np.float64)).max() <= 120
    if (target in ("int8", "uint8") and not small) or (
        target == "uint8" and array.dtype.kind != "b" and array.min() < 0
    ):
        raise Unfit("out of range: each implementation has its own answer")
    d.node(op, [x], to=onnx_dtype(target))


@row("CastLike")
def cast_like(d: Draft, op: str) -> None:
    d.node(op, [d.pick(_INTEGERS), d.leaf((1,), d.dtype)])


@row("Dropout")
def dropout(d: Draft, op: str) -> None:
    x = d.pick()
    if d.opset < 12:
        d.node(op, [x], ratio=0.3)  # what the mask holds at inference is said from opset 12 on
    else:
        d.node_outputs(op, [x, d.parameter(0.3, "float32")][: d.between(1, 2)], d.between(1, 2))


@row("Softmax", "LogSoftmax", "Hardmax")
def softmax(d: Draft, op: str) -> None:
    x = d.pick(fits=lambda a: a.ndim > 0 and (op != "Hardmax" or len(np.unique(a)) == a.size))
    d.node(op, [x], axis=d.one_of((None, -1, d.axis(d.rank(x)))))
