"""Which of several axes an axis follows that a reshape has merged them into.

A merged axis (heads x depth, groups x channels, channels x height x width) stays a whole product of what is left of
its parts. So only one part, the carrier, may lose indices, and each of these takes a block of the merged axis with it.
Whatever carries, a cut is right; the choice decides how fine it can be.
"""

from __future__ import annotations

import numpy as np

from ..core.constants import Array
from .links import Axis, Links, Merge

_REASON = "a reshape merges it with an axis that is cut instead"


class _Classes:
    """Axes that are the same index by index, with which of their indices are pinned and whether they are heads."""

    def __init__(self, links: Links) -> None:
        self._parent = list(range(len(links.axes)))
        self._pinned: list[Array] = [np.full(axis.size, axis.size == 1) for axis in links.axes]
        self._heads = [False] * len(links.axes)
        for pin, slices in links.pins:
            self._pinned[pin.axis.number][slices - pin.axis.start] = True
        for axis in links.heads:
            self._heads[axis.number] = True
        for a, b, identity in links.graph.edges(data="identity"):
            if identity:
                self.join(links.axes[a], links.axes[b])

    def _root(self, axis: Axis) -> int:
        number = axis.number
        while self._parent[number] != number:
            self._parent[number] = self._parent[self._parent[number]]
            number = self._parent[number]
        return number

    def join(self, a: Axis, b: Axis) -> None:
        """Let two axes be one."""
        left, right = self._root(a), self._root(b)
        if left != right:
            self._parent[right] = left
            self._pinned[left] = self._pinned[left] | self._pinned[right]
            self._heads[left] |= self._heads[right]

    def pin(self, axis: Axis) -> None:
        """Pin all indices of an axis."""
        root = self._root(axis)
        self._pinned[root] = np.ones_like(self._pinned[root])

    def is_pinned(self, axis: Axis) -> bool:
        """Whether no index of an axis can be cut."""
        return bool(self._pinned[self._root(axis)].all())

    def is_heads(self, axis: Axis) -> bool:
        """Whether products of activations are independent along an axis."""
        return self._heads[self._root(axis)]


def settle(links: Links) -> None:
    """Link every merged axis with its carrier, and pin the other parts of it."""
    classes = _Classes(links)
    waiting = list(links.merges)
    while waiting:
        decided = [merge for merge in waiting if _is_decided(classes, merge)]
        if not decided:
            # Heads first: what they are elsewhere in the network pins the depth of a head, or its other parts.
            decided = [max(waiting, key=lambda merge: any(map(classes.is_heads, _free(classes, merge))))]
        for merge in decided:
            _settle(links, classes, merge)
        done = {id(merge) for merge in decided}
        waiting = [merge for merge in waiting if id(merge) not in done]


def _free(classes: _Classes, merge: Merge) -> list[Axis]:
    return [part for part in merge.parts if not classes.is_pinned(part)]


def _is_decided(classes: _Classes, merge: Merge) -> bool:
    return classes.is_pinned(merge.whole) or len(_free(classes, merge)) < 2


def _settle(links: Links, classes: _Classes, merge: Merge) -> None:
    links.node = merge.node
    free = _free(classes, merge)
    if classes.is_pinned(merge.whole) or not free:
        carrier = None
    else:
        carrier = max(free, key=lambda part: (classes.is_heads(part), part.size))
    for part in merge.parts:
        if part is not carrier:
            links.pin(part, _REASON)
            classes.pin(part)
    if carrier is None:
        links.pin(merge.whole, "a reshape merges axes into it of which nothing can be cut")
        classes.pin(merge.whole)
        return
    sizes = [part.size for part in merge.parts]
    where = next(index for index, part in enumerate(merge.parts) if part is carrier)
    along = np.arange(carrier.size).reshape([-1 if index == where else 1 for index in range(len(sizes))])
    indices = np.broadcast_to(along, sizes).reshape(-1)
    links.mapped(merge.whole, np.arange(merge.whole.size), carrier, indices)
