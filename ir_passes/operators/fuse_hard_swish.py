"""Hard sigmoid and hard swish in one form: the scale of a clipped line goes into the line."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import tvm
from tvm import relax, tirx

from ..core.base import GraphPass, PassResult
from ..core.constants import constant, scalar_of
from ..core.graph import Expr, Var
from ..core.match import calls, close, factors, is_float, keeps_shape, made_by, only_use, polynomial, with_scalar
from ..core.rewriter import Rewriter, dtype_of, rewrite

_WIDE = ("float32", "float64")


@dataclass(frozen=True)
class FuseHardSwish(GraphPass):
    """k * clip(a x + b, lo, hi), perhaps times x, -> clip(k a x + k b, k lo, k hi), perhaps times x, for k > 0.

    So x * clip(x + 3, 0, 6) / 6 becomes x * clip(x * (1/6) + 0.5, 0, 1): one product after the clip, and the form that
    ONNX's HardSwish is imported in. The clip may be written as relu6, or as minimum and maximum. Contract: the same
    function.
    """

    def __call__(self, module: tvm.IRModule) -> PassResult:
        """Rewrite `main`."""
        return rewrite(module, _visit)


def _visit(rewriter: Rewriter, var: Var, value: Expr) -> Expr | None:
    if not calls(value, "multiply", "divide") or not is_float(value) or dtype_of(value) not in _WIDE:
        return None
    found, scale = factors(rewriter, value)
    if close(scale, 1.0) or scale <= 0 or len(found) not in (1, 2):
        return None
    for gate, *others in (found, found[::-1]):
        clipped = _clip(rewriter, gate)
        if clipped is None or not only_use(rewriter, gate) or not keeps_shape(value, gate):
            continue
        line, low, high = clipped
        base = others[0] if others else _base(rewriter, line)
        if base is None or not keeps_shape(value, base):
            continue
        coefficients = polynomial(rewriter, line, base)
        if coefficients is None or set(coefficients) - {0, 1}:
            continue
        hint = rewriter.hint(var, value, base)
        return _scaled(rewriter, base, coefficients, (low, high), scale, hint, times=bool(others))
    return None


def _scaled(
    rewriter: Rewriter,
    x: Expr,
    line: dict[int, float],
    bounds: tuple[float, float],
    scale: float,
    hint: str,
    *,
    times: bool,
) -> Expr:
    dtype = dtype_of(x)

    def scalar(number: float) -> Expr:
        return constant(np.asarray(number * scale, dtype))

    sloped = rewriter.emit(relax.op.multiply(x, scalar(line.get(1, 0.0))), hint)
    moved = rewriter.emit(relax.op.add(sloped, scalar(line.get(0, 0.0))), hint)
    low, high = (tirx.const(bound * scale, dtype) for bound in bounds)
    gate = rewriter.emit(relax.op.clip(moved, low, high), hint)
    return rewriter.emit(relax.op.multiply(x, gate), hint) if times else gate


def _base(rewriter: Rewriter, line: Expr) -> Expr | None:
    """The tensor that a line is a line of: what is left when scalars are taken off.

    It ends at a value that something else reads as well: that is computed anyway, and may be x of a hard swish.
    """
    expr = line
    while only_use(rewriter, expr):
        value = made_by(rewriter, expr, "add", "subtract", "multiply", "divide")
        tensors = [arg for arg in value.args if scalar_of(arg) is None] if value is not None else []
        if len(tensors) != 1:
            break
        expr = tensors[0]
    return None if expr.same_as(line) else expr


def _clip(rewriter: Rewriter, expr: Expr) -> tuple[Expr, float, float] | None:
    """(operand, low, high) of a clip in any of its forms."""
    value = made_by(rewriter, expr, "clip", "minimum", "maximum")
    if value is None:
        return None
    if calls(value, "clip"):
        low, high = (getattr(bound, "value", None) for bound in value.args[1:])
        return None if low is None or high is None else (value.args[0], float(low), float(high))
    outer, bound = with_scalar(value)
    inner = made_by(rewriter, outer, "maximum" if calls(value, "minimum") else "minimum") if outer is not None else None
    if inner is None or not only_use(rewriter, outer):
        return None
    x, other = with_scalar(inner)
    if x is None or bound is None or other is None:
        return None
    low, high = (other, bound) if calls(value, "minimum") else (bound, other)
    return (x, low, high) if low <= high else None
