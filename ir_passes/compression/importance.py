"""How much a network misses its channels: the order in which the units of a group go, and the error each leaves behind.

Errors are of the layers that read a channel, as shares of the energy of their results, so that groups compare.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from ..core.constants import Array
from .channel_graph import ChannelGraph
from .channel_groups import Group
from .columns import input_columns, matrix_of
from .layers import Layer

DAMPING = 1e-3  # of the mean diagonal of a Gram matrix, so that channels that never fire do not make it singular


@dataclass(frozen=True)
class Ranking:
    """Of a group: which units go in each step.

    Attributes:
        chunks: for each step, positions in the group's units, those that go first in front.
        errors: the error that the network has after each chunk is gone, too.
        middle: of layers that read the units, by name, their adapted weights when about half of the chunks are gone, as
            `matrix_of` gives them; empty where weights are not adapted.
    """

    chunks: tuple[tuple[int, ...], ...]
    errors: tuple[float, ...]
    middle: Mapping[str, Array] = field(default_factory=dict)

    @property
    def half(self) -> int:
        """How many chunks are gone in the middle."""
        return (len(self.chunks) + 1) // 2

    def scaled(self, error: float) -> Ranking:
        """The same with errors in the unit in which this one was measured in the middle."""
        if not self.chunks or self.errors[self.half - 1] <= 0:
            return self
        unit = error / self.errors[self.half - 1]
        return replace(self, errors=tuple(each * unit for each in self.errors))


NOTHING = Ranking((), ())  # of a group that cannot be cut


def by_magnitude(channels: ChannelGraph, group: Group, steps: Sequence[int]) -> Ranking:
    """Units of small weights first: the squares of all weights that would go, as a share of their layer's."""
    cost = np.zeros(len(group.units))
    for name, units in group.channels.items():
        cost += _shares(channels.layers[name], channels.layers[name].output_axis, units)
    for name, units in group.inputs.items():
        cost += _shares(channels.layers[name], channels.layers[name].input_axis, units)
    cost /= max(1, len(group.channels) + len(group.inputs))
    order = [position for position in np.argsort(cost, kind="stable").tolist() if group.free[position]]
    ends = np.cumsum(steps).tolist()
    chunks = tuple(tuple(order[end - size : end]) for end, size in zip(ends, steps, strict=True))
    return Ranking(chunks, tuple(np.cumsum([sum(cost[list(each)]) for each in chunks]).tolist()))


def _shares(layer: Layer, axis: int, units: Array) -> Array:
    squares = np.square(layer.weights.astype(np.float64))
    along = squares.sum(axis=tuple(each for each in range(squares.ndim) if each != axis))
    return np.asarray(along[units].sum(axis=1) / max(float(along.sum()), 1e-30))


def by_second_order(channels: ChannelGraph, group: Group, steps: Sequence[int], grams: Mapping[str, Array]) -> Ranking:
    """The units that the others make up for best first, as optimal brain surgeons have it.

    For every layer that sums over the group's channels, the error of its result when a unit goes and its other weights
    are adapted is quadratic in the weights, with the Gram matrix of the layer's columns: w (G^-1)_uu^-1 w. After each
    chunk the weights and the inverse are those of what is left (Hassibi and Stork 1993; Kurtic et al. 2023, ZipLM).

    Args:
        grams: for layers by name X^T X of their columns, of each group of a grouped convolution.
    """
    readers = {name: _Reader(channels.layers[name], units, grams[name]) for name, units in group.inputs.items()}
    if not readers:
        return by_magnitude(channels, group, steps)
    left = [position for position in range(len(group.units)) if group.free[position]]
    chunks, errors, total = [], [], 0.0
    middle: Mapping[str, Array] = {}
    for number, step in enumerate(steps):
        cost = sum(reader.costs(left) for reader in readers.values())
        first = np.argsort(cost, kind="stable")[:step]
        gone = [left[position] for position in first]
        total += sum(reader.remove(gone) for reader in readers.values())
        if number == (len(steps) - 1) // 2:
            middle = {name: reader.weights for name, reader in readers.items()}
        chunks.append(tuple(gone))
        errors.append(total)
        left = [position for position in left if position not in set(gone)]
    return Ranking(tuple(chunks), tuple(errors), middle)


class _Reader:
    """A layer that sums over the channels of a group: its weights and inverse Gram matrices, while units go.

    Attributes:
        weights: as they make up for the units that are gone.
    """

    def __init__(self, layer: Layer, units: Array, grams: Array) -> None:
        self._columns = input_columns(layer, units)  # [units, columns of a unit]
        self.weights = matrix_of(layer, layer.weights).copy()
        size = grams.shape[-1]
        diagonal = np.trace(grams, axis1=1, axis2=2) / size
        self._inverse = np.linalg.inv(grams + np.eye(size) * np.maximum(diagonal * DAMPING, 1e-30)[:, None, None])
        energy = float(np.einsum("gio,gij,gjo->", self.weights, grams, self.weights, optimize=True))
        self._scale = 1 / max(energy, 1e-30)

    def costs(self, units: list[int]) -> Array:
        """The error of each unit if it went alone."""
        columns = self._columns[units]
        blocks = self._inverse[:, columns[:, :, None], columns[:, None, :]]  # [groups, units, columns, columns]
        weights = self.weights[:, columns]  # [groups, units, columns, outputs]
        return np.asarray((weights * np.linalg.solve(blocks, weights)).sum(axis=(0, 2, 3)) * self._scale)

    def remove(self, units: list[int]) -> float:
        """Take units away; the error of that."""
        columns = self._columns[units].reshape(-1)
        blocks = self._inverse[:, columns[:, None], columns[None, :]]
        weights = self.weights[:, columns]
        moved = np.linalg.solve(blocks, weights)
        error = float((weights * moved).sum()) * self._scale
        across = self._inverse[:, :, columns]
        self.weights = self.weights - across @ moved
        self._inverse = self._inverse - across @ np.linalg.solve(blocks, across.transpose(0, 2, 1))
        # What is gone is zero by now but for rounding; ones keep its blocks regular.
        self.weights[:, columns] = 0
        self._inverse[:, columns] = 0
        self._inverse[:, :, columns] = 0
        self._inverse[:, columns, columns] = 1
        return error
