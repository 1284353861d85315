"""The layers of a network: convolutions and products with constant weights, by the names that users have for them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from ...ir_types import Call
from ..core.constants import Array
from ..core.graph import Graph, Var
from ..core.match import calls
from ..core.rewriter import shape_of
from ..core.sources import split
from ..operators.linear import Linear, find_linear

# Between the name of a node and the number of a further layer that it became.
_FURTHER = ":"


@dataclass(frozen=True)
class Layer:
    """A convolution or a product of an activation and a constant matrix.

    Attributes:
        name: of the node it came from; a node that became several layers has a number behind it for the others.
        var: the variable of its result.
        linear: the call, its weights and its groups.
        output_axis, input_axis: of its weights; groups have the same input channels.
        flops: of a run; a multiply-add is two.
    """

    name: str
    var: Var
    linear: Linear
    output_axis: int
    input_axis: int
    flops: int

    @property
    def call(self) -> Call:
        """The call that it is."""
        return self.linear.call

    @property
    def weights(self) -> Array:
        """The values of its weights."""
        return self.linear.weights

    @property
    def outputs(self) -> int:
        """How many output channels it has."""
        return int(self.weights.shape[self.output_axis])


def layers_of(graph: Graph) -> Mapping[str, Layer]:
    """The layers of `main`, in order."""
    found: dict[str, Layer] = {}
    for var, value in graph.bindings:
        linear = find_linear(value)
        if linear is None or linear.weights.dtype.kind != "f":
            continue
        is_product = calls(value, "matmul")
        output_axis, input_axis = (linear.weights.ndim - 1, linear.weights.ndim - 2) if is_product else (0, 1)
        elements = math.prod(shape_of(value) or ())
        sums = math.prod(linear.weights.shape[1:]) if not is_product else linear.weights.shape[input_axis]
        base = name = (split(str(var.name)) or ("layer",))[0]
        number = 1
        while name in found:
            number += 1
            name = f"{base}{_FURTHER}{number}"
        found[name] = Layer(name, var, linear, output_axis, input_axis, 2 * elements * sums)
    return found
