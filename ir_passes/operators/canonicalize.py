"""Take out what does nothing, and write what can be written in several ways in one."""

from __future__ import annotations

from dataclasses import dataclass

import tvm
from tvm import relax

from ..core.base import GraphPass, PassResult
from ..core.graph import Expr, Var
from ..core.rewriter import Rewriter, rewrite
from . import canonical_arithmetic as arithmetic
from . import canonical_moves as moves
from .elementwise import UNARY


@dataclass(frozen=True)
class Canonicalize(GraphPass):
    """Local simplifications, until none applies.

    - A `split` becomes slices, and a concatenation of slices that lie side by side one slice.
    - What does nothing is taken out: dead bindings, reshapes, transposes, casts, broadcasts and tiles to what is there
      already, paddings by nothing, slices of everything, concatenations of one, dropout, x + -0.0, x - 0, x * 1, x / 1,
      x ^ 1, selections by a constant condition that is the same everywhere. Of floats, x + 0.0 differs from x where x
      is -0.0: it goes where a softmax takes it.
    - `expand_dims`, `squeeze`, `flatten`, and transposes that move axes of length 1 only, become `reshape`; consecutive
      reshapes, and consecutive transposes, become one, as does a transpose of merged axes that are then split again. A
      cast of a cast becomes one where the first loses nothing.
    - A function of each element of a reshaped tensor that nothing else reads becomes the reshaped result of a function.
    - Division by a power of two becomes multiplication; `relu6` and minimum of maximum become `clip` with bounds of the
      tensor's dtype; maximum with 0 becomes `relu`.

    Contract: outputs keep their values, dtypes and shapes.
    """

    def __call__(self, module: tvm.IRModule) -> PassResult:
        """Rewrite `main`."""
        return rewrite(module, _visit)


def _visit(rewriter: Rewriter, var: Var, value: Expr) -> Expr | None:
    if isinstance(value, relax.TupleGetItem):
        return moves.item(rewriter, var, value)
    if not isinstance(value, tvm.ir.Call) or not isinstance(value.op, tvm.ir.Op):
        return None
    rule = _RULES.get(value.op.name[6:])
    simpler = rule(rewriter, var, value) if rule is not None else None
    return moves.before_reshape(rewriter, var, value) if simpler is None and value.op.name in UNARY else simpler


_RULES: dict[str, arithmetic.Rule] = {
    **dict.fromkeys(moves.RESHAPES, moves.reshape),
    "permute_dims": moves.permute,
    "astype": moves.cast,
    "concat": moves.concat,
    "add": arithmetic.add,
    "subtract": arithmetic.subtract,
    "nn.softmax": arithmetic.softmax,
    "multiply": arithmetic.neutral(1, right_only=False),
    "power": arithmetic.neutral(1, right_only=True),
    "divide": arithmetic.divide,
    "where": arithmetic.where,
    "nn.pad": moves.pad,
    "strided_slice": moves.strided_slice,
    "broadcast_to": moves.operand_if_same,
    "tile": moves.operand_if_same,
    "clip": arithmetic.clip,
    "minimum": arithmetic.minimum,
    "maximum": arithmetic.maximum,
}
