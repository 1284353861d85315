"""Operators on floats that TVM's passes carry along and cannot simplify.

TVM's arithmetic analyzer takes x - x for 0, x * 0 for 0, not (a < b) for a >= b, (x + c) - c for x. None of it holds
for floats: of NaN, of infinities, of sums that round. So no `Add`, `Mul`, `LT` of floats is left for it to see. They
are calls of the operators named here, from the moment when an operator of the model becomes TensorIR (`hide`) to the
last step of lowering (`compiler/lowering/write_out.py`), where they become instructions. TVM treats them as it treats
`exp`: a pure function, which it vectorizes, narrows and moves, and knows nothing about. Indices stay TVM's own, and
simple.

A sum with a product inside one operator of the model is one `add_product`: multiply-add where the target has it.
Between two operators of the model each result is rounded.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import partial
from types import MappingProxyType

import tvm
import tvm_ffi
from tvm import te, tirx
from tvm.ir import Call, Op, register_op_attr

from .ir_types import Node, Scalar

PREFIX = "tilewright."
ADD, SUBTRACT, MULTIPLY, DIVIDE, REMAINDER, POWER, ADD_PRODUCT = (
    f"{PREFIX}{name}" for name in ("add", "subtract", "multiply", "divide", "remainder", "power", "add_product")
)
# The larger and the smaller one, NaN if either is NaN; and of two numbers, where it does not matter what NaN gives.
MAXIMUM, MINIMUM, LARGER, SMALLER = (f"{PREFIX}{name}" for name in ("maximum", "minimum", "larger", "smaller"))
# x, or x times a slope where x is negative; 1 and -1 by the sign, 0.0 of any zero, and NaN itself. An operator that
# reads its operand several times is one of these, for what it reads may be a long expression.
LEAKY_RELU, SIGN = (f"{PREFIX}{name}" for name in ("leaky_relu", "sign"))
EQUAL, LESS, LESS_EQUAL, IS_NAN = (f"{PREFIX}{name}" for name in ("equal", "less", "less_equal", "isnan"))
COMPARISONS = (EQUAL, LESS, LESS_EQUAL, IS_NAN)
ROUND_TO_BFLOAT16, ROUND_TO_FLOAT16 = (f"{PREFIX}round_to_{name}" for name in ("bfloat16", "float16"))  # give the bits
WIDEN_FLOAT16 = f"{PREFIX}widen_float16"  # takes the bits
ROUND_TO_ODD_FLOAT32 = f"{PREFIX}round_to_odd_float32"  # of float64, so that rounding once more, to float16, is right
# int32 of sums in int32, a multiplier in float32, a zero point, and the ends of the range (docs/quantization.md).
REQUANTIZE = f"{PREFIX}requantize"
# The same of a float32 that is divided by a scale.
QUANTIZE = f"{PREFIX}quantize"
# What is a few instructions, and no function.
ARITHMETIC = (
    *(ADD, SUBTRACT, MULTIPLY, DIVIDE, ADD_PRODUCT, MAXIMUM, MINIMUM, LARGER, SMALLER, LEAKY_RELU, SIGN),
    *(*COMPARISONS, ROUND_TO_BFLOAT16, ROUND_TO_FLOAT16, WIDEN_FLOAT16, ROUND_TO_ODD_FLOAT32, REQUANTIZE, QUANTIZE),
)
# Functions of one float: those that are written out in float32 (schedules/tensorir/vector_math.py), and those of libm.
FUNCTIONS_OF_TVM = (
    "acos",
    "acosh",
    "asin",
    "asinh",
    "atan",
    "atanh",
    "cosh",
    "erf",
    "exp",
    "sigmoid",
    "sinh",
    "tan",
    "tanh",
)
_OWN = ("erfc", "expm1", "gelu", "gelu_tanh", "log1p", "mish", "silu", "softplus")
FUNCTIONS = (*FUNCTIONS_OF_TVM, *_OWN)

_NODES: Mapping[type, str] = MappingProxyType(
    {
        tirx.Add: ADD,
        tirx.Sub: SUBTRACT,
        tirx.Mul: MULTIPLY,
        tirx.Div: DIVIDE,
        tirx.Mod: REMAINDER,
        tirx.Max: MAXIMUM,
        tirx.Min: MINIMUM,
        tirx.EQ: EQUAL,
        tirx.LT: LESS,
        tirx.LE: LESS_EQUAL,
    }
)
_CALLS: Mapping[str, str] = MappingProxyType(
    {"tirx.isnan": IS_NAN, "tirx.pow": POWER, **{f"tirx.{name}": f"{PREFIX}{name}" for name in FUNCTIONS_OF_TVM}}
)
# Functions of TVM's that LLVM, or the C library, knows in float32 and float64 alone.
_NOT_IN_HALF = ("tirx.atan2", "tirx.cos", "tirx.log", "tirx.log10", "tirx.log2", "tirx.sin", "tirx.sqrt")
_HALF = "float16"
_CHOICE = "prim.if_then_else"


def register(names: Iterable[str]) -> None:
    """Makes operators known to TVM: pure functions, which it may vectorize."""
    known = set(Op.list_op_names())
    for name in names:
        if name in known:  # registered by another copy of this module in the process
            continue
        register_op_attr(name, "TCallEffectKind", _PURE)
        register_op_attr(name, "TVectorizable", True)
        register_op_attr(name, "TScriptPrinterName", name)


_PURE = 1  # tirx's CallEffectKind.kPure
register((*ARITHMETIC, REMAINDER, POWER, *(f"{PREFIX}{function}" for function in FUNCTIONS)))


def dtype_of(expression: Scalar) -> str:
    """The dtype of an expression, lanes included."""
    return str(expression.ty.dtype)


def is_float(expression: Scalar) -> bool:
    """Whether an expression is one of floats."""
    return isinstance(expression.ty, tvm.ir.PrimType) and "float" in dtype_of(expression)


def call(name: str, *operands: Scalar, result: str = "") -> Scalar:
    """A call of a hidden operator; operands may be elements of TE tensors.

    Args:
        result: the dtype of its elements; by default that of the first operand, or what an operator above gives.
    """
    operands = tuple(each.asobject() if isinstance(each, te.tensor.TensorSlice) else each for each in operands)
    dtype = dtype_of(operands[0])
    result = result or ("bool" if name in COMPARISONS else "int32" if name == QUANTIZE else "")
    if result:
        lanes = dtype.partition("x")[2]
        dtype = f"{result}x{lanes}" if lanes else result
    return Call(Op.get(name), list(operands), ret_ty=tvm.ir.PrimType(dtype))


def _binary(name: str) -> Callable[[Scalar, Scalar], Scalar]:
    return lambda left, right: call(name, left, right)


add, subtract, multiply, divide = map(_binary, (ADD, SUBTRACT, MULTIPLY, DIVIDE))
remainder, power = map(_binary, (REMAINDER, POWER))
maximum, minimum, larger, smaller = map(_binary, (MAXIMUM, MINIMUM, LARGER, SMALLER))
leaky_relu = _binary(LEAKY_RELU)
equal, less, less_equal = map(_binary, (EQUAL, LESS, LESS_EQUAL))


def not_equal(left: Scalar, right: Scalar) -> Scalar:
    """Whether two floats differ, or one is NaN."""
    return tirx.Not(equal(left, right))


def negative(x: Scalar) -> Scalar:
    """x with the other sign: -0.0 of 0.0."""
    if isinstance(x, tirx.FloatImm):
        return tirx.const(-float(x.value), dtype_of(x))
    return subtract(tirx.const(-0.0, dtype_of(x)), x)


def sign(x: Scalar) -> Scalar:
    """1, -1, 0.0, or NaN itself."""
    return call(SIGN, x)


def is_nan(x: Scalar) -> Scalar:
    """Whether a float is NaN."""
    return call(IS_NAN, x)


def round_to_bfloat16(x: Scalar) -> Scalar:
    """The bits of a float32 rounded to bfloat16."""
    return call(ROUND_TO_BFLOAT16, x, result="uint16")


def round_to_float16(x: Scalar) -> Scalar:
    """The bits of a float32 rounded to float16."""
    return call(ROUND_TO_FLOAT16, x, result="uint16")


def widen_float16(bits: Scalar) -> Scalar:
    """The float32 of a float16's bits."""
    return call(WIDEN_FLOAT16, bits, result="float32")


def round_to_odd_float32(x: Scalar) -> Scalar:
    """A float64 as float32 that rounds to the same float16."""
    return call(ROUND_TO_ODD_FLOAT32, x, result="float32")


def function(name: str, x: Scalar) -> Scalar:
    """One of `FUNCTIONS` of a float."""
    return in_float32(lambda wide: call(f"{PREFIX}{name}", wide), x)


def in_float32(compute: Callable[..., Scalar], *operands: Scalar) -> Scalar:
    """A function of floats computed in float32 where they are float16."""
    if dtype_of(operands[0]) != _HALF:
        return compute(*operands)
    return tirx.Cast(_HALF, compute(*(tirx.Cast("float32", operand) for operand in operands)))


def like(value: float, x: Scalar) -> Scalar:
    """A number in the dtype of an expression, in each of its lanes."""
    dtype, _, lanes = dtype_of(x).partition("x")
    one = tirx.const(value, dtype)
    return tirx.Broadcast(one, int(lanes)) if lanes else one


def name_of(expression: Scalar) -> str:
    """The name of the operator that an expression calls; empty if it is no call."""
    return str(getattr(expression.op, "name", "")) if isinstance(expression, Call) else ""


def hide(node: Node) -> Node:
    """A statement or an expression whose floats are computed by the operators above alone."""

    def arithmetic(node: Node) -> Node:
        if not is_float(node.a):
            return node
        fused = _fused(node)
        return call(_NODES[type(node)], node.a, node.b) if fused is None else fused

    def swapped(kind: str) -> Callable[[Node], Node]:
        return lambda node: call(kind, node.b, node.a) if is_float(node.a) else node

    def unequal(node: Node) -> Node:
        return not_equal(node.a, node.b) if is_float(node.a) else node

    def named(node: Node) -> Node:
        name = name_of(node)
        if not node.args or not isinstance(node.args[0], tvm.ir.Expr) or not is_float(node.args[0]):
            return node
        if name in _CALLS:
            kind = _CALLS[name]
            return call(kind, *node.args) if kind == IS_NAN else in_float32(partial(call, kind), *node.args)
        if name in _NOT_IN_HALF and dtype_of(node) == _HALF:
            return in_float32(lambda *wide: tirx.call_intrin("float32", name, *wide), *node.args)
        return node

    changes = [
        *((kind, arithmetic) for kind in _NODES),
        (tirx.GT, swapped(LESS)),
        (tirx.GE, swapped(LESS_EQUAL)),
        (tirx.NE, unequal),
        (Call, named),
    ]
    return tvm_ffi.structural_map(node, changes, order="post")


def _fused(node: Node) -> Scalar | None:
    """c + a * b, a * b + c, c - a * b or a * b - c as one operator; c + (a * b if inside else 0) as well."""
    if not isinstance(node, (tirx.Add, tirx.Sub)):
        return None
    subtracts = isinstance(node, tirx.Sub)
    if name_of(node.b) == MULTIPLY:
        left, right = node.b.args
        if subtracts and isinstance(right, tirx.FloatImm):
            return call(ADD_PRODUCT, node.a, left, negative(right))
        return call(ADD_PRODUCT, node.a, negative(left) if subtracts else left, right)
    if name_of(node.a) == MULTIPLY:
        return call(ADD_PRODUCT, negative(node.b) if subtracts else node.b, *node.a.args)
    return None if subtracts else _accumulated(node.a, node.b)


def _accumulated(total: Scalar, term: Scalar) -> Scalar | None:
    """total + (a * b if inside else 0), where sums start at 0.0 and so are never -0.0, as a choice of two totals."""
    if name_of(term) == MULTIPLY:
        return call(ADD_PRODUCT, total, *term.args)
    if name_of(term) != _CHOICE or not isinstance(term.args[2], tirx.FloatImm) or float(term.args[2].value) != 0:
        return None
    inside = _accumulated(total, term.args[1])
    return None if inside is None else tirx.if_then_else(term.args[0], inside, total)
