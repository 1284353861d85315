"""Looking at what a value is made of: the small vocabulary that the pattern passes are written in."""

from __future__ import annotations

import math

import tvm
from tvm import relax

from ...ir_types import Call
from .constants import array_of, scalar_of
from .graph import Expr
from .rewriter import Rewriter, dtype_of, shape_of

Polynomial = dict[int, float]  # degree -> coefficient


def calls(value: Expr, *names: str) -> bool:
    """Whether a value is a call of one of these Relax operators (named without `relax.`)."""
    return isinstance(value, tvm.ir.Call) and isinstance(value.op, tvm.ir.Op) and value.op.name[6:] in names


def made_by(rewriter: Rewriter, expr: Expr, *names: str) -> Call | None:
    """The call that makes `expr` if it is one of these operators, else None."""
    value = rewriter.definition(expr)
    return value if value is not None and calls(value, *names) else None


def only_use(rewriter: Rewriter, expr: Expr) -> bool:
    """Whether nothing but the value at hand reads `expr`."""
    return rewriter.uses(expr) <= 1


def is_float(expr: Expr) -> bool:
    """Whether a tensor holds floating point numbers."""
    return isinstance(expr.ty, relax.TensorType) and dtype_of(expr).startswith(("float", "bfloat"))


def close(a: float, b: float) -> bool:
    """Whether two constants of a formula are the same but for how many digits were written."""
    return math.isclose(a, b, rel_tol=2e-4, abs_tol=1e-12)


def split_constant(call: Call) -> tuple[Expr, Expr] | None:
    """(tensor, constant) of a commutative binary call with exactly one constant operand."""
    left, right = call.args
    if array_of(right) is not None and array_of(left) is None:
        return left, right
    if array_of(left) is not None and array_of(right) is None:
        return right, left
    return None


def with_scalar(call: Call) -> tuple[Expr | None, float | None]:
    """(operand, number) of a commutative binary call that has a scalar constant; (None, None) for others."""
    for operand, other in (tuple(call.args), tuple(call.args)[::-1]):
        number = scalar_of(other)
        if number is not None:
            return operand, float(number)
    return None, None


def scalar_factor(value: Call) -> tuple[Expr, float] | None:
    """(x, c) of x * c, c * x or x / (1 / c), with a scalar constant other than 0 that leaves the shape of x alone."""
    if not calls(value, "multiply", "divide"):
        return None
    divides = calls(value, "divide")
    parts = (value.args[0], value.args[1]) if divides else split_constant(value)
    scale = scalar_of(parts[1]) if parts is not None else None
    if parts is None or scale is None or scale == 0 or not keeps_shape(value, parts[0]):
        return None
    return parts[0], 1 / float(scale) if divides else float(scale)


def keeps_shape(call: Call, operand: Expr) -> bool:
    """Whether the result has the operand's shape and dtype (the other operand did not broadcast it)."""
    shape = shape_of(operand)
    return shape is not None and shape == shape_of(call) and dtype_of(operand) == dtype_of(call)


def factors(rewriter: Rewriter, value: Call, depth: int = 12) -> tuple[list[Expr], float]:
    """A product taken apart into factors and the product of its scalar constants.

    Goes through multiplications and divisions by scalars, as far as nothing else reads the products, and so many deep.
    """
    if calls(value, "multiply"):
        operands = list(value.args)
    elif calls(value, "divide") and scalar_of(value.args[1]) not in (None, 0):
        inner, scale = _factor(rewriter, value.args[0], depth)
        return inner, scale / float(scalar_of(value.args[1]))  # type: ignore[arg-type]  # not None, just above
    else:
        return [], 1.0
    found: list[Expr] = []
    scale = 1.0
    for operand in operands:
        more, by = _factor(rewriter, operand, depth)
        found += more
        scale *= by
    return found, scale


def _factor(rewriter: Rewriter, expr: Expr, depth: int) -> tuple[list[Expr], float]:
    constant = scalar_of(expr)
    if constant is not None:
        return [], float(constant)
    value = made_by(rewriter, expr, "multiply", "divide")
    if value is not None and depth > 0 and only_use(rewriter, expr):
        inner, scale = factors(rewriter, value, depth - 1)
        if inner:
            return inner, scale
    return [expr], 1.0


def polynomial(rewriter: Rewriter, expr: Expr, x: Expr, depth: int = 12) -> Polynomial | None:
    """`expr` as a polynomial in `x` with scalar coefficients, whatever the order in which it is computed; else None."""
    if expr.same_as(x):
        return {1: 1.0}
    constant = scalar_of(expr)
    if constant is not None:
        return {0: float(constant)}
    value = rewriter.definition(expr)
    if depth == 0 or value is None or not isinstance(value, tvm.ir.Call):
        return None
    parts = [polynomial(rewriter, arg, x, depth - 1) for arg in value.args if isinstance(arg.ty, relax.TensorType)]
    if not parts or any(part is None for part in parts):
        return None
    known = [part for part in parts if part is not None]
    if calls(value, "add", "subtract"):
        return _add(known[0], known[1], -1.0 if calls(value, "subtract") else 1.0)
    if calls(value, "multiply"):
        return _multiply(known[0], known[1])
    if calls(value, "divide") and list(known[1]) == [0] and known[1][0] != 0:
        return {degree: coefficient / known[1][0] for degree, coefficient in known[0].items()}
    if calls(value, "negative"):
        return {degree: -coefficient for degree, coefficient in known[0].items()}
    if calls(value, "square"):
        return _multiply(known[0], known[0])
    if calls(value, "power") and list(known[1]) == [0] and known[1][0] in (2.0, 3.0):
        squared = _multiply(known[0], known[0])
        return squared if known[1][0] == 2.0 else _multiply(squared, known[0])
    return None


def _add(left: Polynomial, right: Polynomial, sign: float) -> Polynomial:
    degrees = sorted({*left, *right})
    return {degree: left.get(degree, 0.0) + sign * right.get(degree, 0.0) for degree in degrees}


def _multiply(left: Polynomial, right: Polynomial) -> Polynomial:
    result: Polynomial = {}
    for a, x in left.items():
        for b, y in right.items():
            result[a + b] = result.get(a + b, 0.0) + x * y
    return result


def same_polynomial(found: Polynomial | None, wanted: Polynomial) -> bool:
    """Whether two polynomials agree up to how many digits their coefficients were written with."""
    if found is None:
        return False
    return all(close(found.get(degree, 0.0), wanted.get(degree, 0.0)) for degree in {*found, *wanted})


def axes_of(call: Call, rank: int) -> tuple[int, ...]:
    """The axes of a reduction, counted from 0, in order."""
    axis = call.attrs.axis
    return tuple(range(rank)) if axis is None else tuple(sorted(int(a) % rank for a in axis))
