"""How the indices of the axes of a network's tensors go together: what the rows of operators say of each call.

The unit of all of it is one index of one axis of one tensor, a slice of that tensor. Two slices are linked if a network
without the one cannot have the other. A slice is pinned if no network can be without it: it is of an input, or what it
takes part in is more than a sum, in which a slice left out is a slice of zeros.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ..core.constants import Array


@dataclass(frozen=True)
class Tensor:
    """A tensor as links know it: the result of a binding, or a field of it; a parameter; a constant where it is read.

    Attributes:
        number: its place in `Links.tensors`.
        shape: before anything is cut.
        node: the name of the binding that makes it, or of the one that reads a constant.
        first: the number of its first axis among all axes; the others follow.
    """

    number: int
    shape: tuple[int, ...]
    node: str
    first: int


@dataclass(frozen=True)
class Axis:
    """An axis of a tensor; its slices are numbered from `start` on among all slices."""

    tensor: Tensor
    axis: int
    size: int
    start: int

    @property
    def number(self) -> int:
        """Its place in `Links.axes`."""
        return self.tensor.first + self.axis


@dataclass(frozen=True)
class Pin:
    """Why slices cannot be cut."""

    axis: Axis
    node: str
    reason: str


@dataclass(frozen=True)
class Merge:
    """An axis whose indices are those of several axes, the first the slowest; `Carriers` settles which it follows."""

    whole: Axis
    parts: tuple[Axis, ...]
    node: str


class Links:
    """Collects what the operators of a network say of their operands and results.

    Attributes:
        tensors, axes: all there are.
        graph: axes by number; an edge says in `node` what links them, in `identity` whether index by index.
        pins: with the numbers of their slices.
        merges: those that `Carriers` is to settle.
        heads: axes along which products of two activations are independent of each other.
    """

    def __init__(self) -> None:
        import networkx as nx  # few compiles cut anything, and it takes a while to load

        self.tensors: list[Tensor] = []
        self.axes: list[Axis] = []
        self.graph = nx.Graph()
        self.pins: list[tuple[Pin, Array]] = []
        self.merges: list[Merge] = []
        self.heads: list[Axis] = []
        self.slices = 0
        self._left: list[Array] = []
        self._right: list[Array] = []
        self.node = ""

    def tensor(self, shape: Sequence[int], node: str | None = None) -> Tensor:
        """A new tensor."""
        made = Tensor(len(self.tensors), tuple(shape), self.node if node is None else node, len(self.axes))
        self.tensors.append(made)
        for axis, size in enumerate(made.shape):
            self.axes.append(Axis(made, axis, size, self.slices))
            self.slices += size
        return made

    def axis(self, tensor: Tensor, axis: int) -> Axis:
        """An axis of a tensor, counted from its start or, negative, from its end."""
        return self.axes[tensor.first + axis % len(tensor.shape)]

    def same(self, a: Axis, b: Axis) -> None:
        """Index i of one is index i of the other."""
        if a.size > 1:
            every = np.arange(a.size)
            self.mapped(a, every, b, every, identity=True)

    def mapped(self, a: Axis, of_a: Array, b: Axis, of_b: Array, *, identity: bool = False) -> None:
        """The indices `of_a` of one are, in turn, the indices `of_b` of the other."""
        self.graph.add_edge(a.number, b.number, node=self.node, identity=identity)
        self._left.append(a.start + of_a)
        self._right.append(b.start + of_b)

    def tied(self, axis: Axis, labels: Array) -> None:
        """Indices with the same label, numbers from 0 on, are cut together."""
        order = np.argsort(labels, kind="stable")
        alike = labels[order][1:] == labels[order][:-1]
        self._left.append(axis.start + order[:-1][alike])
        self._right.append(axis.start + order[1:][alike])

    def pin(self, axis: Axis, reason: str, indices: Array | None = None) -> None:
        """These indices, or all of them, cannot be cut."""
        every = np.arange(axis.size) if indices is None else indices
        self.pins.append((Pin(axis, self.node, reason), axis.start + every))

    def pin_all(self, tensor: Tensor, reason: str) -> None:
        """Nothing of a tensor can be cut."""
        for axis in range(len(tensor.shape)):
            self.pin(self.axis(tensor, axis), reason)

    def merged(self, whole: Axis, parts: Sequence[Axis]) -> None:
        """The indices of one axis are those of several, as a reshape makes them."""
        long = tuple(part for part in parts if part.size > 1)
        if len(long) == 1:
            self.same(whole, long[0])
        elif long:
            self.merges.append(Merge(whole, long, self.node))

    def pairs(self) -> tuple[Array, Array]:
        """All pairs of slices that are linked."""
        nothing = np.zeros(0, np.int64)
        return np.concatenate([nothing, *self._left]), np.concatenate([nothing, *self._right])
