"""Products of one value with several constant matrices (attention's Q, K, V) become one product."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import Any

import numpy as np
import tvm
from tvm import relax

from ..core.base import GraphPass, PassResult
from ..core.constants import array_of, constant
from ..core.graph import Expr, Graph, Var
from ..core.match import calls
from ..core.rewriter import Rewriter
from ..core.sources import join


@dataclass(frozen=True)
class CombineParallelMatmul(GraphPass):
    """x W1, x W2, ... -> the parts of x [W1 W2 ...], for constant matrices with the same rows.

    Worth it where the operand has few rows; the parts are strided slices, which later stages read in place or copy.
    Contract: the same products; biases and all that follows stay apart.

    Options:
        min_products: the fewest products to combine.
        max_columns: the most columns that one of the matrices may have.
    """

    min_products: int = 2
    max_columns: int = 1024

    def __call__(self, module: tvm.IRModule) -> PassResult:
        """Rewrite `main`."""
        graph = Graph.read(module)
        members = self._groups(graph)
        if not members:
            return PassResult(module, False)
        rewriter = Rewriter(graph)
        done: dict[int, Expr] = {}

        def visit(rewriter: Rewriter, var: Var, value: Any) -> Expr | None:
            group = members.get(var)
            if group is None:
                return None
            if id(group) not in done:
                done[id(group)] = _product(rewriter, value.args[0], group)
            return _part(rewriter, done[id(group)], group, var)

        return PassResult(rewriter.walk(visit).write(module), True)

    def _groups(self, graph: Graph) -> dict[Var, list[tuple[Var, Any]]]:
        by_operand: dict[Any, list[tuple[Var, Any]]] = defaultdict(list)
        for var, value in graph.bindings:
            if not calls(value, "matmul"):
                continue
            weights = array_of(value.args[1])
            if weights is None or weights.ndim != 2 or weights.shape[1] > self.max_columns:
                continue
            if isinstance(value.args[0], relax.Var):
                by_operand[(value.args[0], str(weights.dtype))].append((var, value))
        groups = [group for group in by_operand.values() if len(group) >= self.min_products]
        return {var: group for group in groups for var, _ in group}


def _product(rewriter: Rewriter, operand: Expr, group: list[tuple[Var, Any]]) -> Expr:
    matrices = [array_of(value.args[1]) for _, value in group]
    joined = np.concatenate([matrix for matrix in matrices if matrix is not None], axis=1)
    return rewriter.emit(relax.op.matmul(operand, constant(joined)), join(var.name for var, _ in group))


def _part(rewriter: Rewriter, product: Expr, group: list[tuple[Var, Any]], var: Var) -> Expr:
    start = 0
    for member, value in group:
        columns = int(value.ty.shape.values[-1])
        if member.same_as(var):
            last = product.ty.ndim - 1
            return rewriter.emit(relax.op.strided_slice(product, [last], [start], [start + columns]), var.name)
        start += columns
    raise KeyError(var.name)
