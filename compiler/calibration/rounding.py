"""Weights rounded by second order: for the activations that there are, and only where held-out ones agree.

Second moments of what layers read are sums over samples: a few layers' at a time are in memory, however many samples
there are. Of layers with many inputs they are those of blocks of inputs, each by itself.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from ...ir_passes.compression.columns import matrix_of
from ...ir_passes.compression.layer_matrix import columns_by_outputs, matrix_by_outputs, weights_by_outputs
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
_MOST_COLUMNS, _BLOCK = 4096, 2048  # more take minutes: then blocks of so many


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
        return many * (4 * width * _ROWS + 8 * sum(int(part.stop - part.start) ** 2 for part in self.parts))

    @property
    def parts(self) -> list[slice]:
        """The inputs whose second moments are taken together."""
        width = self.matrix.width
        size = width if width <= _MOST_COLUMNS else _BLOCK
        return [slice(first, min(first + size, width)) for first in range(0, width, size)]

    def quantized(self, weights: Array) -> Array:
        """Weights, as Relax has them, as they are once they were quantized."""
        matrix = matrix_of(self.matrix.layer, weights)
        return quantized_matrix(matrix, self.entry, alone=self.reads is None)

    def moments(self, values: Mapping[str, Array], most: int, seed: int) -> list[Array]:
        """X^T X of so many of its columns, quantized as they are, of each group: [groups, inputs, inputs] of each part.

        In the order of `matrix_by_outputs`.
        """
        columns = columns_by_outputs(self.matrix.layer, self.matrix.sampled(values, most, seed))
        columns = columns.astype(np.float32) if self.reads is None else fake_quantized(columns, self.reads)
        # Of one sample in float32, which is as good for this and twice as fast; the sum in float64.
        blocks = [columns[..., part] for part in self.parts]
        return [(block.swapaxes(1, 2) @ block).astype(np.float64) for block in blocks]

    def rounded(self, moments: Sequence[Array]) -> Array:
        """Its weights, as Relax has them, by second moments of its columns."""
        layer = self.matrix.layer
        weights = matrix_by_outputs(layer)
        if self.reads is not None:
            bits = WeightBits(self.entry.bits, self.entry.granularity)
            return weights_by_outputs(layer, rounded_with_steps(weights, moments, bits))
        block = min(BLOCKS.get(self.entry.granularity, self.matrix.width), self.matrix.width)
        found = [
            rounded_in_blocks(own, moment, self.entry.bits, block)
            for own, *moment in zip(weights, *moments, strict=True)
        ]
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
    named = {each.name: each for each in subjects}
    sizes = {name: each.bytes for name, each in named.items()}
    for names in groups([name for name in named if name not in finished], sizes, _MOST_BYTES):
        judges = {name: Judge(named[name].matrix) for name in names}
        for number, sample in enumerate(held):
            tell("judge weights", number, len(held))
            values = exact.all(sample)
            for judge in judges.values():
                judge.add(values, max(8, _ROWS // len(held)), number)
        nearest = {name: _nearest(named[name], judges[name]) for name in names}
        worth = [named[name] for name in names if nearest[name] is not None]
        grams = _grams(worth, exact, samples, tell)
        for name in names:
            error = nearest[name]
            if error is None:
                finished.add(name, None)
                continue
            weights = named[name].rounded(grams.pop(name))
            ratio = judges.pop(name).error(named[name].quantized(weights), named[name].reads) / error
            finished.add(name, ratio, named[name].matrix.as_onnx(weights) if ratio < _CLEARLY_LESS else None)
    finished.write()
    found = Rounding()
    for name, subject in named.items():
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
) -> dict[str, list[Array]]:
    """The second moments of layers, over all samples."""
    found: dict[str, list[Array]] = {}
    for number, sample in enumerate(samples if subjects else ()):
        tell("round weights", number, len(samples))
        values = exact.all(sample)
        for subject in subjects:
            most = max(64, _ROWS_A_COLUMN * subject.parts[0].stop // len(samples))
            own = subject.moments(values, most, number)
            for total, block in zip(found.setdefault(subject.name, own), own, strict=True):
                if total is not block:
                    total += block
    return found
