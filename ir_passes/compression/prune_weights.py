"""Weights become zero in a pattern: by magnitude, or by what outputs lose on calibration data."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

import numpy as np
import tvm
from tvm import relax

from ...ir_types import Expr, Var
from ..core.base import GraphPass, PassResult
from ..core.constants import Array, constant
from ..core.graph import Graph
from ..core.rewriter import Rewriter, rebuild, rewrite
from .layer_matrix import can_be_changed, matrix_by_outputs, moments_by_outputs, weights_by_outputs
from .layers import Layer, layers_of
from .masks import Mask, Pattern, checked_rate, keep, pattern_of
from .reconstruct import following, reconstructed
from .second_order import output_error, prune_by_second_order


@dataclass(frozen=True)
class Zeros:
    """How many of a layer's weights become zero, and where: as `pattern_of` reads it."""

    pattern: str = "unstructured"
    rate: float = 0.5


@dataclass(frozen=True)
class Pruned:
    """A layer that lost weights.

    Attributes:
        weights: as (groups, output channels, inputs), zero where `mask` is not.
        errors: of the outputs on calibration data, as a share of them: with weights dropped by magnitude, and as they
            are; nothing without such data.
    """

    weights: Array
    mask: Mask
    errors: tuple[float, float] | None = None

    @property
    def rate(self) -> float:
        """The share of weights that are zero."""
        return 1 - float(self.mask.mean())


Tell = Callable[[str, Pruned], None]


@dataclass(frozen=True)
class PruneWeights(GraphPass):
    """Multiply constant weights of products and convolutions by masks, W * M in the graph, as `fold_constants` ends it.

    With second moments of a layer's inputs its mask is chosen by them, and the weights that are kept are those of least
    squares. Contract: with a mask of ones nothing changes; shapes never do.

    Options:
        layers: what is pruned, by the name of its node.
        moments: X^T X of the columns of layers, as `columns_of` gives them, by the same names; layers without lose
            their smallest weights.
        tell: told of every layer.
    """

    layers: Mapping[str, Zeros] = field(default_factory=lambda: MappingProxyType({}))
    moments: Mapping[str, Array] = field(default_factory=lambda: MappingProxyType({}))
    tell: Tell = lambda name, pruned: None

    def __call__(self, module: tvm.IRModule) -> PassResult:
        """Rewrite `main`.

        Raises:
            UsageError: a layer has a pattern or rate that there is not.
        """
        wanted = {name: (pattern_of(zeros.pattern), checked_rate(zeros.rate)) for name, zeros in self.layers.items()}

        layers = {layer.var: layer for name, layer in layers_of(Graph.read(module)).items() if name in wanted}

        def visit(rewriter: Rewriter, var: Var, value: Expr) -> Expr | None:
            layer = layers.get(var)
            if layer is None or not can_be_changed(layer):
                return None
            pruned = prune(layer, *wanted[layer.name], self.moments.get(layer.name))
            self.tell(layer.name, pruned)
            if pruned.mask.all():
                return None
            return rewriter.emit(rebuild(value, [value.args[0], _masked(rewriter, layer, pruned, str(var.name))]))

        return rewrite(module, visit, max_rounds=1)


def prune(
    layer: Layer,
    pattern: Pattern,
    rate: float,
    gram: Array | None = None,
    cross: Array | None = None,
    *,
    by_magnitude: bool = False,
    adjust: bool = True,
) -> Pruned:
    """Drops weights of a layer.

    Args:
        gram: X^T X of its columns, (groups, inputs, inputs); without, the smallest weights go.
        cross: where those before it changed, X^T X with the columns that it had, so that it makes up for them.
        by_magnitude: whether the smallest weights go nevertheless.
        adjust: whether the weights that are kept become those of least squares, or stay as they are.
    """
    weights = matrix_by_outputs(layer)
    largest = keep(weights**2, pattern, rate)
    if gram is None or largest.all():
        return Pruned(np.where(largest, weights, 0.0), largest)
    moments = moments_by_outputs(layer, gram)
    wanted = weights
    if cross is not None:
        drifted = moments_by_outputs(layer, cross)
        wanted = np.stack([following(*each) for each in zip(weights, moments, drifted, strict=True)])
    start, mask = wanted.copy(), largest.copy()
    if not by_magnitude:
        for group, (own, moment) in enumerate(zip(wanted, moments, strict=True)):
            start[group], mask[group] = prune_by_second_order(own, moment, pattern, rate)
    kept = np.where(mask, weights, 0.0)
    if adjust:
        kept = np.stack([reconstructed(*each) for each in zip(wanted, mask, moments, start, strict=True)])
    before = output_error(np.where(largest, weights, 0.0), wanted, moments)
    return Pruned(kept, mask, (before, output_error(kept, wanted, moments)))


def _masked(rewriter: Rewriter, layer: Layer, pruned: Pruned, hint: str) -> Expr:
    """W * M: weights where they are kept, as they were or as they were adjusted, times ones and zeros."""
    weights = layer.weights if pruned.errors is None else weights_by_outputs(layer, pruned.weights)
    mask = weights_by_outputs(layer, pruned.mask.astype(np.float64))
    return rewriter.emit(relax.op.multiply(constant(weights), constant(mask)), hint)
