"""Weights rounded by second order: for the activations that there are, and only where held-out ones agree.

Second moments of what layers read are sums over samples: a few layers' at a time are in memory, however many samples
there are.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from ...ir_passes.compression.columns import matrix_of
from ...ir_passes.compression.layer_matrix import matrix_by_outputs, moments_by_outputs, weights_by_outputs
from ...ir_passes.quantization.round_by_second_order import rounded_in_blocks, rounded_with_steps
from ...ir_passes.quantization.weight_integers import WeightBits
from ..process.progress import ProgressCallback
from ..recipes.recipe import Array, TensorEntry, WeightsEntry
from ..recipes.sections import BLOCKS
from .finished import Finished
from .layer_matrices import Judge, MatrixLayer, quantized_matrix
from .ranges import fake_quantized
from .samples import Sample
from .tapped import Tapped, groups

_CLEARLY_LESS = 0.95  # of the error on held-out samples, for weights to be kept
_WORTH_IT = 0.1  # of a layer's error is of its weights, at least, for them to be rounded with care
_ROWS = 500  # of a layer's columns, to judge by
_ROWS_A_COLUMN = 5  # of second moments, where there are so many
_MOST_BYTES = 160 << 20  # of second moments at a time
_MOST_COLUMNS = 4096  # more take minutes


@dataclass(frozen=True)
class Subject:
    """A layer whose weights are rounded.

    Attributes:
        matrix: it.
        reads: how the tensor that it reads is quantized; None where that stays float.
        entry: how its weights are.
    """

    matrix: MatrixLayer
    reads: TensorEntry | None
    entry: WeightsEntry

    @property
    def name(self) -> str:
        """Of its node."""
        return self.matrix.node.name

    @property
    def bytes(self) -> int:
        """Of second moments, and of what is judged by."""
        width, many = self.matrix.width, self.matrix.layer.linear.groups
        return many * width * (8 * width + 4 * _ROWS)

    def quantized(self, weights: Array) -> Array:
        """Weights, as Relax has them, as they are once they were quantized."""
        matrix = matrix_of(self.matrix.layer, weights)
        return quantized_matrix(matrix, self.entry, alone=self.reads is None)

    def rounded(self, gram: Array) -> Array:
        """Its weights, as Relax has them, by second moments of its columns."""
        layer = self.matrix.layer
        weights, moments = matrix_by_outputs(layer), moments_by_outputs(layer, gram)
        if self.reads is not None:
            bits = WeightBits(self.entry.bits, self.entry.granularity)
            return weights_by_outputs(layer, rounded_with_steps(weights, moments, bits))
        block = min(BLOCKS.get(self.entry.granularity, self.matrix.width), self.matrix.width)
        found = [rounded_in_blocks(*each, self.entry.bits, block) for each in zip(weights, moments, strict=True)]
        return weights_by_outputs(layer, np.stack(found))


@dataclass
class Rounding:
    """What was found.

    Attributes:
        arrays: new weights by the name of their initializer.
        ratios: for each layer that was tried the error on held-out samples, over that of nearest integers.
    """

    arrays: dict[str, Array] = field(default_factory=dict)
    ratios: dict[str, float] = field(default_factory=dict)


def round_weights(
    subjects: Sequence[Subject],
    exact: Tapped,
    samples: Sequence[Sample],
    held: Sequence[Sample],
    finished: Finished,
    tell: ProgressCallback,
) -> Rounding:
    """New weights of those layers whose error on held-out samples they lower.

    Args:
        exact: gives the tensors that layers read and make.
        samples: second moments are of these.
    """
    small = {each.name: each for each in subjects if each.matrix.width <= _MOST_COLUMNS}
    sizes = {name: each.bytes for name, each in small.items()}
    for names in groups([name for name in small if name not in finished], sizes, _MOST_BYTES):
        judges = {name: Judge(small[name].matrix) for name in names}
        for number, sample in enumerate(held):
            tell("judge weights", number, len(held))
            values = exact.all(sample)
            for judge in judges.values():
                judge.add(values, max(8, _ROWS // len(held)), number)
        nearest = {name: _nearest(small[name], judges[name]) for name in names}
        worth = [small[name] for name in names if nearest[name] is not None]
        grams = _grams(worth, exact, samples, tell)
        for name in names:
            error = nearest[name]
            if error is None:
                finished.add(name, None)
                continue
            weights = small[name].rounded(grams.pop(name))
            ratio = judges.pop(name).error(small[name].quantized(weights), small[name].reads) / error
            finished.add(name, ratio, small[name].matrix.as_onnx(weights) if ratio < _CLEARLY_LESS else None)
    finished.write()
    found = Rounding()
    for name, subject in small.items():
        ratio, array = finished.facts(name), finished.array(name)
        if ratio is not None:
            found.ratios[name] = ratio
        if array is not None:
            found.arrays[subject.matrix.node.weights] = array
    return found


def _nearest(subject: Subject, judge: Judge) -> float | None:
    """The error with weights rounded to the nearest; None where little of it is of the weights."""
    weights = subject.matrix.layer.weights
    error = judge.error(subject.quantized(weights), subject.reads)
    without = judge.error(subject.matrix.matrix, subject.reads)
    return error if error > 0 and (error - without) > _WORTH_IT * error else None


def _grams(
    subjects: Sequence[Subject], exact: Tapped, samples: Sequence[Sample], tell: ProgressCallback
) -> dict[str, Array]:
    """X^T X of what layers read, quantized as it is, of each group."""
    found: dict[str, Array] = {}
    for number, sample in enumerate(samples if subjects else ()):
        tell("round weights", number, len(samples))
        values = exact.all(sample)
        for subject in subjects:
            most = max(64, _ROWS_A_COLUMN * subject.matrix.width // len(samples))
            columns = subject.matrix.sampled(values, most, number)
            columns = columns.astype(np.float32) if subject.reads is None else fake_quantized(columns, subject.reads)
            # Of one sample in float32, which is as good for this and twice as fast; the sum in float64.
            gram = (columns.swapaxes(1, 2) @ columns).astype(np.float64)
            if subject.name in found:
                found[subject.name] += gram
            else:
                found[subject.name] = gram
    return found
