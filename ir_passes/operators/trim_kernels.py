"""Rows and columns of a convolution's kernel that never meet the image are cut off."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import tvm
from tvm import relax

from ...ir_types import Call
from ..core.base import GraphPass, PassResult
from ..core.constants import array_of, constant
from ..core.graph import Expr, Var
from ..core.match import calls
from ..core.rewriter import Rewriter, rewrite, shape_of

_CONVOLUTIONS = {"nn.conv1d": relax.op.nn.conv1d, "nn.conv2d": relax.op.nn.conv2d, "nn.conv3d": relax.op.nn.conv3d}


@dataclass(frozen=True)
class TrimKernels(GraphPass):
    """Cut the ends off kernels whose weights there are multiplied with padding alone, wherever the kernel stands.

    A 3x3 kernel dilated by 36 over an image of 33x33, as in DeepLab's pyramid, is a 1x1 kernel: its other eight weights
    meet zeros. For convolutions of any rank and grouping with constant, finite weights, in ONNX's layouts.

    Contract: outputs stay the same but for the sign of zeros, and the shapes too; what is left of the padding is not
    negative.
    """

    def __call__(self, module: tvm.IRModule) -> PassResult:
        """Rewrite `main`."""
        return rewrite(module, _visit)


def kept(size: int, kernel: int, before: int, after: int, stride: int, dilation: int) -> tuple[int, int]:
    """The first step of a kernel that meets the image along one axis, and the one behind the last.

    Args:
        size: of the image.
        before: padding on one side; after: on the other.
    """
    places = (size + before + after - dilation * (kernel - 1) - 1) // stride + 1

    def meets(step: int) -> bool:
        reads = np.arange(places) * stride + step * dilation - before
        return bool(((reads >= 0) & (reads < size)).any())

    first, end = 0, kernel
    while end - first > 1 and not meets(first) and before - (first + 1) * dilation >= 0:
        first += 1
    while end - first > 1 and not meets(end - 1) and after - (kernel - end + 1) * dilation >= 0:
        end -= 1
    return first, end


def _visit(rewriter: Rewriter, var: Var, value: Call) -> Expr | None:
    if not calls(value, *_CONVOLUTIONS):
        return None
    weights, shape, attrs = array_of(value.args[1]), shape_of(value.args[0]), value.attrs
    if weights is None or shape is None or not str(attrs.data_layout).startswith("NC"):
        return None
    rank = weights.ndim - 2
    padding, dilation = [int(each) for each in attrs.padding], [int(each) for each in attrs.dilation]
    sizes = zip(shape[2:], weights.shape[2:], padding[:rank], padding[rank:], attrs.strides, dilation, strict=True)
    ranges = [kept(*(int(each) for each in axis)) for axis in sizes]
    if all(end - first == kernel for (first, end), kernel in zip(ranges, weights.shape[2:], strict=True)):
        return None
    if not np.isfinite(weights).all():
        return None  # 0 times infinity is no zero
    for axis, (first, end) in enumerate(ranges):
        padding[axis] -= first * dilation[axis]
        padding[rank + axis] -= (weights.shape[2 + axis] - end) * dilation[axis]
        if end - first == 1:
            dilation[axis] = 1
    trimmed = weights[(slice(None), slice(None), *(slice(*each) for each in ranges))]
    convolution = _CONVOLUTIONS[value.op.name.removeprefix("relax.")](
        value.args[0],
        constant(trimmed),
        strides=attrs.strides,
        padding=padding,
        dilation=dilation,
        groups=attrs.groups,
        data_layout=attrs.data_layout,
        kernel_layout=attrs.kernel_layout,
        out_layout=attrs.out_layout,
        out_dtype=attrs.out_dtype,
    )
    return rewriter.emit(convolution, var.name)
