"""Store every activation channels-last: convolutions and pools become N..C, transposes are absorbed."""

from __future__ import annotations

from dataclasses import dataclass

import tvm

from ...errors import CompilerError
from ..core.base import GraphPass, PassResult
from ..core.graph import Graph
from .layout_rule import opaque
from .layout_rules import RULES
from .layout_state import LayoutState
from .layouts import CONVOLUTIONS, POOLS


@dataclass(frozen=True)
class ChannelsLast(GraphPass):
    """Assign a storage order to every value, in one walk from the inputs to the outputs.

    Each value of the model is kept in some order of its axes (`permutation.py`). An operator's rule (`layout_rules.py`)
    says which orders it takes and which it makes: convolutions and pools ask for channels-last, element-wise operators
    follow their largest operand, reductions, concatenations and the like have their axes renumbered, `permute_dims` is
    absorbed into the order, a reshape is carried through when the axes that it merges stand side by side. Constants are
    stored anew at compile time. The rest (`call_tir`, gathers, ...) get and make the model's own order.

    Contract: inputs and outputs keep the model's order. Every `conv1d/2d/3d` has `data_layout` NWC/NHWC/NDHWC and
    `kernel_layout` OWI/OHWI/ODHWI, every pool is channels-last, no `permute_dims` follows another. Transposed
    convolutions stay as they are.

    Options:
        permute_classifier: where an image is flattened and then only multiplied by constant matrices, permute the rows
            of those instead of transposing the image.
    """

    permute_classifier: bool = True

    def __call__(self, module: tvm.IRModule) -> PassResult:
        """Rewrite `main`."""
        graph = Graph.read(module)
        state = LayoutState(graph, permute_classifier=self.permute_classifier)
        for var, value in graph.bindings:
            rule = RULES.get(value.op.name, opaque) if _calls_operator(value) else opaque
            state.record(var, rule(state, var, value))
        new_graph = state.finish()
        return PassResult(new_graph.write(module), True) if state.modified else PassResult(module, False)

    def check(self, module: tvm.IRModule) -> None:
        """Raise `CompilerError` if a convolution or pool is not channels-last or two transposes are in a row."""
        graph = Graph.read(module)
        values = dict(graph.bindings)
        for var, value in graph.bindings:
            if not _calls_operator(value):
                continue
            name = value.op.name
            if name in CONVOLUTIONS and not str(value.attrs.data_layout).endswith("C"):
                raise CompilerError(f"{name} is not channels-last", where=f"binding '{var.name}'")
            if name in POOLS and not str(value.attrs.layout).endswith("C"):
                raise CompilerError(f"{name} is not channels-last", where=f"binding '{var.name}'")
            before = values.get(value.args[0]) if name == "relax.permute_dims" else None
            if before is not None and _calls_operator(before) and before.op.name == name:
                raise CompilerError("two transposes in a row", where=f"binding '{var.name}'")


def _calls_operator(value: object) -> bool:
    return isinstance(value, tvm.ir.Call) and isinstance(value.op, tvm.ir.Op)
