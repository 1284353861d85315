"""Biases that take away what quantizing adds to the mean of a layer's columns (Nagel and others, 2019).

Weights that are rounded shift the mean of what they make; the mean over samples of that shift is taken from the bias.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from ...frontends import OpenedModel
from ..process.progress import ProgressCallback
from ..recipes.recipe import Array
from .errors_of_layers import Error
from .network import Layers, Network
from .samples import Sample
from .tapped import Tapped

_CLEARLY_LESS = 0.99  # of the error on held-out samples, for a correction to be kept


@dataclass
class Shifts:
    """What is changed, and what was tried.

    Attributes:
        arrays: new biases by the name of their initializer.
        offsets: what they add to the output of a layer, as it broadcasts.
        ratios: for each layer that was tried the error on held-out samples, over that without the correction.
    """

    arrays: dict[str, Array] = field(default_factory=dict)
    offsets: dict[str, Array] = field(default_factory=dict)
    ratios: dict[str, float] = field(default_factory=dict)


def correct_biases(
    network: Network,
    exact: Tapped,
    quantized: Layers,
    samples: Sequence[Sample],
    held: Sequence[Sample],
    tell: ProgressCallback,
) -> Shifts:
    """New biases of those layers whose error on held-out samples they lower.

    Args:
        exact, quantized: the float network that gives its tensors, and the quantized layers by themselves.
        samples: the means are of these.
    """
    layers = [layer for layer in network.layers if layer.bias]
    shifts: dict[str, Array] = {}
    for number, sample in enumerate(samples):
        tell("correct biases", number, len(samples))
        values = exact.all(sample)
        results = quantized.run(values)
        for layer in layers:
            difference = values[layer.output].astype(np.float64) - results[layer.output]
            axis = _channel_axis(layer.operator, difference.ndim)
            others = tuple(each for each in range(difference.ndim) if each != axis)
            mean = difference.mean(others, keepdims=True) / len(samples)
            shifts[layer.name] = shifts.get(layer.name, 0.0) + mean
    before = {layer.name: Error() for layer in layers}
    after = {layer.name: Error() for layer in layers}
    for sample in held:
        values = exact.all(sample)
        results = quantized.run(values)
        for layer in layers:
            before[layer.name].add(results[layer.output], values[layer.output])
            after[layer.name].add(results[layer.output] + shifts[layer.name], values[layer.output])
    found = Shifts()
    own = _arrays(network.opened)
    for layer in layers:
        if not before[layer.name].error:
            continue
        ratio = after[layer.name].error / before[layer.name].error
        found.ratios[layer.name] = ratio
        if ratio < _CLEARLY_LESS:
            shift = shifts[layer.name]
            found.arrays[layer.bias] = (own[layer.bias] + shift.reshape(-1)).astype(np.float32)
            found.offsets[layer.output] = shift.astype(np.float32)
    return found


def _channel_axis(operator: str, rank: int) -> int:
    return 1 if operator == "Conv" else rank - 1


def _arrays(opened: OpenedModel) -> dict[str, Array]:
    """The vectors among the model's weights."""
    graph = opened.graph_form().graph
    return {
        name: np.asarray(value.const_value.numpy())
        for name, value in graph.initializers.items()
        if value.const_value is not None and len(value.const_value.shape) == 1
    }
