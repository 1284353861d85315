"""Pruning residual branches: those go whole that the outputs miss least, and the layers behind them make up for it.

A branch that ends in a layer adds nothing once the layer's weights are zero and its bias cancels what is left: so the
library that runs the samples shows what a network without it makes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from ...errors import CutError
from ...ir_passes.compression.channel_graph import channel_graph
from ...ir_passes.compression.cut import cut_units
from ...ir_passes.compression.layers import Layer, layers_of
from ...ir_passes.core.graph import Graph
from ..calibration.samples import Array
from ..recipes.recipe import DropEntry
from .pruning import Change, Data, PrunedLayer, Subject
from .refit import refitted
from .trial import Trial
from .weight_homes import Home, weight_homes

_MEASURED_SAMPLES = 32
_NOTHING = 1e-4  # of the sum: what rounding leaves of a branch
# Stages that outputs are compared after.
_DROPPED, _RECONSTRUCTED = "dropped", "reconstructed"


class PruneBranches:
    """A way to prune: residual branches that end in a layer go, one after the other.

    Attributes:
        tensors: those that a trial has to give besides.
        all_go: whether all branches are asked for.

    Raises:
        CutError: the model has not so many.
    """

    def __init__(self, subject: Subject) -> None:
        self._subject = subject
        self._layers = layers_of(Graph.read(subject.imported.module))
        self._homes = weight_homes(subject.opened, self._layers)
        wanted = subject.wanted(self._homes)
        self._ends = [
            home
            for name, home in self._homes.items()
            if home.followed.branch and subject.name(name) is not None and (name in wanted or not wanted)
        ]
        asked, count = subject.asked.branches or 0, len({home.followed.total for home in self._ends})
        self.all_go = count == asked
        if count < asked:
            raise CutError(
                f"{asked} residual branches are to go, and the model has {count} that end in a layer",
                where=subject.opened.where,
                hint=("ask for fewer; " if count else "") + "a recipe may drop others: see docs/compression.md",
            )
        self.tensors = tuple(name for home in self._ends for name in (home.followed.branch[-1], home.followed.total))

    def without_all(self) -> Subject:
        """The model without any of the branches."""
        left, taken = self._subject, set[str]()
        for home in self._ends:
            there = layers_of(Graph.read(left.imported.module))
            if home.followed.total not in taken and home.layer.name in there:
                left = left.without([home.layer.name])
                taken.add(home.followed.total)
        return left

    def __call__(self, data: Data) -> Change:
        """Drops as many branches as asked for, each time the one whose loss changes the outputs least."""
        subject, trial = self._subject, data.trial
        silent = {home.layer.name: _silenced(home, data) for home in self._ends}
        error = trial.judge(data.samples[:_MEASURED_SAMPLES])
        dropped: list[Home] = []
        arrays: dict[str, Array] = {}
        while len(dropped) < (subject.asked.branches or 0):
            subject.tell("drop branches", len(dropped), subject.asked.branches or 0)
            taken = {home.followed.total for home in dropped}
            there = layers_of(Graph.read(subject.without([home.layer.name for home in dropped]).imported.module))
            found = [
                (error({**arrays, **silent[name]}), name)
                for name in (home.layer.name for home in self._ends if home.followed.total not in taken)
                if name in there and silent[name]
            ]
            if not found:
                raise CutError("no more branches can go", where=subject.opened.where, hint="ask for fewer: --branches")
            _, name = min(found)
            dropped.append(self._homes[name])
            arrays |= silent[name]
        return self._change(dropped, arrays, data)

    def _change(self, dropped: Sequence[Home], arrays: Mapping[str, Array], data: Data) -> Change:
        subject = self._subject
        left = subject.without([home.layer.name for home in dropped])
        there = layers_of(Graph.read(left.imported.module))
        stages: dict[str, Mapping[str, Array]] = {_DROPPED: arrays}
        found: Mapping[str, Array] = {}
        if subject.asked.recover:
            found = stages[_RECONSTRUCTED] = self._reconstructed(left, there, dropped, arrays, data)
        gone = [layer for name, layer in self._layers.items() if name not in there]
        return Change(
            {subject.name(layer.name) or layer.name: _nothing_of(layer) for layer in gone},
            {subject.name(home.layer.name) or "": {"drop": DropEntry(drop=True)} for home in dropped},
            found,
            stages,
            gone=tuple(self._homes[layer.name] for layer in gone if layer.name in self._homes),
        )

    def _reconstructed(
        self,
        left: Subject,
        there: Mapping[str, Layer],
        dropped: Sequence[Home],
        arrays: Mapping[str, Array],
        data: Data,
    ) -> dict[str, Array]:
        """The layers that run behind the first branch that went, fitted to what they made."""
        homes = weight_homes(left.opened, there)
        first = min(home.node.index for home in dropped)
        fitted = sorted(
            (home for home in homes.values() if home.fits and home.node.index > first),
            key=lambda home: home.node.index,
        )
        whole = cut_units(channel_graph(left.imported.module), ())
        return refitted(data.trial, data.samples, [*homes.values()], fitted, whole, left.tell, arrays)


def _nothing_of(layer: Layer) -> PrunedLayer:
    return PrunedLayer({"dropped": True}, (layer.weights.size, 0), (layer.flops, 0))


def _silenced(home: Home, data: Data) -> dict[str, Array]:
    """Weights and bias with which a branch adds nothing; none where there are no such."""
    trial, sample = data.trial, data.samples[0]
    weights = {home.node.weights: np.zeros_like(trial.weights[home.node.weights])}
    left = _by_channel(home, trial, sample, weights)
    if home.bias and left is not None:
        own = trial.weights[home.bias]
        up = _by_channel(home, trial, sample, {**weights, home.bias: own + np.ones_like(own)})
        if up is None:
            return {}
        moved = own.reshape(-1) - np.divide(left, up - left, out=np.zeros_like(left), where=up != left)
        weights[home.bias] = moved.reshape(own.shape).astype(own.dtype)
        left = _by_channel(home, trial, sample, weights)
    if left is None:
        return {}
    size = float(np.sqrt(np.square(trial.run(sample, {})[home.followed.total]).mean()))
    return weights if float(np.abs(left).max()) <= _NOTHING * size else {}


def _by_channel(home: Home, trial: Trial, sample: Mapping[str, Array], weights: Mapping[str, Array]) -> Array | None:
    """What a branch adds with a layer of zeros, a value a channel; None where it is broadcast, or more than that."""
    tensors = trial.run(dict(sample), weights)
    added, total = tensors[home.followed.branch[-1]], tensors[home.followed.total]
    if added.shape != total.shape:
        return None
    axis = home.layer.linear.channel_axis
    if home.followed.axes:
        axis = home.followed.axes.index(axis % added.ndim)
    rows = np.moveaxis(added, axis, -1).reshape(-1, added.shape[axis])
    return rows[0].astype(np.float64) if (rows == rows[0]).all() else None
