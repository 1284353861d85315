"""Weights of products and convolutions as matrices of output channels by inputs, and back."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import tvm

from ...ir_types import Call, Expr, IRModule
from ..core.constants import Array, array_of
from ..core.graph import Graph
from ..core.match import calls
from ..core.rewriter import shape_of
from ..core.sources import split
from ..operators.linear import Linear, find_linear

CONVOLUTIONS = ("nn.conv1d", "nn.conv2d", "nn.conv3d")


@dataclass(frozen=True)
class WeightMatrix:
    """A product or convolution with constant weights.

    Attributes:
        linear: the call, its weights in ONNX's layout.
    """

    linear: Linear

    @property
    def call(self) -> Call:
        """The call."""
        return self.linear.call

    @property
    def is_convolution(self) -> bool:
        """Whether it is one, with weights (output channels, inputs of a group, *kernel); else a matmul."""
        return calls(self.call, *CONVOLUTIONS)

    @property
    def is_pointwise(self) -> bool:
        """Whether a kernel has one place."""
        return not self.is_convolution or math.prod(self.linear.weights.shape[2:]) == 1

    @property
    def is_depthwise(self) -> bool:
        """Whether every group has a single input channel."""
        return self.is_convolution and self.linear.weights.shape[1] == 1

    @property
    def rows(self) -> int:
        """How often all weights of a group are multiplied: pixels, or rows of the left side."""
        shape = shape_of(self.call) or ()
        return math.prod(shape) // max(1, self.linear.weights.shape[0 if self.is_convolution else -1])

    def matrix(self) -> Array:
        """float64 of (groups, output channels of a group, inputs), inputs in the order (*kernel, channels)."""
        weights = self.linear.weights.astype(np.float64)
        if not self.is_convolution:
            return weights.reshape(-1, *weights.shape[-2:]).swapaxes(1, 2)
        last = np.moveaxis(weights, 1, -1)
        return last.reshape(self.linear.groups, last.shape[0] // self.linear.groups, -1)

    def weights_of(self, matrix: Array) -> Array:
        """Weights of the call's own layout and dtype from such a matrix."""
        shape = self.linear.weights.shape
        if self.is_convolution:
            weights = np.moveaxis(matrix.reshape(shape[0], *shape[2:], shape[1]), -1, 1)
        else:
            weights = matrix.swapaxes(1, 2).reshape(shape)
        return np.ascontiguousarray(weights).astype(self.linear.weights.dtype)


def weight_matrix(value: Expr) -> WeightMatrix | None:
    """`value` as a product or convolution of floats with constant, finite weights, or None."""
    if not calls(value, "matmul", *CONVOLUTIONS):
        return None
    linear = find_linear(value)
    if linear is None or linear.weights.dtype.kind not in "fV" or not np.isfinite(linear.weights).all():
        return None
    return WeightMatrix(linear)


def weight_matrices(module: IRModule) -> dict[str, WeightMatrix]:
    """All of `main`, in order, by the first node that each is named after."""
    found: dict[str, WeightMatrix] = {}
    for var, value in Graph.read(module).bindings:
        matrix = weight_matrix(value)
        if matrix is not None:
            found.setdefault(split(str(var.name))[0], matrix)
    return found


def is_weight(expr: Expr) -> bool:
    """Whether an operand is constant."""
    return isinstance(expr, tvm.ir.GenericConst) and array_of(expr) is not None
