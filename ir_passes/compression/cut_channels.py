"""Layers lose channels: constants and shapes become smaller wherever these channels were."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import tvm
import tvm_ffi
from tvm import relax

from ...ir_types import IRModule
from ..core.base import GraphPass, PassResult
from ..core.constants import array_of, constant, is_constant
from ..core.graph import Binding, Expr, Graph, Var, is_leaf, remove_dead, substitute
from ..core.sources import split
from .channel_graph import channel_graph, row_of
from .cut import Cut, cut_layers
from .links import Tensor


@dataclass(frozen=True)
class CutChannels(GraphPass):
    """Cut output channels of layers, and whatever goes together with them in the channel dependency graph.

    Args:
        keep: names of layers, each with the output channels that it keeps; other layers lose what goes with these.

    Contract: the outputs are those of the network in which what is cut is zero wherever it is summed; operators,
    inputs and outputs stay. Names that `main` does not have are those of other functions of the module.

    Raises:
        CutError: channels cannot be cut, or contradict each other.
    """

    keep: tuple[tuple[str, tuple[int, ...]], ...] = ()

    def __call__(self, module: IRModule) -> PassResult:
        """Rewrite `main`."""
        if not self.keep:
            return PassResult(module, False)
        channels = channel_graph(module)
        here = {source for var, _ in channels.graph.bindings for source in split(str(var.name))}
        keep = {name: kept for name, kept in self.keep if name in here}
        if not keep:
            return PassResult(module, False)
        return without(module, cut_layers(channels, keep))


def without(module: IRModule, cut: Cut) -> PassResult:
    """The module of which `cut` is a cut, without what it leaves out."""
    if cut.left.all():
        return PassResult(module, False)
    graph = cut.channels.graph
    rebuilder = _Rebuilder(cut)
    for var, value in graph.bindings:
        rebuilder.visit(var, value)
    outputs = tuple(substitute(output, rebuilder.replaced) for output in graph.outputs)
    bindings = tuple(remove_dead(rebuilder.bindings, outputs))
    return PassResult(Graph(graph.params, bindings, outputs, graph.tuple_result, graph.attrs).write(module), True)


class _Rebuilder:
    """Emits each binding anew on what is left of its operands."""

    def __init__(self, cut: Cut) -> None:
        self._cut = cut
        self._normalize = relax.BlockBuilder().normalize
        self.replaced: dict[Var, Expr] = {}
        self.bindings: list[Binding] = []

    def visit(self, var: Var, value: Expr) -> None:
        """One binding; it stays the same object where nothing of it is cut."""
        site = self._cut.channels.sites.get(var)
        if site is None or all(map(self._cut.is_whole, (*site.operands, *site.results))):
            self._bind(var, substitute(value, self.replaced))
            return
        left = iter(site.operands)
        args = [self._smaller(argument, left) for argument in value.args]
        self._bind(var, self._flat(row_of(value).shrink(site, args, self._cut), var, top=True))

    def _smaller(self, argument: Expr, tensors: Iterator[Tensor]) -> Expr:
        """An argument on what is left; `tensors` gives those of its leaves, in turn."""
        if isinstance(argument, relax.Tuple):
            return relax.Tuple([self._smaller(field, tensors) for field in argument.fields])
        if is_constant(argument):
            tensor = next(tensors)
            array = array_of(argument)
            return argument if array is None or self._cut.is_whole(tensor) else constant(self._cut.of(tensor, array))
        if isinstance(argument, relax.Var):
            if isinstance(argument.ty, relax.TensorType):
                next(tensors)
            return substitute(argument, self.replaced)
        return argument

    def _flat(self, value: Expr, var: Var, *, top: bool = False) -> Expr:
        """A value with a binding of its own for each call inside."""
        if isinstance(value, tvm.ir.Call):
            args = [self._flat(argument, var) for argument in value.args]
            value = tvm.ir.Call(value.op, args, value.attrs, list(value.ty_args))
        if top or is_leaf(value):
            return value
        value = self._normalize(value)
        twin = relax.DataflowVar(var.name, value.ty)
        self.bindings.append((twin, value))
        return twin

    def _bind(self, var: Var, value: Expr) -> None:
        if is_leaf(value):
            self.replaced[var] = value
            return
        if value.ty.is_missing():
            value = self._normalize(value)
        if not tvm_ffi.structural_equal(value.ty, var.ty):
            twin = relax.DataflowVar(var.name, value.ty)
            self.replaced[var] = twin
            var = twin
        self.bindings.append((var, value))
