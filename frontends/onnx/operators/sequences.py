"""Sequences and optionals: lists of tensors while a model is imported, of which nothing is left afterwards."""

from __future__ import annotations

import numpy as np
from tvm import relax

from ..node import Node, Result, Value, shape_of
from ..registry import operator
from ..scope import Missing
from ..sequences import Nothing, SequenceValue


@operator("SequenceEmpty")
def sequence_empty(node: Node) -> Result:
    """A sequence of nothing."""
    return SequenceValue()


@operator("SequenceConstruct")
def sequence_construct(node: Node) -> Result:
    """A sequence of the inputs."""
    return SequenceValue(node.inputs)


@operator("SequenceLength")
def sequence_length(node: Node) -> Result:
    """How many there are."""
    return np.asarray(len(node.sequence(0).items), np.int64)


@operator("SequenceAt")
def sequence_at(node: Node) -> Result:
    """One of them."""
    items = node.sequence(0).items
    return items[_position(node, 1, len(items))]


@operator("SequenceErase")
def sequence_erase(node: Node) -> Result:
    """All but one, by default the last."""
    items = list(node.sequence(0).items)
    del items[_position(node, 1, len(items)) if node.has(1) else -1]
    return SequenceValue(tuple(items))


@operator("SequenceInsert")
def sequence_insert(node: Node) -> Result:
    """One more, by default at the end."""
    items = list(node.sequence(0).items)
    items.insert(_position(node, 2, len(items), last=len(items)) if node.has(2) else len(items), node.inputs[1])
    return SequenceValue(tuple(items))


@operator("ConcatFromSequence")
def concat_from_sequence(node: Node) -> Result:
    """All of them along an axis, which may be a new one."""
    parts = [node.emit(item) for item in node.sequence(0).items]
    if not parts:
        raise node.invalid("the sequence is empty")
    rank = len(shape_of(parts[0]))
    if "axis" not in node.attributes:
        raise node.invalid("it says no axis")
    if not node.attr_flag("new_axis", False):
        return relax.op.concat(parts, node.axis(node.attr_int("axis", 0), rank))
    axis = node.axis(node.attr_int("axis", 0), rank + 1)
    shapes = [shape_of(part) for part in parts]
    rows = [node.reshape(part, (*s[:axis], 1, *s[axis:])) for part, s in zip(parts, shapes, strict=True)]
    return relax.op.concat(rows, axis)


@operator("SplitToSequence")
def split_to_sequence(node: Node) -> Result:
    """Parts along an axis: of given sizes, of one size, or of size 1, without the axis if it says so."""
    shape = node.shape(0)
    axis = node.axis(node.attr_int("axis", 0), len(shape))
    extent = shape[axis]
    sizes = [1] * extent
    if node.has(1):
        given = node.static(1, "the sizes")
        sizes = node.static_ints(1, "the sizes")
        if not given.ndim and sizes[0] > 0:
            sizes = [min(sizes[0], extent - start) for start in range(0, extent, sizes[0])]
    if min(sizes, default=0) < 0 or sum(sizes) != extent:
        raise node.invalid(f"the sizes {sizes} do not add up to {extent}")
    keeps = node.has(1) or node.attr_flag("keepdims", True)
    x, start, parts = node.expr(0), 0, []
    for size in sizes:
        part = node.emit(relax.op.strided_slice(x, [axis], [start], [start + size]))
        parts.append(_known(node, part if keeps else node.reshape(part, (*shape[:axis], *shape[axis + 1 :]))))
        start += size
    return SequenceValue(tuple(parts))


@operator("SequenceMap")
def sequence_map(node: Node) -> Result:
    """A graph for every element of sequences that go together; tensors are the same for each."""
    assert node.graphs is not None  # as for every node of a model
    first, *others = node.inputs
    length = len(node.sequence(0).items)
    kept: list[list[Value]] = [[] for _ in node.source.outputs]
    for index in range(length):
        given = []
        for value in (first, *others):
            if isinstance(value, SequenceValue) and len(value.items) != length:
                raise node.invalid(f"its sequences are of {length} and of {len(value.items)} elements")
            given.append(value.items[index] if isinstance(value, SequenceValue) else value)
        results = node.graphs.inline("body", given)
        if any(isinstance(result, Missing) for result in results):
            return [Missing()] * len(kept)
        for row, result in zip(kept, results, strict=True):
            row.append(result)
    return [SequenceValue(tuple(row)) for row in kept]


@operator("Optional")
def optional(node: Node) -> Result:
    """A value, or nothing."""
    return node.inputs[0] if node.has(0) else Nothing()


@operator("OptionalHasElement")
def optional_has_element(node: Node) -> Result:
    """Whether there is a value."""
    return np.asarray(node.has(0) and not isinstance(node.inputs[0], Nothing))


@operator("OptionalGetElement")
def optional_get_element(node: Node) -> Result:
    """The value."""
    if not node.has(0) or isinstance(node.inputs[0], Nothing):
        raise node.invalid("the optional has no value")
    return node.inputs[0]


def _position(node: Node, index: int, count: int, last: int | None = None) -> int:
    """A place among so many, or up to `last`; negative ones count from the end."""
    (position,) = node.static_ints(index, "the position")
    if not -count <= position <= (count - 1 if last is None else last):
        raise node.invalid(f"the position {position} is outside of the sequence")
    return position + count if position < 0 else position


def _known(node: Node, value: Value) -> Value:
    """An array where the value is known."""
    value = node.emit(value)
    known = node.array(value)
    return value if known is None else known
