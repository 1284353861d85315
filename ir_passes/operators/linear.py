"""Convolutions and matmuls with constant weights, seen alike: which weights belong to which channel."""

from __future__ import annotations

from dataclasses import dataclass

import ml_dtypes
import numpy as np

from ...ir_types import Call
from ..core.constants import Array, array_of, constant
from ..core.graph import Expr
from ..core.match import calls
from ..core.rewriter import dtype_of, rebuild

CONVOLUTIONS = ("nn.conv1d", "nn.conv2d", "nn.conv3d")
TRANSPOSED = ("nn.conv1d_transpose", "nn.conv2d_transpose", "nn.conv3d_transpose")
PRODUCTS = ("matmul", *CONVOLUTIONS)


@dataclass(frozen=True)
class Linear:
    """A call of a linear operator.

    Args:
        call: conv (weights [O, I/groups, ...]), transposed conv ([I, O/groups, ...]) or matmul ([..., K, N]).
        weights: their values.
        operand_axis: the axis of the operand that its channels are.
        channel_axis: the axis of the result that its channels are.
    """

    call: Call
    weights: Array
    groups: int
    operand_axis: int
    channel_axis: int

    @property
    def is_narrow(self) -> bool:
        """Whether results are rounded to half precision: what is moved past them may leave their range."""
        return dtype_of(self.call) in ("float16", "bfloat16")

    def with_weights(self, weights: Array, data: Expr | None = None) -> Call:
        """The call with other weights, perhaps on other data; None if rounding them to their dtype would not do.

        It would not where a weight leaves the range, or where all those of an output channel are so small that they
        lose digits.
        """
        with np.errstate(all="ignore"):
            rounded = weights.astype(self.weights.dtype)
        if not np.isfinite(rounded).all():
            return None
        smallest = np.minimum(float(ml_dtypes.finfo(rounded.dtype).smallest_normal), self._magnitude(self.weights))
        magnitude = self._magnitude(weights)
        if ((magnitude < smallest) & (magnitude > 0)).any():
            return None
        operand = self.call.args[0] if data is None else data
        return rebuild(self.call, [operand, constant(rounded)])

    def _magnitude(self, weights: Array) -> Array:
        """The largest weight of each output channel, by magnitude."""
        wide = np.abs(weights.astype(np.float64))
        if calls(self.call, "matmul"):
            return np.asarray(wide.max(axis=-2, initial=0.0))
        if calls(self.call, *CONVOLUTIONS):
            return np.asarray(wide.reshape(len(wide), -1).max(axis=1, initial=0.0))
        grouped = wide.reshape(self.groups, wide.shape[0] // self.groups, wide.shape[1], -1)
        return np.asarray(grouped.max(axis=(1, 3), initial=0.0))

    def scaled_outputs(self, scale: Array) -> Array:
        """The weights (float64) for results multiplied by `scale`, a factor an output channel."""
        wide = self.weights.astype(np.float64)
        if calls(self.call, "matmul"):
            return wide * scale
        if calls(self.call, *CONVOLUTIONS):
            return wide * scale.reshape(-1, *[1] * (wide.ndim - 1))
        grouped = wide.reshape(self.groups, -1, *wide.shape[1:])
        factor = scale.reshape(self.groups, 1, wide.shape[1], *[1] * (wide.ndim - 2))
        return (grouped * factor).reshape(wide.shape)

    def scaled_inputs(self, scale: Array) -> Array:
        """The weights (float64) for operands multiplied by `scale`, a factor an input channel."""
        wide = self.weights.astype(np.float64)
        if calls(self.call, "matmul"):
            return wide * scale[:, None]
        if calls(self.call, *TRANSPOSED):
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
        if calls(self.call, *TRANSPOSED) or any(int(width) for width in self.call.attrs.padding):
            return None
        return np.asarray(self.scaled_inputs(vector).sum(axis=tuple(range(1, self.weights.ndim))))


def find_linear(value: Call) -> Linear | None:
    """`value` as a linear operator with constant weights in ONNX's layouts, or None."""
    if calls(value, "matmul"):
        weights = array_of(value.args[1])
        if weights is None or weights.ndim < 2 or value.args[0].ty.ndim < 2 or value.ty.ndim < 2:
            return None
        return Linear(value, weights, 1, value.args[0].ty.ndim - 1, value.ty.ndim - 1)
    if not calls(value, *CONVOLUTIONS, *TRANSPOSED):
        return None
    weights = array_of(value.args[1])
    attrs = value.attrs
    kernel_layout = "IO" if calls(value, *TRANSPOSED) else "OI"
    if (
        weights is None
        or not str(attrs.data_layout).startswith("NC")
        or not str(attrs.kernel_layout).startswith(kernel_layout)
    ):
        return None
    return Linear(value, weights, int(attrs.groups), 1, 1)
