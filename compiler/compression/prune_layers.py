"""Pruning within layers, one by one: weights that become zero, and lower ranks; what else they do stays."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from ...errors import CutError
from ...ir_passes.compression.cut_channels import without
from ...ir_passes.compression.factorize import Rank, factor, work_left
from ...ir_passes.compression.layer_matrix import can_be_changed, is_product, weights_by_outputs
from ...ir_passes.compression.layers import layers_of
from ...ir_passes.compression.masks import pattern_of
from ...ir_passes.compression.prune_weights import prune
from ...ir_passes.core.graph import Graph
from ..calibration.samples import Array
from ..recipes.recipe import RankEntry, SparsityEntry
from .grams import drifts_of, gram_bytes
from .pruning import CRITERIA, NO_CHANGE, Change, Data, PrunedLayer, Subject
from .weight_homes import Home, weight_homes
from .what_is_left import Left, left_of

# Layers of fewer weights take little time, and first layers with few channels much of the accuracy.
_FEWEST_WEIGHTS, _FEWEST_INPUTS = 1024, 8
_MOST_BYTES = 1 << 29  # of second moments at a time
# Stages that outputs are compared after.
_DROPPED, _CHOSEN, _ADJUSTED, _FACTORED = "by magnitude", "by second order", "adjusted", "factored"

# Changes a layer by X^T X of what it reads, and of that by what it read before; whether there was anything to change.
Step = Callable[[Left, "Array | None", "Array | None"], bool]


class PruneLayers:
    """A way to prune: layers get a lower rank where that pays, or zeros, in the order in which they run.

    Args:
        before: what was changed already: layers are changed in the network that this leaves, and make what they make
            there.

    Attributes:
        layers: all of the model, by the names that Relax has.
        homes: of those that may change.

    Raises:
        CutError: the model has no such layers.
        UsageError: there is no layer of a name that is asked for.
    """

    def __init__(self, subject: Subject, before: Change = NO_CHANGE) -> None:
        self._subject, asked = subject, subject.asked
        self.layers = layers_of(Graph.read(subject.imported.module))
        self._before = before.weights
        self._left = self._chosen(before)
        self.homes = [left.home for left in self._left.values()]
        # In this order, until one changes the layer.
        steps: tuple[tuple[object, Step], ...] = ((asked.low_rank, self._factor), (asked.weights, self._zero))
        self._steps = [step for wish, step in steps if wish is not None]
        self._last = _FACTORED
        if asked.weights is not None:
            self._last = _ADJUSTED if asked.recover else _CHOSEN
        self._pruned: dict[str, PrunedLayer] = {}
        self._sections: dict[str, dict[str, Any]] = {}
        self._stages: dict[str, dict[str, Array]] = {}

    def _chosen(self, before: Change) -> dict[str, Left]:
        subject = self._subject
        homes = weight_homes(subject.opened, self.layers)
        wanted = subject.wanted(homes)
        module = subject.imported.module if before.cut is None else without(subject.imported.module, before.cut).module
        found = {
            name: left
            for name, left in left_of([*homes.values()], module, before.cut, before.weights).items()
            if subject.name(name) is not None
            and can_be_changed(left.layer)
            and (name in wanted if wanted else is_worth_it(left))
        }
        if not found:
            raise CutError("the model has no layers whose weights could be changed", where=subject.opened.where)
        return found

    def __call__(self, data: Data | None) -> Change:
        """Changes the layers; with data each makes up for those before it.

        Args:
            data: nothing where weights go by magnitude and nothing is fitted.
        """
        if data is None:
            for left in self._left.values():
                self._step(left, None, None)
        else:
            for number, group in enumerate(groups := _groups(self.homes)):
                self._subject.tell("change layers", number, len(groups))
                now = {**self._before, **self._weights}
                drifts = drifts_of(group, data.trial, data.samples, now, self._before)
                for home in group:
                    left = self._left[home.layer.name]
                    self._step(left, *map(left.of_moments, drifts[home.layer.name]))
        zeros = any("sparsity" in section for section in self._sections.values())
        own = self._stages if zeros or not self._weights else {_FACTORED: self._weights}
        stages = {stage: {**self._before, **weights} for stage, weights in own.items()}
        return Change(self._pruned, self._sections, self._weights, stages)

    @property
    def _weights(self) -> dict[str, Array]:
        """The weights of layers that are changed already."""
        return self._stages.get(self._last, {})

    def _step(self, left: Left, gram: Array | None, cross: Array | None) -> None:
        any(step(left, gram, cross) for step in self._steps)

    def _zero(self, left: Left, gram: Array | None, cross: Array | None) -> bool:
        layer, asked = left.layer, self._subject.asked
        pattern, rate = pattern_of(asked.zeros), asked.weights or 0.0
        plain = prune(layer, pattern, rate)
        pruned = plain
        if gram is not None:
            by_magnitude = asked.criterion != CRITERIA[0]
            pruned = prune(layer, pattern, rate, gram, cross, by_magnitude=by_magnitude, adjust=asked.recover)
        if pruned.mask.all():
            return False
        share = float(pruned.mask.mean())
        stages = () if pruned.errors is None else zip((_DROPPED, self._last), pruned.errors, strict=True)
        # The share of what is zero now: with it a mask by magnitude finds the same zeros again.
        entry = SparsityEntry(asked.zeros, pruned.rate)
        made = {"pattern": entry.pattern, "rate": entry.rate}
        self._keep(left, "sparsity", entry, made, round(layer.weights.size * share), share, dict(stages))
        if gram is not None:
            for stage, each in ((_DROPPED, plain), (self._last, pruned)):
                self._store(stage, left, weights_by_outputs(layer, each.weights))
        return True

    def _factor(self, left: Left, gram: Array | None, cross: Array | None) -> bool:
        layer, subject = left.layer, self._subject
        whitened = gram if subject.asked.criterion == CRITERIA[0] else None
        factored = factor(layer, Rank(error=subject.asked.low_rank or 0.0), whitened, subject.cycles)
        if factored is None:
            return False
        ranks = factored.ranks
        entry = RankEntry(ranks[0] if len(ranks) == 1 else (ranks[0], ranks[1]))
        weights_left = sum(part.weights.size for part in factored.parts)
        errors = {_FACTORED: factored.error}
        self._keep(left, "rank", entry, {"rank": list(ranks)}, weights_left, work_left(layer, factored), errors)
        if gram is not None:
            weights = factored.weights.astype(layer.weights.dtype)
            for stage in (_FACTORED,) if subject.asked.weights is None else (_DROPPED, self._last):
                self._store(stage, left, weights)
        return True

    def _keep(
        self,
        left: Left,
        section: str,
        entry: SparsityEntry | RankEntry,
        made: dict[str, Any],
        weights: int,
        work: float,
        errors: dict[str, float],
    ) -> None:
        layer = left.layer
        name = self._subject.name(layer.name) or layer.name
        flops = (layer.flops, round(layer.flops * work))
        self._pruned[name] = PrunedLayer(made, (layer.weights.size, weights), flops, errors)
        self._sections[name] = {section: entry}

    def _store(self, stage: str, left: Left, weights: Array) -> None:
        home = left.home
        before = self._before.get(home.node.weights)
        own = home.from_relax(home.layer.weights) if before is None else before
        self._stages.setdefault(stage, {})[home.node.weights] = left.whole(weights, own)


def is_worth_it(of: Home | Left) -> bool:
    """Whether a layer takes enough time to be changed where nobody names it."""
    weights = of.layer.weights
    inputs = weights.shape[0] if is_product(of.layer) else weights.shape[1]
    return weights.size >= _FEWEST_WEIGHTS and inputs >= _FEWEST_INPUTS


def _groups(homes: Sequence[Home]) -> list[list[Home]]:
    """Layers that read the same tensor, as many at a time as their second moments fit memory."""
    groups: list[list[Home]] = []
    room = 0
    for home in sorted(homes, key=lambda each: each.node.index):
        room -= gram_bytes(home)
        if not groups or room < 0 or groups[-1][0].node.source != home.node.source:
            groups.append([])
            room = _MOST_BYTES - gram_bytes(home)
        groups[-1].append(home)
    return groups
