"""Layers as matrices: samples of what they read, as columns, and what quantizing those and the weights costs.

What a layer makes of quantized columns is what its integers make of them, but for the rounding of sums; so that weights
and ranges are tried without a compile for each.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np

from ...ir_passes.compression.columns import matrix_of, sampled_columns
from ...ir_passes.compression.layer_matrix import can_be_changed
from ...ir_passes.compression.layers import Layer, layers_of
from ...ir_passes.core.graph import Graph
from ...ir_passes.quantization.quantize_weights import in_blocks
from ...ir_passes.quantization.weight_integers import WeightBits, weight_integers
from ..build import build
from ..options import CompileOptions
from ..recipes.recipe import Array, TensorEntry, WeightsEntry
from ..recipes.sections import BLOCKS
from .ranges import fake_quantized

if TYPE_CHECKING:
    from ...frontends import OpenedModel
    from ...frontends.linear_layers import LinearLayer


@dataclass(frozen=True)
class MatrixLayer:
    """A layer, in ONNX and in Relax."""

    node: LinearLayer
    layer: Layer

    @property
    def width(self) -> int:
        """How many columns it has, of one group."""
        return int(self.layer.weights.size // self.layer.outputs)

    @property
    def matrix(self) -> Array:
        """Its weights, float64[groups, columns, outputs of a group]."""
        return matrix_of(self.layer, self.layer.weights)

    def sampled(self, values: Mapping[str, Array], most: int, seed: int) -> Array:
        """At most so many rows of its columns, [groups, rows, columns]."""
        return sampled_columns(self.layer, values[self.node.source], values[self.node.output], most, seed)

    def as_onnx(self, weights: Array) -> Array:
        """Weights of Relax as ONNX has them."""
        turned = self.node.operator != "Conv" and self.node.column == 0
        return np.ascontiguousarray(weights.T) if turned else weights


def matrix_layers(opened: OpenedModel, options: CompileOptions, nodes: Sequence[LinearLayer]) -> dict[str, MatrixLayer]:
    """Those of some layers that are one matrix a group, of weights that nobody else reads, by name."""
    from ...frontends.readers import readers_of

    uses = readers_of(opened.proto.graph).uses
    made = build(opened, None, replace(options, recipe=None, save_ir=None), stop_after="import")
    assert made.imported is not None
    found = layers_of(Graph.read(made.imported.module))
    return {
        node.name: MatrixLayer(node, found[node.hint])
        for node in nodes
        if node.weights and uses[node.weights] == 1 and node.hint in found and can_be_changed(found[node.hint])
    }


def quantized_matrix(matrix: Array, entry: WeightsEntry, *, alone: bool) -> Array:
    """Weights [groups, columns, outputs] as they are once they were quantized.

    Args:
        alone: whether activations stay floats.
    """
    groups, depth, outputs = matrix.shape
    flat = matrix.transpose(1, 0, 2).reshape(depth, groups * outputs).astype(np.float32)
    if alone or entry.granularity in BLOCKS:
        integers, scales = in_blocks(flat, entry.bits, min(BLOCKS.get(entry.granularity, depth), depth))
    else:
        integers, scales = weight_integers(flat, 1, WeightBits(entry.bits, entry.granularity))
    return (integers * scales).reshape(depth, groups, outputs).transpose(1, 0, 2)


@dataclass
class Judge:
    """Columns of one layer, and how far its outputs are from those of floats.

    Attributes:
        columns: [groups, rows, columns], float32, of all samples so far.
    """

    of: MatrixLayer
    parts: list[Array] = field(default_factory=list)

    def add(self, values: Mapping[str, Array], most: int, seed: int) -> None:
        """Takes a sample into account."""
        self.parts.append(self.of.sampled(values, most, seed).astype(np.float32))

    @property
    def columns(self) -> Array:
        """Of all samples together."""
        if len(self.parts) > 1:
            self.parts = [np.concatenate(self.parts, axis=1)]
        return self.parts[0]

    def error(
        self,
        matrix: Array,
        entry: TensorEntry | None,
        reads: Array | float = 1.0,
        makes: Array | float = 1.0,
    ) -> float:
        """The squares of what is lost by weights `matrix` and quantized columns, as a share of the outputs' own.

        Args:
            matrix: [groups, columns, outputs], for columns that are divided by `reads`, of outputs divided by `makes`.
            entry: how the columns are quantized; None where they stay floats.
            reads: [groups, 1, columns].
            makes: [groups, 1, outputs].
        """
        columns = self.columns
        given = columns / np.float32(reads) if isinstance(reads, float) else columns / reads.astype(np.float32)
        if entry is not None:
            given = fake_quantized(given, entry)
        exact = columns @ self.of.matrix.astype(np.float32)
        lost = (given @ matrix.astype(np.float32)) * np.float32(makes) - exact
        energy = float(np.vdot(exact, exact))
        return float(np.vdot(lost, lost)) / energy if energy > 0 else 0.0
