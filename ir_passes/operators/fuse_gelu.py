"""x * Phi(x), however it is written, becomes nn.gelu; its tanh approximation becomes nn.gelu_tanh."""

from __future__ import annotations

import math
from dataclasses import dataclass

import tvm
from tvm import relax

from ..core.base import GraphPass, PassResult
from ..core.constants import scalar_of
from ..core.graph import Expr, Var
from ..core.match import calls, close, factors, is_float, keeps_shape, made_by, polynomial, same_polynomial
from ..core.rewriter import Rewriter, rewrite

_ERF = {1: math.sqrt(0.5)}
_TANH = {1: math.sqrt(2 / math.pi), 3: 0.044715 * math.sqrt(2 / math.pi)}


@dataclass(frozen=True)
class FuseGelu(GraphPass):
    """0.5 x (1 + erf(x / sqrt 2)) -> nn.gelu(x); 0.5 x (1 + tanh(sqrt(2/pi) (x + 0.044715 x^3))) -> nn.gelu_tanh(x).

    The product may be taken in any order and the argument written as any polynomial. Contract: the result computes the
    same function of x; intermediate results that something else reads are still computed.
    """

    def __call__(self, module: tvm.IRModule) -> PassResult:
        """Rewrite `main`."""
        return rewrite(module, _visit)


def _visit(rewriter: Rewriter, var: Var, value: Expr) -> Expr | None:
    if not calls(value, "multiply", "divide") or not is_float(value):
        return None
    found, scale = factors(rewriter, value)
    if len(found) != 2 or not close(scale, 0.5):
        return None
    for x, gate in (found, found[::-1]):
        make = _gate(rewriter, gate, x)
        if make is not None and keeps_shape(value, x):
            return rewriter.emit(make(x), rewriter.hint(var, value, x))
    return None


def _gate(rewriter: Rewriter, gate: Expr, x: Expr) -> Expr | None:
    """The operator whose gate 1 + erf(..x..) or 1 + tanh(..x..) is."""
    total = made_by(rewriter, gate, "add")
    if total is None:
        return None
    left, right = total.args
    inner = left if scalar_of(right) == 1 else right if scalar_of(left) == 1 else None
    curve = made_by(rewriter, inner, "erf", "tanh") if inner is not None else None
    if curve is None:
        return None
    wanted, make = (_ERF, relax.op.nn.gelu) if calls(curve, "erf") else (_TANH, relax.op.nn.gelu_tanh)
    return make if same_polynomial(polynomial(rewriter, curve.args[0], x), wanted) else None
