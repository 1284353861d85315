"""Distillation: all layers of a changed network learn together to make what the model makes, from samples, no labels.

What each layer makes is compared where recovery compares it, and the outputs most of all, so that a network learns
block by block and as a whole. Between two samples lies another one, of which the model knows what it makes: networks
learn from these, too (Beyer et al. 2022, "Knowledge distillation: a good teacher is patient and consistent"). Weights
that are zero stay so: they are what pruning took away.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import onnx

from ...ir_passes.core.rewriter import shape_of
from ..calibration.samples import Array, Sample
from ..calibration.tapped import Tapped, bytes_of, tapped, workshop_of
from .gradients import Tape, tape_of
from .trial import Trial, trial_of
from .weight_homes import Home

if TYPE_CHECKING:
    from ...frontends import OpenedModel
    from ..options import CompileOptions
    from ..process.progress import ProgressCallback

_BATCH = 16  # samples to a step
# Of the root mean square of what is learned: the first steps; the second where those lead astray.
_RATES = (0.02, 0.004)
_INNER = 0.5  # what all layers together count for; the outputs count 1
_FAST, _SLOW = 0.9, 0.99  # decays of Adam's means and of its mean squares
_SEED = 7
_MEASURED = 64  # samples that say how large tensors are
_NORMS = ("BatchNormalization", "LayerNormalization")


@dataclass(frozen=True)
class Aim:
    """A tensor that is to be what the model makes.

    Attributes:
        tensor: its name.
        share: how much it counts.
        kept: 1 where a cut leaves something of it and 0 elsewhere, so that it broadcasts.
    """

    tensor: str
    share: float
    kept: Array | float = 1.0

    def slope(self, want: Mapping[str, Array], have: Mapping[str, Array], energy: float) -> Array:
        """The gradient of the squared error of a sample, as a share of the tensor's energy an element."""
        difference = (have[self.tensor] - want[self.tensor]) * np.float32(self.kept)
        return np.asarray(np.float32(2 * self.share / max(energy * difference.size, 1e-30)) * difference)


def aims_of(outputs: Sequence[str], homes: Sequence[Home], kept: Mapping[str, Array]) -> list[Aim]:
    """What is compared: the outputs, and what each layer makes.

    Args:
        kept: of layers by name, which of their output channels a cut leaves.
    """
    found = [Aim(name, 1.0 / len(outputs)) for name in outputs]
    for home in homes:
        if home.followed.tensor not in outputs:
            shape = [1] * len(shape_of(home.layer.call) or ())
            shape[home.layer.linear.channel_axis] = -1
            mask = kept.get(home.layer.name, np.ones(home.layer.outputs, bool)).astype(np.float32).reshape(shape)
            found.append(Aim(home.followed.tensor, _INNER / len(homes), home.followed.back(mask)))
    return found


def distilled(
    opened: OpenedModel,
    homes: Sequence[Home],
    still: frozenset[str],
    kept: Mapping[str, Array],
    samples: Sequence[Sample],
    arrays: Mapping[str, Array],
    epochs: int,
    options: CompileOptions,
    tell: ProgressCallback,
) -> dict[str, Array]:
    """New weights and biases of layers and norms, by the names of initializers; `arrays` where those are better.

    Args:
        homes: the layers that learn.
        still: names of initializers that do not.
        kept: of layers by name, which of their output channels a cut leaves.
        arrays: the weights to begin with, where they are not the model's own.
        epochs: how often each sample is learned from.
    """
    outputs = tuple(value.name for value in opened.proto.graph.output)
    every = aims_of(outputs, homes, kept)
    own = {name for home in homes for name in (home.node.weights, home.bias) if name}
    norms = {name: tensor for name, tensor in norm_parameters(opened).items() if name not in {*own, *still}}
    leaves = {*own, *norms} - still
    tape = tape_of(opened, leaves, [aim.tensor for aim in every])
    aims = [aim for aim in every if aim.tensor in tape.moved]
    units = {**norms, **{home.bias: home.followed.tensor for home in homes if home.bias}}
    units = {name: tensor for name, tensor in units.items() if tensor}
    compared = [*dict.fromkeys((*(aim.tensor for aim in aims), *units.values()))]
    with (
        workshop_of(options, tell) as shop,
        trial_of(opened, homes, options, tell, (*tape.tensors, *outputs), [*norms, *arrays], shop) as trial,
    ):
        # What the model makes is asked of a library that gives no more than is compared.
        model = tapped(shop, opened, compared, bytes_of(opened, compared), name="model")
        start = {**trial.weights, **arrays}
        least = trial.output_error(samples, start)
        for rate in _RATES:
            learning = _Learning(model, trial, tape, aims, units, start, rate)
            learning.learn(samples, epochs, tell)
            if trial.output_error(samples, learning.arrays) < least:
                before, after = trial.weights, learning.arrays
                return {name: each for name, each in after.items() if not np.array_equal(each, before[name])}
    return dict(arrays)


def norm_parameters(opened: OpenedModel) -> dict[str, str]:
    """The initializers that norms multiply by and add, each with the norm's result where it is added, else with ""."""
    from ...frontends.readers import readers_of

    graph = opened.proto.graph
    uses = readers_of(graph).uses
    floats = {tensor.name for tensor in graph.initializer if tensor.data_type == onnx.TensorProto.FLOAT}
    return {
        name: node.output[0] if place else ""
        for node in graph.node
        if node.op_type in _NORMS
        for place, name in enumerate(node.input[1:3])
        if name in floats and uses[name] == 1
    }


class _Learning:
    """Steps down the gradient of what the aims miss, by Adam (Kingma and Ba 2014), with steps that become smaller."""

    def __init__(
        self,
        model: Tapped,
        trial: Trial,
        tape: Tape,
        aims: Sequence[Aim],
        units: Mapping[str, str],
        start: Mapping[str, Array],
        rate: float,
    ) -> None:
        """Gets ready.

        Args:
            model: gives what aims compare, and the tensors of `units`.
            trial: gives what the tape needs, with other weights.
            units: of what is added to tensors, by name: a tensor by whose size it changes.
            start: the weights to begin with.
            rate: how large the first steps are, as a share of what changes.
        """
        self._model, self._trial, self._tape, self._aims, self._rate = model, trial, tape, aims, rate
        self.arrays = dict(start)
        learned = [name for name in start if name in tape.moved]
        self._biases = {name: tensor for name, tensor in units.items() if name in learned}
        self._free = {name: start[name] != 0 for name in learned if name not in self._biases}
        self._means = {name: np.zeros_like(start[name]) for name in learned}
        self._squares = {name: np.zeros_like(start[name]) for name in learned}
        self._units: dict[str, float] = {}
        self._energies: dict[str, float] = {}

    def learn(self, samples: Sequence[Sample], epochs: int, tell: ProgressCallback) -> None:
        """Changes the arrays, step by step."""
        self._measure(samples[:_MEASURED])
        total = epochs * -(-len(samples) // _BATCH)
        for number, batch in enumerate(_batches(samples, epochs)):
            tell("distill", number, total)
            self._step(batch, number + 1, self._rate * 0.5 * (1 + np.cos(np.pi * number / total)))

    def _measure(self, samples: Sequence[Sample]) -> None:
        """How large tensors are, an element: by that errors compare, and biases and weights change."""
        wanted = {*(aim.tensor for aim in self._aims), *self._biases.values()}
        squares = dict.fromkeys(wanted, 0.0)
        for sample in samples:
            tensors = self._model.all(sample)
            for name in wanted:
                squares[name] += float(np.square(tensors[name], dtype=np.float64).mean()) / len(samples)
        self._energies = squares
        for name in self._means:
            array = self.arrays[name][self._free[name]] if name in self._free else np.zeros(0)
            own = float(np.square(array, dtype=np.float64).mean()) if array.size else 0.0
            self._units[name] = float(np.sqrt(squares[self._biases[name]] if name in self._biases else own))

    def _step(self, batch: Sequence[Sample], number: int, rate: float) -> None:
        total: dict[str, Array] = {}
        for sample in batch:
            want, have = self._model.all(sample), self._trial.run(sample, self.arrays)
            at: dict[str, Array] = {}
            for aim in self._aims:
                slope = aim.slope(want, have, self._energies[aim.tensor])
                at[aim.tensor] = at[aim.tensor] + slope if aim.tensor in at else slope
            found = self._tape.back({**have, **self.arrays}, at)
            for name in self._means.keys() & found.keys():
                if name in total:
                    total[name] += found[name]
                else:
                    total[name] = np.array(found[name])
        for name, gradient in total.items():
            gradient /= len(batch)
            if name in self._free:
                gradient *= self._free[name]
            self._move(name, gradient, number, rate)

    def _move(self, name: str, gradient: Array, number: int, rate: float) -> None:
        """A step of one array; `gradient` is used up."""
        mean, square = self._means[name], self._squares[name]
        mean += (1 - _FAST) * (gradient - mean)
        square += (1 - _SLOW) * (np.square(gradient, out=gradient) - square)
        root = np.sqrt(square / (1 - _SLOW**number))
        step = mean * float(rate * self._units[name] / (1 - _FAST**number))
        np.divide(step, root, out=step, where=root > 0)  # where nothing ever was, the mean is 0, too
        self.arrays[name] = self.arrays[name] - step


def _batches(samples: Sequence[Sample], epochs: int) -> Iterator[list[Sample]]:
    """All samples in every epoch, each mixed with another, in an order that is the same every time."""
    random = np.random.default_rng(_SEED)
    for _ in range(epochs):
        order, others = random.permutation(len(samples)), random.permutation(len(samples))
        shares = random.random(len(samples))
        mixed = [_between(samples[a], samples[b], share) for a, b, share in zip(order, others, shares, strict=True)]
        yield from (mixed[start : start + _BATCH] for start in range(0, len(mixed), _BATCH))


def _between(a: Sample, b: Sample, share: float) -> Sample:
    """Floats between those of two samples; all else is that of the first."""
    return {
        name: (share * array + (1 - share) * b[name]).astype(array.dtype) if array.dtype.kind == "f" else array
        for name, array in a.items()
    }
