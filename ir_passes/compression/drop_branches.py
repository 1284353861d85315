"""Residual branches and layers go: what one adds to its input, or makes of it, becomes the input itself."""

from __future__ import annotations

from dataclasses import dataclass

import tvm
from tvm import relax

from ...errors import CutError
from ...ir_types import IRModule
from ..core.base import GraphPass, PassResult
from ..core.constants import array_of
from ..core.graph import Expr, Graph, Var, leaves, remove_dead, substitute
from ..core.match import calls, keeps_shape
from ..core.sources import split

_END = "end"  # stands behind all outputs


@dataclass(frozen=True)
class DropBranches(GraphPass):
    """Drop the residual branches that nodes are in, or the nodes themselves.

    A node's branch ends at the first addition that all of its result goes through and whose other operand does not
    come from it: the addition becomes that operand. A node that is in no branch becomes its operand, if it has one and
    that has the shape of its result.

    Args:
        nodes: names of nodes. Those that `main` does not have are those of other functions of the module.

    Contract: shapes and dtypes stay.

    Raises:
        CutError: a node is neither in a branch nor of the shape of its operand.
    """

    nodes: tuple[str, ...] = ()

    def __call__(self, module: IRModule) -> PassResult:
        """Rewrite `main`."""
        graph = Graph.read(module)
        replaced: dict[Var, Expr] = {}
        for node in self.nodes:
            mine = [(var, value) for var, value in graph.bindings if node in split(str(var.name))]
            if mine:
                # Of several that are in one branch the first takes the others along.
                var, operand = _dropped(graph, node, mine)
                if var not in replaced:
                    replaced[var] = operand
        if not replaced:
            return PassResult(module, False)
        return PassResult(_without(graph, replaced).write(module), True)


def _without(graph: Graph, replaced: dict[Var, Expr]) -> Graph:
    normalize = relax.BlockBuilder().normalize
    settled: dict[Var, Expr] = {}
    bindings = []
    for var, value in graph.bindings:
        if var in replaced:
            settled[var] = substitute(replaced[var], settled)
            continue
        value = substitute(value, settled)
        bindings.append((var, normalize(value) if value.ty.is_missing() else value))
    outputs = tuple(substitute(output, settled) for output in graph.outputs)
    return Graph(graph.params, tuple(remove_dead(bindings, outputs)), outputs, graph.tuple_result, graph.attrs)


def _dropped(graph: Graph, node: str, mine: list[tuple[Var, Expr]]) -> tuple[Var, Expr]:
    """The variable that goes with a node, and what takes its place."""
    import networkx as nx  # few compiles drop anything, and it takes a while to load

    values = dict(graph.bindings)
    flow = nx.DiGraph()
    flow.add_node(_END)
    for var, value in graph.bindings:
        flow.add_edges_from((leaf, var) for leaf in leaves(value))
    flow.add_edges_from((leaf, _END) for output in graph.outputs for leaf in leaves(output))
    last = mine[-1][0]
    # All that the node is: a layer's own bias is an addition behind it, too, and ends no branch.
    behind = {each for var, _ in mine for each in (var, *nx.descendants(flow, var))}
    dominators = nx.immediate_dominators(flow.reverse(copy=False), _END)
    place = last
    while place in values:  # until the end that stands behind all outputs
        call = values[place]
        if calls(call, "add"):
            before = [operand for operand in call.args if _is_before(operand, behind, call)]
            if len(before) == 1:
                return place, before[0]
        place = dominators.get(place)
    operands = [each for each in leaves(mine[0][1]) if array_of(each) is None]
    if len(operands) == 1 and isinstance(mine[0][1], tvm.ir.Call) and keeps_shape(values[last], operands[0]):
        return last, operands[0]
    raise CutError(
        "the node is in no residual branch, and its result has another shape than its operand",
        where=node,
        hint="drop a node between a sum and where its operands part",
    )


def _is_before(operand: Expr, behind: set[Var], call: Expr) -> bool:
    """Whether a sum's operand is an activation of its shape that does not come from the branch."""
    return isinstance(operand, relax.Var) and operand not in behind and keeps_shape(call, operand)
