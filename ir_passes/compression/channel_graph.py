"""The channel dependency graph of a network: which slices of its tensors are cut together, and which cannot be.

Every operator's row says how indices of its operands and results go together; the connected parts of all that are the
units of a cut. Built right after import, while channels are where the model has them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import tvm
from tvm import relax

from ...ir_types import IRModule
from ..core.constants import Array, is_constant
from ..core.graph import Expr, Graph, Var
from ..core.rewriter import shape_of
from .carriers import settle
from .layers import Layer, layers_of
from .links import Axis, Links, Pin, Tensor
from .row import OPAQUE, Row, Site, tensors_of
from .rows import ROWS

# A constant where it is read: the binding that reads it, and which of its operands it is.
Place = tuple[Var, int]


@dataclass(frozen=True)
class ChannelGraph:
    """What goes together in a network.

    Attributes:
        graph: the network.
        links: its tensors and their axes.
        sites: the calls, by the variable of their result.
        layers: what has weights, by name.
        tensors: of variables.
        fields: of variables that are tuples.
        unit_of: the unit of each slice, by number.
        pins: for units that cannot be cut, one reason why.
    """

    graph: Graph
    links: Links
    sites: Mapping[Var, Site]
    layers: Mapping[str, Layer]
    tensors: Mapping[Var, Tensor]
    fields: Mapping[Var, Sequence[Tensor]]
    unit_of: Array
    pins: Mapping[int, Pin]

    def units(self, axis: Axis) -> Array:
        """The unit of each index of an axis."""
        return self.unit_of[axis.start : axis.start + axis.size]

    def outputs(self, layer: Layer) -> Axis:
        """The axis of a layer's weights that its output channels are."""
        return self.links.axis(self.sites[layer.var].operands[1], layer.output_axis)

    def inputs(self, layer: Layer) -> Axis:
        """The axis of a layer's weights that its input channels are, those of one group."""
        return self.links.axis(self.sites[layer.var].operands[1], layer.input_axis)

    def result(self, layer: Layer) -> Axis:
        """The axis of a layer's result that its output channels are."""
        return self.links.axis(self.tensors[layer.var], layer.linear.channel_axis)

    def data(self, layer: Layer) -> Axis:
        """The axis of a layer's operand that its input channels are, those of all groups."""
        return self.links.axis(self.sites[layer.var].operands[0], layer.linear.operand_axis)


def channel_graph(module: IRModule) -> ChannelGraph:
    """The channel dependency graph of `main`, as import leaves it."""
    # A third of a second to load, which no compile needs that cuts nothing.
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    graph = Graph.read(module)
    reader = _Reader(graph)
    links = reader.links
    settle(links)
    left, right = links.pairs()
    size = links.slices
    pairs = coo_array((np.ones(len(left), bool), (left, right)), shape=(size, size))
    _, unit_of = connected_components(pairs, directed=False) if size else (0, np.zeros(0, np.int64))
    pins: dict[int, Pin] = {}
    for pin, slices in links.pins:
        for unit in np.unique(unit_of[slices]).tolist():
            pins.setdefault(unit, pin)
    for axis in links.axes:
        if axis.size == 1:
            pins.setdefault(int(unit_of[axis.start]), Pin(axis, axis.tensor.node, "there is just one"))
    return ChannelGraph(
        graph, links, reader.sites, layers_of(graph), reader.tensors, reader.fields, np.asarray(unit_of), pins
    )


class _Reader:
    """Reads a graph: tensors for all variables, links from all calls."""

    def __init__(self, graph: Graph) -> None:
        self.links = Links()
        self.tensors: dict[Var, Tensor] = {}
        self.fields: dict[Var, tuple[Tensor, ...]] = {}
        self.sites: dict[Var, Site] = {}
        links = self.links
        for number, param in enumerate(graph.params):
            self._define(param)
            links.node = str(param.name)
            for tensor in self._of(param):
                links.pin_all(tensor, f"input {number} of the model")
        for var, value in graph.bindings:
            links.node = str(var.name)
            if isinstance(value, relax.TupleGetItem) and value.tuple_value in self.fields:
                self.tensors[var] = self.fields[value.tuple_value][value.index]
                continue
            self._define(var)
            self._link(var, value)
        for number, output in enumerate(graph.outputs):
            links.node = f"output {number}"
            for tensor in self._of(output) if isinstance(output, relax.Var) else ():
                links.pin_all(tensor, "an output of the model")

    def _define(self, var: Var) -> None:
        types = var.ty.fields if isinstance(var.ty, relax.TupleType) else [var.ty]
        made = tuple(self.links.tensor([int(dim) for dim in each.shape]) for each in types)
        if isinstance(var.ty, relax.TupleType):
            self.fields[var] = made
        else:
            self.tensors[var] = made[0]

    def _of(self, var: Var) -> tuple[Tensor, ...]:
        return self.fields[var] if var in self.fields else (self.tensors[var],)

    def _link(self, var: Var, value: Expr) -> None:
        operands: list[Tensor] = []
        for leaf in tensors_of(value):
            if is_constant(leaf):
                operands.append(self.links.tensor(shape_of(leaf) or ()))
            else:
                operands += self._of(leaf)
        site = Site(self.links, value, tuple(operands), self._of(var))
        self.sites[var] = site
        row_of(value).link(site)


def row_of(value: Expr) -> Row:
    """The row of a value; values that are no call of an operator are not seen through."""
    if isinstance(value, tvm.ir.Call) and isinstance(value.op, tvm.ir.Op):
        return ROWS.get(str(value.op.name), OPAQUE)
    return OPAQUE
