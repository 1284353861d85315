"""One forward walk over `main` in which each binding is kept, replaced or dropped: most passes are one."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any

import tvm
import tvm_ffi
from tvm import relax

from ...ir_types import Call
from .base import PassResult
from .graph import Binding, Expr, Graph, Var, is_leaf, leaves, remove_dead, substitute
from .sources import join

# Given a binding's variable and its value (arguments already rewritten): what takes its place, or None to keep it.
Visit = Callable[["Rewriter", Var, Expr], "Expr | None"]


class Rewriter:
    """The state of a walk: the bindings emitted so far, and what they replace.

    A visitor reads values with `definition`, counts uses with `uses`, makes new bindings with `emit`, and returns the
    leaf or the call that takes the place of the binding it was given. Bindings that nothing uses any more are dropped
    at the end.
    """

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self._normalize = relax.BlockBuilder().normalize
        self._replaced: dict[Var, Expr] = {}
        self._values: dict[Var, Expr] = {}
        self._positions: dict[Var, int] = {}
        self._uses: Counter[Var] = Counter()
        for _, value in graph.bindings:
            self._uses.update(leaves(value))
        for output in graph.outputs:
            self._uses.update(leaves(output))
        self.bindings: list[Binding] = []
        self.modified = False

    def definition(self, expr: Expr) -> Expr | None:
        """The value bound to a variable by the bindings emitted so far; None for inputs, constants and the like."""
        return self._values.get(expr) if isinstance(expr, relax.Var) else None

    def uses(self, expr: Expr) -> int:
        """How often a variable is read: never too few, but dead bindings still count until the next walk."""
        return self._uses[expr] if isinstance(expr, relax.Var) else 1

    def normalize(self, expr: Expr) -> Expr:
        """`expr` with its type inferred."""
        return self._normalize(expr)

    def hint(self, var: Var, value: Expr, *stops: Expr) -> str:
        """The joined hints of `var`, to be computed as `value`, and of all between it and `stops`, in order."""
        found: dict[Var, None] = {}
        stack = list(leaves(value))
        while stack:
            leaf = stack.pop()
            definition = self._values.get(leaf)
            if definition is None or leaf in found or any(leaf.same_as(stop) for stop in stops):
                continue
            found[leaf] = None
            stack.extend(leaves(definition))
        order = [each.name for each in sorted(found, key=self._positions.__getitem__)]
        return join([*order, var.name])

    def emit(self, value: Expr, *hints: str) -> Expr:
        """Bind `value` to a new variable named by joining `hints`; a leaf is returned as it is."""
        if is_leaf(value):
            return value
        value = self._normalize(value)
        var = relax.DataflowVar(join(hints), value.ty)
        self._bind(var, value)
        return var

    def _bind(self, var: Var, value: Expr) -> None:
        self._values[var] = value
        self._positions[var] = len(self.bindings)
        self.bindings.append((var, value))

    def keep(self, var: Var, value: Expr) -> None:
        """Bind `value`, which may have new arguments, to `var`, or to a twin of `var` when its type has changed."""
        if value.ty.is_missing():
            value = self._normalize(value)
        if not value.ty.same_as(var.ty) and not tvm_ffi.structural_equal(value.ty, var.ty):
            twin = relax.DataflowVar(var.name, value.ty)
            self.replace(var, twin)
            var = twin
        self._bind(var, value)

    def replace(self, var: Var, expr: Expr) -> None:
        """Let `expr` take the place of `var` from here on."""
        self.modified = True
        leaf = self.emit(expr, var.name)
        self._replaced[var] = leaf
        if isinstance(leaf, relax.Var):
            self._uses[leaf] += self._uses[var]

    def resolve(self, expr: Expr) -> Expr:
        """What stands for a leaf of the old graph in the new one."""
        return substitute(expr, self._replaced)

    def walk(self, visit: Visit) -> Graph:
        """Visit every binding in order; returns the new graph without dead bindings."""
        for var, value in self.graph.bindings:
            value = substitute(value, self._replaced)
            if value.ty.is_missing():
                value = self._normalize(value)
                self.modified = True
            replacement = visit(self, var, value)
            if replacement is None:
                self.keep(var, value)
            else:
                self.replace(var, replacement)
        return self.finish()

    def finish(self) -> Graph:
        """The graph made so far, with the outputs rewritten and dead bindings dropped."""
        outputs = tuple(substitute(output, self._replaced) for output in self.graph.outputs)
        bindings = remove_dead(self.bindings, outputs)
        if len(bindings) != len(self.graph.bindings):
            self.modified = True
        graph = self.graph
        return Graph(graph.params, tuple(bindings), outputs, graph.tuple_result, graph.attrs)


def rewrite(module: tvm.IRModule, visit: Visit, *, max_rounds: int = 8) -> PassResult:
    """Walk `main` with `visit` until nothing changes (at most `max_rounds` times)."""
    graph = Graph.read(module)
    modified = False
    for _ in range(max_rounds):
        rewriter = Rewriter(graph)
        new_graph = rewriter.walk(visit)
        if not rewriter.modified:
            break
        graph, modified = new_graph, True
    return PassResult(graph.write(module) if modified else module, modified)


def shape_of(expr: Expr) -> tuple[int, ...] | None:
    """The shape of a tensor when every dimension is known, else None."""
    ty = expr.ty
    if not isinstance(ty, relax.TensorType) or not isinstance(ty.shape, relax.ShapeExpr):
        return None
    dims = list(ty.shape.values)
    if not all(isinstance(dim, tvm.tirx.IntImm) for dim in dims):
        return None
    return tuple(int(dim) for dim in dims)


def dtype_of(expr: Expr) -> str:
    """The dtype of a tensor, as a string such as 'float32'; "" of what is none, such as the results of a branch."""
    return str(getattr(expr.ty, "dtype", ""))


def rebuild(call: Call, args: list[Expr], **changed: Any) -> Call:
    """A call of the same operator with other arguments and with some fields of its attributes changed."""
    attrs = call.attrs
    if changed:
        info = attrs.__tvm_ffi_type_info__
        fields: Mapping[str, Any] = {field.name: getattr(attrs, field.name) for field in info.fields}
        attrs = tvm.ir.make_node(info.type_key, **{**fields, **changed})
    return tvm.ir.Call(call.op, args, attrs, list(call.ty_args))
