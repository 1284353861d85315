"""Which channels go: a share of every group's, or those that are missed least for the work that they take."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from itertools import accumulate

from .channel_graph import ChannelGraph
from .channel_groups import Group
from .importance import NOTHING, Ranking
from .layers import Layer

# For a group and how many units go in each of the steps that it can be cut in.
Rank = Callable[[Group, Sequence[int]], Ranking]
Keep = dict[str, tuple[int, ...]]


def steps_of(group: Group, round_to: int) -> list[int]:
    """How many units go in each step, so that after each a multiple of `round_to` channels is left, and at last one.

    A group that has no two such multiples is cut in halves of one, or in halves of these.
    """
    units, free = len(group.units), int(group.free.sum())
    if not group.can_be_cut:
        return []
    step = round_to // math.gcd(round_to, group.width(group.name))
    while step > 1 and 2 * step > units:
        step //= 2
    steps = [step] * ((units - 1) // step)
    if units % step:
        steps = [units % step, *steps[1:]]
    while sum(steps) > free:
        steps.pop()
    return steps


def by_rate(
    channels: ChannelGraph, groups: Sequence[Group], rank: Rank, rate: Callable[[Group], float], round_to: int
) -> Keep:
    """Every group loses its share of its units, or what comes nearest to it in steps of `round_to` channels."""
    rankings, gone = [], {}
    shares = [rate(group) for group in groups]
    for number, group in enumerate(groups):
        steps = steps_of(group, round_to) if shares[number] else []
        rankings.append(rank(group, steps) if steps else NOTHING)
        lost = [0, *accumulate(steps)]
        gone[number] = min(range(len(lost)), key=lambda count: abs(lost[count] - shares[number] * len(group.units)))
    return keep_of(channels, groups, rankings, gone)


def by_work(channels: ChannelGraph, groups: Sequence[Group], rank: Rank, share: float, round_to: int) -> Keep:
    """Units go one step after the other, always those of the least error for the work saved, until so much is left.

    Args:
        share: of the floating point operations of all layers, that is to be left.
    """
    steps = [steps_of(group, round_to) for group in groups]
    rankings = [rank(group, each) if each else NOTHING for group, each in zip(groups, steps, strict=True)]
    gone = dict.fromkeys(range(len(groups)), 0)
    work = _Work(channels, groups, rankings)
    target = share * work.total(gone)
    while work.total(gone) > target:
        best, least = None, math.inf
        for number, ranking in enumerate(rankings):
            if gone[number] == len(ranking.chunks):
                continue
            saved = work.saved_by(number, gone)
            error = ranking.errors[gone[number]] - (ranking.errors[gone[number] - 1] if gone[number] else 0.0)
            if saved > 0 and error / saved < least:
                best, least = number, error / saved
        if best is None:
            break
        gone[best] += 1
    return keep_of(channels, groups, rankings, gone)


def keep_of(
    channels: ChannelGraph, groups: Sequence[Group], rankings: Sequence[Ranking], gone: Mapping[int, int]
) -> Keep:
    """The output channels that layers keep; layers that lose none are left out."""
    lost: dict[str, set[int]] = {}
    for number, count in gone.items():
        for chunk in rankings[number].chunks[:count]:
            for name, of_units in groups[number].channels.items():
                lost.setdefault(name, set()).update(of_units[list(chunk)].reshape(-1).tolist())
    return {
        name: tuple(channel for channel in range(channels.layers[name].outputs) if channel not in lost[name])
        for name in channels.layers
        if name in lost
    }


class _Work:
    """The floating point operations of all layers, for how many chunks of each group are gone."""

    def __init__(self, channels: ChannelGraph, groups: Sequence[Group], rankings: Sequence[Ranking]) -> None:
        self._layers = channels.layers
        self._sizes = [[len(chunk) for chunk in ranking.chunks] for ranking in rankings]
        # For each layer the groups that its outputs are in, and its inputs, with the share that a unit is of them.
        self._outputs: dict[str, list[tuple[int, float]]] = {name: [] for name in channels.layers}
        self._inputs: dict[str, list[tuple[int, float]]] = {name: [] for name in channels.layers}
        self._touched: list[set[str]] = []
        for number, group in enumerate(groups):
            for name in group.channels:
                self._outputs[name].append((number, group.width(name) / channels.layers[name].outputs))
            for name, units in group.inputs.items():
                layer = channels.layers[name]
                self._inputs[name].append((number, units.shape[1] / layer.weights.shape[layer.input_axis]))
            self._touched.append({*group.channels, *group.inputs})

    def total(self, gone: Mapping[int, int]) -> float:
        """Of all layers."""
        return sum(self._of(layer, gone) for layer in self._layers.values())

    def saved_by(self, number: int, gone: Mapping[int, int]) -> float:
        """What one more chunk of a group saves."""
        more = {**gone, number: gone[number] + 1}
        return sum(
            self._of(self._layers[name], gone) - self._of(self._layers[name], more) for name in self._touched[number]
        )

    def _of(self, layer: Layer, gone: Mapping[int, int]) -> float:
        left = [
            1 - sum(share * sum(self._sizes[number][: gone[number]]) for number, share in parts)
            for parts in (self._outputs[layer.name], self._inputs[layer.name])
        ]
        return layer.flops * left[0] * left[1]
