"""Which integers an input may hold, as far as the model shows it: an index into a constant must lie inside it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

import onnx_ir as ir

from ...frontends import OpenedModel

# Operators whose output holds values of their first input, or whose values bound it, elementwise or moved about.
_TRANSPARENT = frozenset(
    [
        "Cast",
        "Identity",
        "Reshape",
        "Squeeze",
        "Unsqueeze",
        "Expand",
        "Transpose",
        "Flatten",
        "Slice",
        "Concat",
        "Tile",
        "Split",
        "Dropout",
        "Gather",
        "GatherElements",
        "Clip",
        "Max",
        "Min",
        "Where",
    ]
)
_MAX_NODES = 10_000  # of a walk from one input; beyond it the model is left to its defaults


def _axis_length(node: ir.Node) -> int | None:
    axis = node.attributes.get("axis")
    shape = node.inputs[0].shape if node.inputs[0] is not None else None
    if shape is None:
        return None
    position = axis.as_int() if axis is not None else 0
    length = shape[position] if -len(shape) <= position < len(shape) else None
    return length if isinstance(length, int) else None


def _first_length(node: ir.Node) -> int | None:
    shape = node.inputs[0].shape if node.inputs[0] is not None else None
    sizes = [size for size in shape if isinstance(size, int)] if shape is not None else []
    return min(sizes, default=None)


def _depth(node: ir.Node) -> int | None:
    tensor = node.inputs[1].const_value if node.inputs[1] is not None else None
    return int(tensor.numpy().reshape(-1)[0]) if tensor is not None else None


# Operators that use an input as indices: which input, and the first value that is too large.
_INDEXED: Mapping[str, tuple[int, Callable[[ir.Node], int | None]]] = MappingProxyType(
    {
        "Gather": (1, _axis_length),
        "GatherElements": (1, _axis_length),
        "GatherND": (1, _first_length),
        "OneHot": (0, _depth),
        "ScatterElements": (1, _axis_length),
        "ScatterND": (1, _first_length),
    }
)


def integer_bounds(model: OpenedModel) -> dict[str, int]:
    """For each integer input that is used as an index: the first value that would be too large.

    Follows each input through operators that keep or move values. Inputs without an entry have no bound that shows.
    """
    bounds: dict[str, int] = {}
    for value in model.graph_form().graph.inputs:
        if value.dtype is None or not value.dtype.is_integer():
            continue
        bound = _smallest_bound(value)
        if bound is not None:
            bounds[str(value.name)] = bound
    return bounds


def _smallest_bound(start: ir.Value) -> int | None:
    smallest: int | None = None
    todo, seen = [start], {start}
    while todo and len(seen) < _MAX_NODES:
        value = todo.pop()
        for node, position in value.uses():
            index_input, length = _INDEXED.get(node.op_type, (-1, _depth))
            if position == index_input:
                bound = length(node)
                smallest = min(filter(None, (smallest, bound)), default=None)
            elif node.op_type in _TRANSPARENT and node.domain in ("", "ai.onnx"):
                fresh = [output for output in node.outputs if output not in seen]
                seen.update(fresh)
                todo += fresh
    return smallest
