"""Permutations of axes, and how a reshape carries one through.

A permutation `p` describes a tensor stored with its axes in another order: stored axis `i` is axis `p[i]` of the tensor
as the model sees it. `range(n)` is the model's own order.
"""

from __future__ import annotations

from collections.abc import Sequence

Permutation = tuple[int, ...]


def identity(rank: int) -> Permutation:
    """The model's own order."""
    return tuple(range(rank))


def channels_last(rank: int) -> Permutation:
    """Batch, then the spatial axes, then axis 1: (0, 2, 3, 1) for NCHW."""
    return (0, *range(2, rank), 1) if rank > 2 else identity(rank)


def inverse(p: Permutation) -> Permutation:
    """The permutation that undoes `p`: `inverse(p)[axis]` is where the model's `axis` is stored."""
    result = [0] * len(p)
    for position, axis in enumerate(p):
        result[axis] = position
    return tuple(result)


def relative(source: Permutation, target: Permutation) -> Permutation:
    """The axes of the `permute_dims` that takes a tensor stored as `source` to one stored as `target`."""
    where = inverse(source)
    return tuple(where[axis] for axis in target)


def apply(p: Permutation, items: Sequence[int]) -> tuple[int, ...]:
    """`items`, one an axis of the model, in the order in which `p` stores them."""
    return tuple(items[axis] for axis in p)


def long_axes(p: Permutation, shape: Sequence[int]) -> tuple[int, ...]:
    """The model's axes longer than 1 in the order in which `p` stores them: what decides the bytes in memory."""
    return tuple(axis for axis in p if shape[axis] != 1)


def same_bytes(source: Permutation, target: Permutation, shape: Sequence[int]) -> bool:
    """Whether two orders of a tensor of this `shape` (in the model's order) are the same bytes: a reshape does."""
    return long_axes(source, shape) == long_axes(target, shape)


def drop_axes(p: Permutation, dropped: Sequence[int]) -> Permutation:
    """What is left of `p` when the model's axes `dropped` are gone and the others are numbered anew."""
    kept = [axis for axis in range(len(p)) if axis not in dropped]
    number = {axis: index for index, axis in enumerate(kept)}
    return tuple(number[axis] for axis in p if axis in number)


def split_axes(shape: Sequence[int], merged: Sequence[int]) -> list[tuple[int, ...]] | None:
    """For each axis of `merged`, the consecutive axes of `shape` that it is made of; None if it is not made so.

    Axes of length 1 go to the axis before which they stand, or with the last.
    """
    groups: list[tuple[int, ...]] = []
    axis = 0
    for extent in merged:
        group: list[int] = []
        size = 1
        while axis < len(shape) and (size < extent or (not group and extent == 1) or (size == 1 and shape[axis] == 1)):
            size *= shape[axis]
            group.append(axis)
            axis += 1
        if size != extent:
            return None
        groups.append(tuple(group))
    if any(shape[rest] != 1 for rest in range(axis, len(shape))) or not groups:
        return None
    groups[-1] += tuple(range(axis, len(shape)))
    return groups


Group = tuple[tuple[int, ...], tuple[int, ...]]


def reshape_groups(old: Sequence[int], new: Sequence[int]) -> list[Group] | None:
    """The finest split of a reshape into independent ones: pairs (axes of `old`, axes of `new`), in order.

    Axes of length 1 belong to no group. None for shapes with no elements.

    >>> reshape_groups((1, 8, 4, 4), (1, 2, 4, 16))
    [((1,), (1, 2)), ((2, 3), (3,))]
    """
    if 0 in old or 0 in new:
        return None
    left = [axis for axis, size in enumerate(old) if size != 1]
    right = [axis for axis, size in enumerate(new) if size != 1]
    groups: list[Group] = []
    i = j = 0
    while i < len(left) and j < len(right):
        start_i, start_j = i, j
        size_left, size_right = old[left[i]], new[right[j]]
        while size_left != size_right:
            if size_left < size_right:
                i += 1
                size_left *= old[left[i]]
            else:
                j += 1
                size_right *= new[right[j]]
        i, j = i + 1, j + 1
        groups.append((tuple(left[start_i:i]), tuple(right[start_j:j])))
    return groups


def fill(order: Sequence[int], shape: Sequence[int]) -> Permutation:
    """The most usual permutation that stores the axes longer than 1 in `order`; axes of length 1 go where they fit."""
    rank = len(shape)
    for usual in (identity(rank), channels_last(rank)):
        if long_axes(usual, shape) == tuple(order):
            return usual
    rest = iter(order)
    return tuple(axis if shape[axis] == 1 else next(rest) for axis in range(rank))


def through_reshape(p: Permutation, old: Sequence[int], new: Sequence[int]) -> Permutation | None:
    """How the result of a reshape is stored if the operand's bytes, stored as `p`, are left alone; None if they cannot
    be.

    It works when the axes that the reshape merges or splits stand side by side in `p`.
    """
    groups = reshape_groups(old, new)
    if groups is None:
        return None
    by_first = {before[0]: (before, after) for before, after in groups}
    stored = long_axes(p, old)
    order: list[int] = []
    position = 0
    while position < len(stored):
        group = by_first.get(stored[position])
        if group is None or stored[position : position + len(group[0])] != group[0]:
            return None
        order.extend(group[1])
        position += len(group[0])
    return fill(order, new)
