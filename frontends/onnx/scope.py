"""What names mean while a graph, a function's body, or the body of a loop or branch is walked."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import onnx_ir as ir
from tvm import relax

from .dtypes import numpy_dtype
from .emitter import Emitter, Expr
from .narrow_value import Narrow
from .node import Value
from .sequences import SequenceValue


@dataclass(frozen=True)
class Missing:
    """Stands for an output of a node that has no converter, so that the walk can go on and find the others."""


@dataclass
class Scope:
    """One walk.

    Attributes:
        opsets: versions of operator sets by domain.
        emitter: where bindings go.
        values: what is known so far.
        attributes: of the call, inside a function's body.
        prefix: of names, inside a function of the model.
        defines: name and operator of the node whose ONNX definition is being walked.
        definitions: how many definitions are around it.
        depth: how many graphs are.
        outer: the walk around it, of which it is a Relax function of its own.
        captures: parameters that stand for variables of the walk around it.
    """

    opsets: Mapping[str, int]
    emitter: Emitter
    values: dict[ir.Value, Value | Missing] = field(default_factory=dict)
    attributes: Mapping[str, ir.Attr] | None = None
    prefix: str = ""
    defines: tuple[str, str] | None = None
    definitions: int = 0
    depth: int = 0
    outer: Scope | None = None
    captures: dict[Expr, Expr] = field(default_factory=dict)

    def as_expr(self, value: Value) -> Expr:
        """A value as a Relax expression."""
        return self.emitter.constant(value) if isinstance(value, np.ndarray) else value

    def capture(self, value: Value) -> Value:
        """What a value of the walk around this one is here: what is known stays so, a variable is a parameter."""
        if isinstance(value, SequenceValue):
            return value.mapped(self.capture)
        if isinstance(value, Narrow):
            codes = self.capture(value.codes)
            is_known = isinstance(codes, np.ndarray)
            return codes.view(numpy_dtype(value.dtype)) if is_known else Narrow(codes, value.dtype)
        if not isinstance(value, relax.Var) or self.outer is None:
            return value
        known = self.outer.emitter.compute(value)
        if known is not None:
            return known
        if value not in self.captures:
            self.captures[value] = relax.Var(str(value.name), value.ty)
        return self.captures[value]
