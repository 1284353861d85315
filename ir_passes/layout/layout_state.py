"""How each value is stored while channels_last walks the graph, and the transposes between the orders."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from tvm import relax

from ...ir_types import Type
from ..core.constants import Array, array_of, constant
from ..core.graph import Expr, Graph, Var, leaves, substitute
from ..core.permutation import Permutation, apply, identity, relative, same_bytes
from ..core.rewriter import Rewriter, shape_of


@dataclass(frozen=True)
class Stored:
    """A value in the new graph.

    Args:
        expr: the new leaf.
        order: how its axes are stored; for a tuple, one order a field.
        gather: for a flattened tensor (rows, features) whose features stand in another order: stored feature `j` is the
            model's feature `gather[j]`. Only consumers that know about it read such a value.
    """

    expr: Expr
    order: Permutation | tuple[Permutation, ...]
    gather: Array | None = None


class LayoutState:
    """The new graph so far, and in which orders each old value can be had."""

    def __init__(self, graph: Graph, *, permute_classifier: bool) -> None:
        self.graph = graph
        self.permute_classifier = permute_classifier
        self.rewriter = Rewriter(graph)
        self.modified = False
        self._stored: dict[Var, Stored] = {param: Stored(param, _model_order(param)) for param in graph.params}
        self._cache: dict[tuple[Expr, Permutation], Expr] = {}
        self.users: dict[Var, list[tuple[Var, Expr]]] = defaultdict(list)
        for var, value in graph.bindings:
            for leaf in set(leaves(value)):
                self.users[leaf].append((var, value))
        self.output_vars = {leaf for output in graph.outputs for leaf in leaves(output)}
        self._wanted: dict[Var, bool] = {}

    def stored(self, expr: Expr) -> Stored:
        """How an old leaf is stored by preference (constants and shapes: as they are)."""
        found = self._stored.get(expr) if isinstance(expr, relax.Var) else None
        return found or Stored(expr, _model_order(expr))

    def order(self, expr: Expr) -> Permutation:
        """The order in which an old tensor is stored."""
        return self.stored(expr).order  # type: ignore[return-value]  # a tensor's order is not a tuple of orders

    def get(self, expr: Expr, order: Permutation, hint: str) -> Expr:
        """The new leaf that holds the old leaf `expr` in this order; makes a transpose, named `hint`, if need be."""
        stored = self.stored(expr)
        if stored.order == order and stored.gather is None:
            return stored.expr
        key = (expr, order)
        if key not in self._cache:
            self._cache[key] = self._convert(stored, order, shape_of(expr), hint)
        return self._cache[key]

    def _convert(self, stored: Stored, order: Permutation, shape: tuple[int, ...] | None, hint: str) -> Expr:
        axes = relative(stored.order, order)  # type: ignore[arg-type]  # tensors only
        array = array_of(stored.expr)
        if array is not None:
            return constant(array.transpose(axes))
        self.modified = True
        if shape is not None and same_bytes(stored.order, order, shape):  # type: ignore[arg-type]  # tensors only
            return self.emit(relax.op.reshape(stored.expr, list(apply(order, shape))), hint)
        return self.emit(relax.op.permute_dims(stored.expr, list(axes)), hint)

    def emit(self, value: Expr, hint: str) -> Expr:
        """Bind a value of the new graph."""
        return self.rewriter.emit(value, hint)

    def keep(self, var: Var, value: Expr) -> Expr:
        """Bind `value`, whose leaves are leaves of the old graph, in the model's order."""
        env = {leaf: self.get(leaf, _model_order(leaf), var.name) for leaf in leaves(value)}
        changed = {old: new for old, new in env.items() if not old.same_as(new)}
        value = substitute(value, changed)
        if value.ty.is_missing():
            value = self.rewriter.normalize(value)
        self.rewriter.keep(var, value)
        return self.rewriter.resolve(var)

    def record(self, var: Var, stored: Stored) -> None:
        """Remember where an old value went."""
        self._stored[var] = stored
        if stored.order != _model_order(var) or stored.gather is not None:
            self.modified = True

    def finish(self) -> Graph:
        """The new graph, its outputs in the model's order."""
        hints = {var: var.name for var, _ in self.graph.bindings}
        outputs = []
        for output in self.graph.outputs:
            outputs.append(self.get(output, _model_order(output), hints.get(output, "")))
        rewriter = self.rewriter
        rewriter.graph = Graph(
            self.graph.params, self.graph.bindings, tuple(outputs), self.graph.tuple_result, self.graph.attrs
        )
        return rewriter.finish()

    def largest_order(self, operands: Sequence[Expr], rank: int) -> Permutation:
        """The order of the largest operand of this rank that is not a constant: what the others follow."""
        best, best_size = identity(rank), 0
        for operand in operands:
            shape = shape_of(operand)
            if shape is None or len(shape) != rank or array_of(operand) is not None:
                continue
            size = int(np.prod(shape))
            order = self.order(operand)
            if size > best_size or (size == best_size and best == identity(rank)):
                best, best_size = order, size
        return best

    def wants_channels_last(self, var: Var, is_spatial: Callable[[Expr], bool | None]) -> bool:
        """Whether a value is next read by a convolution or pool, perhaps through element-wise operators.

        `is_spatial` answers True for convolutions and pools, False for what ends the search, None for what passes it
        on.
        """
        if var not in self._wanted:
            self._wanted[var] = False
            for user, value in self.users[var]:
                answer = is_spatial(value)
                if answer or (answer is None and self.wants_channels_last(user, is_spatial)):
                    self._wanted[var] = True
                    break
        return self._wanted[var]


def _model_order(expr: Expr) -> Type:
    """A permutation; for a tuple, one a field."""
    if isinstance(expr.ty, relax.TensorType):
        return identity(max(expr.ty.ndim, 0))
    if isinstance(expr.ty, relax.TupleType):
        return tuple(identity(max(getattr(field, "ndim", 0), 0)) for field in expr.ty.fields)
    return ()
