"""Convolutions and matmuls with constant weights, seen alike: which weights belong to which channel."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from .constants import Array, array_of, constant
from .graph import Expr
from .match import calls
from .rewriter import rebuild

_CONVOLUTIONS = ("nn.conv1d", "nn.conv2d", "nn.conv3d")
_TRANSPOSED = ("nn.conv1d_transpose", "nn.conv2d_transpose", "nn.conv3d_transpose")


@dataclass(frozen=True)
class Linear:
    """A call of a linear operator.

    Args:
        call: conv (weights [O, I/groups, ...]), transposed conv ([I, O/groups, ...]) or matmul ([..., K, N]), with data
            whose channels are `channel_axis` of operand and result.
        weights: their values.
    """

    call: Any
    weights: Array
    groups: int
    channel_axis: int

    def with_weights(self, weights: Array, data: Expr | None = None) -> Any:
        """The call with other weights (rounded to the dtype of the old ones), perhaps on other data."""
        operand = self.call.args[0] if data is None else data
        return rebuild(self.call, [operand, constant(weights.astype(self.weights.dtype))])

    def scaled_outputs(self, scale: Array) -> Array:
        """The weights (float64) for results multiplied by `scale`, a factor an output channel."""
        wide = self.weights.astype(np.float64)
        if calls(self.call, "matmul"):
            return wide * scale
        if calls(self.call, *_CONVOLUTIONS):
            return wide * scale.reshape(-1, *[1] * (wide.ndim - 1))
        grouped = wide.reshape(self.groups, -1, *wide.shape[1:])
        factor = scale.reshape(self.groups, 1, wide.shape[1], *[1] * (wide.ndim - 2))
        return (grouped * factor).reshape(wide.shape)

    def scaled_inputs(self, scale: Array) -> Array:
        """The weights (float64) for operands multiplied by `scale`, a factor an input channel."""
        wide = self.weights.astype(np.float64)
        if calls(self.call, "matmul"):
            return wide * scale[:, None]
        if calls(self.call, *_TRANSPOSED):
            return wide * scale.reshape(-1, *[1] * (wide.ndim - 1))
        grouped = wide.reshape(self.groups, -1, *wide.shape[1:])
        factor = scale.reshape(self.groups, 1, wide.shape[1], *[1] * (wide.ndim - 2))
        return (grouped * factor).reshape(wide.shape)

    def applied_to(self, vector: Array) -> Array | None:
        """The result by output channel for an operand that is `vector[c]` all over channel c; None if padded."""
        if calls(self.call, "matmul"):
            if self.weights.ndim != 2:
                return None
            return np.asarray(vector @ self.weights.astype(np.float64))
        if calls(self.call, *_TRANSPOSED) or any(int(width) for width in self.call.attrs.padding):
            return None
        return np.asarray(self.scaled_inputs(vector).sum(axis=tuple(range(1, self.weights.ndim))))


def find_linear(value: Any) -> Linear | None:
    """`value` as a linear operator with constant weights in ONNX's layouts, or None."""
    if calls(value, "matmul"):
        weights = array_of(value.args[1])
        if weights is None or weights.ndim < 2 or value.args[0].ty.ndim < 2 or value.ty.ndim < 2:
            return None
        return Linear(value, weights, 1, value.ty.ndim - 1)
    if not calls(value, *_CONVOLUTIONS, *_TRANSPOSED):
        return None
    weights = array_of(value.args[1])
    attrs = value.attrs
    kernel_layout = "IO" if calls(value, *_TRANSPOSED) else "OI"
    if (
        weights is None
        or not str(attrs.data_layout).startswith("NC")
        or not str(attrs.kernel_layout).startswith(kernel_layout)
    ):
        return None
    return Linear(value, weights, int(attrs.groups), 1)
