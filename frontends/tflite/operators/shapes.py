"""What moves elements, and reductions. Shapes are those that the file says."""

from __future__ import annotations

import math
from collections.abc import Sequence
from types import MappingProxyType

import numpy as np

from ...onnx.limits import check_table
from ..node import Node, operator

_REDUCTIONS = MappingProxyType(
    {"MEAN": "ReduceMean", "SUM": "ReduceSum", "REDUCE_MAX": "ReduceMax", "REDUCE_MIN": "ReduceMin"}
    | {"REDUCE_PROD": "ReduceProd"}
)
_MOST = 1 << 30  # an end beyond every axis


@operator("RESHAPE", "SQUEEZE", "EXPAND_DIMS", moves=True)
def reshape(node: Node) -> str:
    """The same elements in another shape."""
    return node.emit("Reshape", node.value(0), node.integers(node.output(0).shape), allowzero=1)


@operator("TRANSPOSE", moves=True)
def transpose(node: Node) -> str:
    """Axes in another order."""
    return node.emit("Transpose", node.value(0), perm=[int(axis) for axis in node.known(1)])


@operator("CONCATENATION", moves=True)
def concatenation(node: Node) -> str:
    """Tensors one after another."""
    if node.option("activation"):
        raise node.unsupported("a fused activation is not supported")
    return node.emit("Concat", *(node.value(index) for index in range(len(node))), axis=node.option("axis"))


@operator("PACK", moves=True)
def pack(node: Node) -> str:
    """Tensors along a new axis."""
    axis = node.option("axis") % len(node.output(0).shape)
    parts = [node.emit("Unsqueeze", node.value(index), node.integers([axis])) for index in range(len(node))]
    return node.emit("Concat", *parts, axis=axis)


@operator("UNPACK", moves=True)
def unpack(node: Node) -> list[str]:
    """Tensors along an axis, without it."""
    axis = node.option("axis") % len(node.tensor(0).shape)
    parts = node.emit_many("Split", [node.value(0)], node.outputs, axis=axis, num_outputs=node.outputs)
    return [node.emit("Squeeze", part, node.integers([axis])) for part in parts]


@operator("SPLIT", moves=True)
def split(node: Node) -> list[str]:
    """Equal parts along an axis, which is the first input."""
    axis = int(node.known(0).reshape(()))
    return node.emit_many("Split", [node.value(1)], node.outputs, axis=axis, num_outputs=node.outputs)


@operator("SPLIT_V", moves=True)
def split_v(node: Node) -> list[str]:
    """Parts of given sizes."""
    axis = int(node.known(2).reshape(()))
    sizes = [node.output(index).shape[axis] for index in range(node.outputs)]
    return node.emit_many("Split", [node.value(0), node.integers(sizes)], node.outputs, axis=axis)


@operator("SLICE", moves=True)
def slice_(node: Node) -> str:
    """A window of a tensor."""
    begins = [int(each) for each in node.known(1)]
    ends = [begin + size for begin, size in zip(begins, node.output(0).shape, strict=True)]
    return _sliced(node, begins, ends, [1] * len(begins))


@operator("STRIDED_SLICE", moves=True)
def strided_slice(node: Node) -> str:
    """Every so many elements of a window; axes of one element may go."""
    if node.option("ellipsis") or node.option("new_axis") or node.option("offset"):
        raise node.unsupported("an ellipsis, a new axis or ends that are lengths are not supported")
    begins, ends, steps = ([int(each) for each in node.known(index)] for index in (1, 2, 3))
    for axis, step in enumerate(steps):
        if node.option("shrink") >> axis & 1:
            ends[axis], steps[axis] = (begins[axis] + 1 or _MOST), 1
            continue
        if node.option("begin") >> axis & 1:
            begins[axis] = 0 if step > 0 else _MOST
        if node.option("end") >> axis & 1:
            ends[axis] = _MOST if step > 0 else -_MOST
    for axis, (extent, step) in enumerate(zip(node.tensor(0).shape, steps, strict=False)):
        if step < 0 and begins[axis] < -extent:  # nothing, where ONNX takes the first element
            begins[axis] = ends[axis] = 0
    value = _sliced(node, begins, ends, steps)
    return node.emit("Reshape", value, node.integers(node.output(0).shape)) if node.option("shrink") else value


def _sliced(node: Node, begins: Sequence[int], ends: Sequence[int], steps: Sequence[int]) -> str:
    axes = list(range(len(begins)))
    return node.emit("Slice", node.value(0), *(node.integers(each) for each in (begins, ends, axes, steps)))


@operator("GATHER", moves=True)
def gather(node: Node) -> str:
    """Elements by their places along an axis."""
    if node.option("batch_dims"):
        raise node.unsupported("batch dimensions are not supported")
    return node.emit("Gather", node.value(0), node.value(1), axis=node.option("axis"))


@operator("GATHER_ND", moves=True)
def gather_nd(node: Node) -> str:
    """Elements by their places along the first axes."""
    return node.emit("GatherND", node.value(0), node.emit("Cast", node.value(1), to=7))


@operator("PAD", "PADV2")
def pad(node: Node) -> str:
    """A constant around a tensor: zero, unless it is given."""
    value = node.value(2) if node.has(2) else node.real_constant(0)
    if node.has(2) and node.tensor(2).shape:
        value = node.emit("Squeeze", value)
    return node.emit("Pad", node.value(0), _padding(node), value)


@operator("MIRROR_PAD", moves=True)
def mirror_pad(node: Node) -> str:
    """What is near the border, mirrored around it; the border itself not twice."""
    if node.option("mode"):
        raise node.unsupported("the symmetric mode is not supported")
    return node.emit("Pad", node.value(0), _padding(node), mode="reflect")


def _padding(node: Node) -> str:
    return node.integers(np.asarray(node.known(1)).reshape(-1, 2).T)


@operator("TILE", moves=True)
def tile(node: Node) -> str:
    """A tensor many times."""
    return node.emit("Tile", node.value(0), node.integers(node.known(1)))


@operator("BROADCAST_TO", moves=True)
def broadcast_to(node: Node) -> str:
    """A tensor as if it were larger."""
    return node.emit("Expand", node.value(0), node.integers(node.output(0).shape))


@operator("REVERSE_V2", moves=True)
def reverse(node: Node) -> str:
    """Axes backwards."""
    axes = [int(axis) for axis in node.known(1).reshape(-1)]
    ones = [-1] * len(axes)
    return node.emit(
        "Slice", node.value(0), *(node.integers(each) for each in (ones, [-_MOST] * len(axes), axes, ones))
    )


@operator("SHAPE")
def shape(node: Node) -> str:
    """The shape, which is known."""
    return node.constant(node.tensor(0).shape, node.output(0).dtype)


@operator("ZEROS_LIKE")
def zeros_like(node: Node) -> str:
    """Zeros."""
    check_table(math.prod(node.tensor(0).shape), "a tensor of zeros")
    return node.constant(np.zeros(node.tensor(0).shape, node.tensor(0).dtype))


@operator(*_REDUCTIONS)
def reduction(node: Node) -> str:
    """A mean, a sum, an extreme over axes."""
    axes = node.integers(node.known(1))
    return node.emit(_REDUCTIONS[node.kind], node.value(0), axes, keepdims=int(node.option("keep_dims")))


@operator("ARG_MAX", "ARG_MIN")
def arg_extreme(node: Node) -> str:
    """The first place of an extreme along an axis."""
    axis = int(node.known(1).reshape(()))
    op_type = "ArgMax" if node.kind == "ARG_MAX" else "ArgMin"
    found = node.emit(op_type, node.value(0), axis=axis, keepdims=0)
    return found if node.output(0).dtype == "int64" else node.emit("Cast", found, to=6)


@operator("CUMSUM")
def cumsum(node: Node) -> str:
    """Sums up to each element."""
    exclusive, reverse = int(node.option("exclusive")), int(node.option("reverse"))
    return node.emit("CumSum", node.value(0), node.value(1), exclusive=exclusive, reverse=reverse)


@operator("TOPK_V2")
def top_k(node: Node) -> list[str]:
    """The largest along the last axis, and their places."""
    values, places = node.emit_many("TopK", [node.value(0), node.integers(node.known(1))], 2, axis=-1)
    return [values, node.emit("Cast", places, to=6)]
