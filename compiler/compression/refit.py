"""Layers of a cut network are fitted to what they made before, from what they read now: least squares, no labels.

Layer after layer, in the order in which they run: what a layer reads is what those before it, fitted already, make of
the samples, so that it makes up for their errors, too, and for those of what a sum adds to its result (He, Zhang and
Sun 2017, "Channel pruning"). Memory holds the normal equations of a few layers, however many samples there are, and
rows of what these should make. What runs for each layer is a stage of the model (`stages.py`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from types import MappingProxyType
from typing import TYPE_CHECKING

import numpy as np

from ...ir_passes.compression.columns import (
    chosen_rows,
    columns_of,
    input_columns,
    matrix_of,
    results_of,
    row_count,
    weights_of,
)
from ...ir_passes.compression.least_squares import NormalEquations, best_ridge
from ...ir_passes.core.graph import Var, leaves
from ..calibration.samples import Array, Sample
from .stages import Level, Stage, stages_of
from .trial import Trial
from .weight_homes import Home

if TYPE_CHECKING:
    from ...ir_passes.compression.cut import Cut
    from ..process.progress import ProgressCallback

# Of the mean square of a layer's columns: these keep what the samples do not decide where it was. Samples that were
# left out say which is the best: of a layer that makes one row of a sample it is a large one.
RIDGES = (1e-3, 1e-4, 1e-2, 1e-1, 1.0)
_PARTS = 2  # of the samples: each is left out once
_LEAST_SLOPE = 1e-6  # of a batch norm: a channel that it makes constant is left alone
TURNS = 3  # of layers before a ReLU: what it makes alike is known after the first
_MOST_BYTES = 128 << 20  # of what layers should make, at a time
ROWS_A_COLUMN = 32  # of the normal equations at least, where there are so many


def cut_weights(homes: Sequence[Home], cut: Cut) -> dict[str, Array]:
    """Weights that are zero where layers read what is cut: so the whole network computes what the cut one does."""
    found = {}
    for home in homes:
        lost = np.flatnonzero(~cut.mask(cut.channels.inputs(home.layer)))
        if len(lost):
            matrix = matrix_of(home.layer, home.layer.weights).copy()
            matrix[:, input_columns(home.layer, lost)] = 0
            weights = weights_of(home.layer, matrix, home.layer.weights.shape)
            found[home.node.weights] = home.from_relax(weights)
    return found


def behind(homes: Mapping[str, Home], cut: Cut) -> list[Home]:
    """The layers that read anything that a cut changes, in order."""
    sites = cut.channels.sites
    changed: set[Var] = set()
    for var, value in cut.channels.graph.bindings:
        tensors = (*sites[var].operands, *sites[var].results) if var in sites else ()
        if any(leaf in changed for leaf in leaves(value)) or not all(map(cut.is_whole, tensors)):
            changed.add(var)
    reads = [home for home in homes.values() if home.fits and home.layer.call.args[0] in changed]
    return sorted(reads, key=lambda home: home.node.index)


def refitted(
    trial: Trial,
    samples: Sequence[Sample],
    homes: Sequence[Home],
    fitted: Sequence[Home],
    cut: Cut,
    tell: ProgressCallback,
    start: Mapping[str, Array] = MappingProxyType({}),
) -> dict[str, Array]:
    """New weights of the layers that read what a cut changes, by the names of initializers.

    Args:
        homes: all layers; those that are not fitted lose what is cut nevertheless.
        fitted: those to fit, in order.
        start: weights that are not the model's own.

    Returns:
        Arrays of the model's own shapes: cut, they are those of the cut network.
    """

    current = {**start, **cut_weights(homes, cut)}
    levels: list[list[Home]] = []
    for home in fitted:
        if levels and levels[-1][0].node.source == home.node.source:
            levels[-1].append(home)
        else:
            levels.append([home])
    done = 0
    # What a stage reads in the whole network, and in the cut one.
    whole: Sequence[Sample] = samples
    now: Sequence[Sample] = samples
    for stage in stages_of(trial, levels, len(samples)):
        for some in _parts(stage.levels, cut, len(samples)):
            told = partial(tell, "fit layers", done, len(levels))
            wanted = _wanted([fit for level in some for fit in level], stage, whole, told)
            for level in some:
                for turn in range(TURNS if any(fit.home.followed.is_clipped for fit in level) else 1):
                    for seed, sample in enumerate(now):
                        tell("fit layers", done, len(levels))
                        have = stage.run(sample, current)
                        for fit in level:
                            fit.add(wanted[seed][fit.home.layer.name], have, seed, clipped=turn > 0)
                    for fit in level:
                        current |= fit.solved({**trial.weights, **current})
                done += 1
        if stage.gives:
            told = partial(tell, "fit layers", done, len(levels))
            whole, now = stage.passed(whole, {}, told), stage.passed(now, current, told)
    return current


def _parts(levels: Sequence[Level], cut: Cut, samples: int) -> Iterator[list[list[_Fit]]]:
    """The levels, as many at a time as what they should make of the samples fits memory."""
    some: list[list[_Fit]] = []
    room = _MOST_BYTES
    for level in levels:
        fits = [_Fit(home, cut, samples) for home in level]
        taken = sum(4 * samples * fit.rows * fit.home.layer.outputs for fit in fits)
        if some and taken > room:
            yield some
            some, room = [], _MOST_BYTES
        some.append(fits)
        room -= taken
    if some:
        yield some


def _wanted(
    fits: Sequence[_Fit], stage: Stage, samples: Sequence[Sample], told: Callable[[], None]
) -> list[dict[str, Array]]:
    """For each sample what layers should make, by their names."""
    found = []
    for seed, sample in enumerate(samples):
        told()
        want = stage.run(sample, {})
        found.append({fit.home.layer.name: fit.compared(want, seed).astype(np.float32) for fit in fits})
    return found


class _Fit:
    """One layer: its normal equations, those of each group by themselves, over what is left of its columns.

    Attributes:
        rows: of its result that a sample has a part of at most.
    """

    def __init__(self, home: Home, cut: Cut, samples: int) -> None:
        self.home = home
        layer = home.layer
        self._columns = input_columns(layer, cut.indices(cut.channels.inputs(layer)))
        self._before = matrix_of(layer, layer.weights)
        # Of each group those of each part of the samples; as large as all else together: only while samples are added.
        self._equations: list[list[NormalEquations]] = []
        self.rows = max(64, ROWS_A_COLUMN * len(self._columns) // max(1, samples))

    def _chosen(self, made: Array, seed: int) -> Array:
        return chosen_rows(row_count(self.home.layer, made), self.rows, seed)

    def compared(self, tensors: Mapping[str, Array], seed: int) -> Array:
        """What the layer makes, where that is compared: [rows, groups, outputs of a group]."""
        rows = self._chosen(tensors[self.home.node.output], seed)
        return results_of(self.home.layer, self.home.followed.of(tensors), rows)

    def add(self, before: Array, have: Mapping[str, Array], seed: int, *, clipped: bool) -> None:
        """One sample: what the layer should make of it, and the tensors of the cut network, with it as it is by now.

        Args:
            clipped: whether what a ReLU makes alike counts as alike; from weights on that are close already.
        """
        layer, node, followed = self.home.layer, self.home.node, self.home.followed
        made = have[node.output]
        rows = self._chosen(made, seed)
        columns, results = columns_of(layer, have[node.source], made, rows), results_of(layer, made, rows)
        now = self.compared(have, seed)
        wanted = followed.wanted(before, now) if clipped else before
        # What the tensor there misses, as a difference of the layer's own result.
        slope = np.broadcast_to(followed.factor, results[0].size).reshape(results.shape[1:])
        results = results + np.divide(
            wanted - now, slope, out=np.zeros_like(results), where=np.abs(slope) > _LEAST_SLOPE
        )
        if not self._equations:
            groups, _, outputs = self._before.shape
            size = len(self._columns), outputs
            self._equations = [[NormalEquations.of(*size) for _ in range(_PARTS)] for _ in range(groups)]
        for group, parts in enumerate(self._equations):
            parts[seed % _PARTS].add(columns[:, group, self._columns], results[:, group])

    def solved(self, weights: Mapping[str, Array]) -> dict[str, Array]:
        """The new weights, and the new bias where the model has a place for one; another turn begins anew."""
        home, layer = self.home, self.home.layer
        matrix = np.zeros_like(self._before)
        shifts = []
        intercept = bool(home.bias)
        for group, parts in enumerate(self._equations):
            before = self._before[group, self._columns]
            ridge = best_ridge(parts, before, RIDGES, intercept=intercept)
            matrix[group, self._columns], shift = sum(parts[1:], parts[0]).solve(before, ridge, intercept=intercept)
            shifts.append(shift)
        self._equations = []
        found = {home.node.weights: home.from_relax(weights_of(layer, matrix, layer.weights.shape))}
        if home.bias:
            own = weights[home.bias]
            base = 0.0 if home.inside else own.reshape(-1).astype(np.float64)
            moved = base + home.factor * np.concatenate(shifts)
            found[home.bias] = moved.reshape(own.shape).astype(own.dtype)
        return found
