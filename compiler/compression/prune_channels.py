"""Pruning channels: which go, by weights or samples, and what the layers behind them become."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from functools import cached_property

from ...errors import CutError
from ...ir_passes.compression.channel_graph import ChannelGraph, channel_graph
from ...ir_passes.compression.channel_groups import Group, channel_groups
from ...ir_passes.compression.choose_channels import Keep, Rank, by_rate, by_work
from ...ir_passes.compression.columns import weights_of
from ...ir_passes.compression.cut import Cut, cut_layers
from ...ir_passes.compression.cut_channels import without
from ...ir_passes.compression.importance import Ranking, by_magnitude, by_second_order
from ...ir_passes.compression.layers import layers_of
from ...ir_passes.core.graph import Graph
from ..calibration.samples import Array
from ..recipes.recipe import KeepEntry
from .grams import gram_bytes, grams_of
from .pruning import CRITERIA, NO_CHANGE, Change, Data, PrunedLayer, Subject
from .refit import behind, cut_weights, refitted
from .weight_homes import Home, weight_homes

_MOST_GRAM_BYTES = 256 << 20
_MEASURED_SAMPLES = 32  # by which the outputs say how much a group matters
# Stages that outputs are compared after.
_PRUNED, RECONSTRUCTED = "pruned", "reconstructed"


class PruneChannels:
    """A way to prune: whole channels go, of all layers that they connect.

    Args:
        before: what was changed already.

    Attributes:
        layers: all of the model, by the names that Relax has.
        homes: of all layers whose weights are initializers of their own.

    Raises:
        CutError: no channels can be cut.
        UsageError: there is no layer of a name that is asked for.
    """

    def __init__(self, subject: Subject, before: Change = NO_CHANGE) -> None:
        self._subject, self._channels = subject, channel_graph(subject.imported.module)
        self._before = before.weights
        self.layers = self._channels.layers
        self._homes = weight_homes(subject.opened, self.layers)
        self.homes = list(self._homes.values())
        self._groups = self._wanted()

    def _wanted(self) -> list[Group]:
        """Those that are cut. A recipe speaks of layers by the names of nodes; what no name reaches, stays."""
        subject = self._subject
        layers = subject.wanted(self.layers) if subject.asked.layers else set(subject.imported.layers.values())
        asked = subject.asked
        groups = [group for group in channel_groups(self._channels) if layers & set(group.channels)]
        if asked.heads is not None and not any(group.of_heads and group.can_be_cut for group in groups):
            raise CutError(
                "the model has no attention whose heads can be cut",
                where=subject.opened.where,
                hint="`tilewright inspect --channels` says why",
            )
        if asked.channels is None and asked.work is None:
            groups = [group for group in groups if group.of_heads]
        if not any(group.can_be_cut for group in groups):
            raise CutError(
                f"no channels of {'these layers' if subject.asked.layers else 'the model'} can be cut",
                where=subject.opened.where,
                hint="`tilewright inspect --channels` says why",
            )
        return groups

    def __call__(self, data: Data | None) -> Change:
        """Chooses channels to cut, and fits what is left.

        Args:
            data: nothing where channels go by magnitude and nothing is fitted.
        """
        asked, tell = self._subject.asked, self._subject.tell
        ranked = data is not None and asked.criterion == CRITERIA[0]
        keep = self._chosen(self._by_samples(data) if data is not None and ranked else self._by_magnitude())
        cut = cut_layers(self._channels, keep)
        stages, arrays = {_PRUNED: {**self._before, **cut_weights(self.homes, cut)}}, {}
        if data is not None and asked.recover:
            fitted = behind(self._homes, cut)
            arrays = refitted(data.trial, data.samples, self.homes, fitted, cut, tell, self._before)
            stages[RECONSTRUCTED] = arrays
        return self._change(cut, keep, arrays, stages)

    def _chosen(self, rank: Rank) -> Keep:
        asked = self._subject.asked
        if asked.work is not None:
            return by_work(self._channels, self._groups, rank, asked.work, asked.round_to or 1)

        def rate(group: Group) -> float:
            of_heads = asked.heads if group.of_heads else None
            return of_heads if of_heads is not None else asked.channels or 0.0

        return by_rate(self._channels, self._groups, rank, rate, asked.round_to or 1)

    def _by_magnitude(self) -> Rank:
        """Ranks by weights alone."""
        return lambda group, steps: by_magnitude(self._channels, group, steps)

    def _by_samples(self, data: Data) -> Rank:
        """Ranks by the second order."""
        return _BySamples(self._subject, self._channels, self._groups, self._homes, data)

    def _change(
        self, cut: Cut, keep: Keep, arrays: Mapping[str, Array], stages: Mapping[str, Mapping[str, Array]]
    ) -> Change:
        subject = self._subject
        after = layers_of(Graph.read(without(subject.imported.module, cut).module))
        layers = {
            subject.name(name) or name: PrunedLayer(
                {"channels": [layer.outputs, after[name].outputs]},
                (layer.weights.size, after[name].weights.size),
                (layer.flops, after[name].flops),
            )
            for name, layer in self.layers.items()
            if name in after and after[name].weights.shape != layer.weights.shape
        }
        named = ((subject.name(name), kept) for name, kept in keep.items())
        sections = {name: {"keep_channels": KeepEntry(kept)} for name, kept in named if name is not None}
        return Change(layers, sections, arrays, stages, cut)


class _BySamples:
    """Ranks groups by the second order; each once, however many cuts are made by it."""

    def __init__(
        self,
        subject: Subject,
        channels: ChannelGraph,
        groups: Sequence[Group],
        homes: Mapping[str, Home],
        data: Data,
    ) -> None:
        self._subject, self._channels, self._homes, self._data = subject, channels, homes, data
        self._readers = {name for group in groups for name in group.inputs if name in homes}

    def __call__(self, group: Group, steps: Sequence[int]) -> Ranking:
        subject = self._subject
        compared = subject.asked.work is not None
        key = group.name, (*steps,), compared
        if key not in subject.rankings:
            subject.tell("rank channels", 0, 0)
            subject.rankings[key] = self._ranked(group, steps, compared=compared)
        return subject.rankings[key]

    def _ranked(self, group: Group, steps: Sequence[int], *, compared: bool) -> Ranking:
        if not set(group.inputs) <= self._readers:
            return by_magnitude(self._channels, group, steps)
        grams = self._all_grams or self._grams(group.inputs)
        ranking = by_second_order(self._channels, group, steps, grams)
        if not compared:
            return replace(ranking, middle={})
        # What the layers behind a group lose is measured once, at the outputs: so groups compare.
        homes = {name: self._homes[name] for name in ranking.middle}
        adapted = {
            home.node.weights: home.from_relax(weights_of(home.layer, ranking.middle[name], home.layer.weights.shape))
            for name, home in homes.items()
        }
        return replace(ranking.scaled(self._judged(adapted) ** 2), middle={})

    @cached_property
    def _all_grams(self) -> Mapping[str, Array]:
        """Those of all readers; none where they need too much memory: then those of a group are made by turns."""
        needed = sum(gram_bytes(self._homes[name]) for name in self._readers)
        return self._grams(self._readers) if needed <= _MOST_GRAM_BYTES else {}

    def _grams(self, names: Iterable[str]) -> Mapping[str, Array]:
        homes = [self._homes[name] for name in sorted(names)]
        return grams_of(homes, self._data.trial, self._data.samples, self._subject.tell)

    @cached_property
    def _judged(self) -> Callable[[Mapping[str, Array]], float]:
        return self._data.trial.judge(self._data.samples[:_MEASURED_SAMPLES])
