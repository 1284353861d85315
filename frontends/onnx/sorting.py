"""The best along an axis, in order: by ranks where the axis is short, else by a heap."""

from __future__ import annotations

import math

from . import te_sorting, tir_sorting
from .node import Expr, Node, dtype_of, shape_of

_RANKED = 64  # elements of which each is compared with all others, several at once


def top_k(node: Node, x: Expr, axis: int, count: int, *, largest: bool) -> list[Expr]:
    """The `count` largest (or smallest) elements along an axis, best first, and their positions (int64).

    Equal elements keep their order. NaN counts as larger than every number, as it does for numpy, PyTorch and ONNX
    Runtime. Nothing is empty.
    """
    shape = shape_of(x)
    if shape[axis] <= _RANKED:
        ranked: list[Expr] = node.emit_te(te_sorting.top_k, x, axis, count, largest=largest)
        return ranked
    outer, inner = math.prod(shape[:axis]), math.prod(shape[axis + 1 :])
    kernel = tir_sorting.top_k(outer, shape[axis], inner, count, dtype_of(x), largest=largest)
    found = node.emit_kernel(kernel, node.reshape(x, (outer, shape[axis], inner)))
    return [node.reshape(each, (*shape[:axis], count, *shape[axis + 1 :])) for each in found]
