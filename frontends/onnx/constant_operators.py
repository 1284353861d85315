"""Operators that no kernel computes, on constants: mostly those whose sizes depend on data, which is known here.

Each row is ONNX's definition in numpy. It returns None for what it does not define: then the node is refused, as it is
when its inputs are not constant.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType

import numpy as np

from .emitter import Array
from .limits import check_table
from .node import Node


def compute_constants(node: Node) -> Sequence[Array] | None:
    """The outputs of a node whose inputs are all known, or None if no row computes them.

    Raises:
        ModelError: the node does not fit its inputs.
        UnsupportedError: an output would be too large.
    """
    row = _ROWS.get(node.op_type) if node.source.domain in ("", "ai.onnx") else None
    if row is None or any(node.has(index) and node.known(index) is None for index in range(len(node.inputs))):
        return None
    with np.errstate(all="ignore"):
        return row(node)


def _non_zero(node: Node) -> Sequence[Array]:
    """Where elements are not zero: [rank, count]."""
    x = node.static(0, "the input")
    return [np.asarray(np.nonzero(x) if x.ndim else np.empty((0, int(x != 0))), np.int64)]


def _compress(node: Node) -> Sequence[Array]:
    """The slices along an axis (or, without one, the elements) whose condition holds; a short condition ends early."""
    x, condition = node.static(0, "the input"), node.static(1, "the condition")
    axis = node.axis(node.attr_int("axis", 0), x.ndim) if "axis" in node.attributes else None
    return [np.compress(condition.ravel(), x, axis)]


def _unique(node: Node) -> Sequence[Array] | None:
    """Different elements, or slices along an axis; where each stands first, which one each is, how many there are."""
    x = node.static(0, "the input")
    if x.dtype.kind not in "biu" and (x.dtype.kind != "f" or np.isnan(x).any()):
        return None
    axis = node.axis(node.attr_int("axis", 0), x.ndim) if "axis" in node.attributes else None
    values, first, which, counts = np.unique(x, True, True, True, axis)
    which = which.reshape(-1)
    if not node.attr_flag("sorted", True):
        order = np.argsort(first)
        values, first, counts = np.take(values, order, axis or 0), first[order], counts[order]
        which = np.argsort(order)[which]
    return [values, *(each.astype(np.int64) for each in (first, which, counts))]


def _dtype(node: Node, name: str) -> np.dtype[np.generic] | None:
    """The dtype that an attribute names; 0 is none."""
    dtype = node.attr_dtype(name)
    return None if dtype is None else dtype.numpy()


def _mel_weight_matrix(node: Node) -> Sequence[Array]:
    """Triangles of weights, equally wide on the mel scale, from the bins of a spectrum: [bins, mel bins]."""
    names = ("the mel bins", "the length of the spectrum", "the sample rate", "the lower edge", "the upper edge")
    mels, length, rate, lowest, highest = (node.static(index, name).item() for index, name in enumerate(names))
    bins = length // 2 + 1
    if min(mels, length, rate) <= 0:
        raise node.invalid("a number of bins, a length or a sample rate is not positive")
    check_table(bins * mels, "the matrix")
    low, high = (2595 * np.log10(1 + edge / 700) for edge in (lowest, highest))
    edges = 700 * (10 ** ((np.arange(mels + 2) * ((high - low) / (mels + 2)) + low) / 2595) - 1)
    edges = np.floor((length + 1) * edges / rate).astype(np.int64)
    if edges.min() < 0 or edges.max() > bins:
        raise node.invalid("the edges lie outside the spectrum")
    at = np.arange(bins)[:, None]
    left, centre, right = edges[:-2], edges[1:-1], edges[2:]
    with np.errstate(all="ignore"):
        rising = np.where(left == centre, at == centre, (at - left) / (centre - left))
        falling = (right - at) / (right - centre)
    inside = (at >= left) & (at <= centre)
    weights = np.where((at >= centre) & (at < right), falling, np.where(inside, rising, 0.0))
    return [weights.astype(_dtype(node, "output_datatype") or np.float32)]


_ROWS: Mapping[str, Callable[[Node], Sequence[Array] | None]] = MappingProxyType(
    {
        "Compress": _compress,
        "MelWeightMatrix": _mel_weight_matrix,
        "NonZero": _non_zero,
        "Unique": _unique,
    }
)
