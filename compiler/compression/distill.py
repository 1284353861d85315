"""Distillation: all layers of a changed network learn together to make what the model makes, from samples, no labels.

What each layer makes is compared where recovery compares it, and the outputs most of all, so that a network learns
block by block and as a whole. Between two samples lies another one of which the model knows what it makes: networks
learn from these, too (Beyer et al. 2022, "Knowledge distillation: a good teacher is patient and consistent"). Weights
that are zero stay so: they are what pruning took away.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ..calibration.samples import Array, Sample
from .gradients import Tape, tape_of
from .trial import Trial, trial_of
from .weight_homes import Home

if TYPE_CHECKING:
    from ...frontends import OpenedModel
    from ..options import CompileOptions
    from ..process.progress import ProgressCallback

EPOCHS = 20  # over all samples
BATCH = 16  # samples to a step
RATE = 0.02  # of the root mean square of what is learned: the first steps
_INNER = 0.5  # what all layers together count for; the outputs count 1
_DECAYS = (0.9, 0.99)  # of Adam's means, and of its mean squares
_SEED = 7


@dataclass(frozen=True)
class Aim:
    """A tensor that is to be what the model makes.

    Attributes:
        tensor: its name.
        share: how much it counts.
        kept: what of it is left by a cut, as a mask that broadcasts; all of it where None.
    """

    tensor: str
    share: float
    kept: Array | None = None

    def miss(self, want: Mapping[str, Array], have: Mapping[str, Array], energy: float) -> tuple[float, Array]:
        """The squared error as a share of the tensor's energy, and its gradient."""
        difference = have[self.tensor] - want[self.tensor]
        if self.kept is not None:
            difference = difference * self.kept
        scale = self.share / max(energy, 1e-30)
        return scale * float(np.square(difference, dtype=np.float64).sum()), np.float32(2 * scale) * difference


def aims_of(outputs: Sequence[str], homes: Sequence[Home], kept: Mapping[str, Array]) -> list[Aim]:
    """What is compared: the outputs, and what each layer makes.

    Args:
        kept: of layers by name, which of their output channels a cut leaves.
    """
    inner = []
    for home in homes:
        mask = kept.get(home.layer.name)
        if mask is not None:
            rank = home.layer.call.ty.ndim
            shape = [1] * rank
            shape[home.layer.linear.channel_axis] = -1
            mask = home.followed.back(mask.reshape(shape).astype(np.float32))
        if home.followed.tensor not in outputs:
            inner.append(Aim(home.followed.tensor, _INNER / len(homes), mask))
    return [*(Aim(name, 1.0 / len(outputs)) for name in outputs), *inner]


def distilled(
    opened: OpenedModel,
    homes: Sequence[Home],
    still: frozenset[str],
    kept: Mapping[str, Array],
    samples: Sequence[Sample],
    arrays: Mapping[str, Array],
    options: CompileOptions,
    tell: ProgressCallback,
) -> dict[str, Array]:
    """New weights and biases of the layers, by the names of initializers; those of `arrays` where they are better.

    Args:
        homes: the layers that learn.
        still: names of initializers that do not.
        kept: of layers by name, which of their output channels a cut leaves.
        arrays: the weights to begin with, where they are not the model's own.
    """
    outputs = tuple(value.name for value in opened.proto.graph.output)
    aims = aims_of(outputs, homes, kept)
    leaves = [name for home in homes for name in (home.node.weights, home.bias) if name and name not in still]
    tape = tape_of(opened, leaves, [aim.tensor for aim in aims])
    learning = [name for name in leaves if name in tape.moved]
    if not learning:
        return dict(arrays)
    with trial_of(opened, homes, options, tell, tape.tensors) as trial:
        return _Learning(trial, tape, aims, homes, learning, arrays).done(samples, tell)


class _Learning:
    """Steps down the gradient of what the aims miss, by Adam, with steps that become smaller."""

    def __init__(
        self,
        trial: Trial,
        tape: Tape,
        aims: Sequence[Aim],
        homes: Sequence[Home],
        learning: Sequence[str],
        arrays: Mapping[str, Array],
    ) -> None:
        self._trial, self._tape, self._aims = trial, tape, aims
        self._start = {**trial.weights, **arrays}
        self._now = {name: self._start[name].copy() for name in learning}
        self._free = {name: self._start[name] != 0 for name in learning if name in arrays}
        self._biases = {home.bias: home.followed.tensor for home in homes if home.bias}
        self._free = {name: free for name, free in self._free.items() if name not in self._biases}
        self._means = {name: np.zeros(array.shape) for name, array in self._now.items()}
        self._squares = {name: np.zeros(array.shape) for name, array in self._now.items()}
        self._sizes: dict[str, float] = {}
        self._energies: dict[str, float] = {}
        self._steps = 0

    @property
    def arrays(self) -> dict[str, Array]:
        """All weights that are not the model's own, as they are by now."""
        return {**self._start, **self._now}

    def done(self, samples: Sequence[Sample], tell: ProgressCallback) -> dict[str, Array]:
        """Learns from all samples several times; the weights at the end, or the first where those are better."""
        self._measure(samples)
        total = EPOCHS * -(-len(samples) // BATCH)
        for batch in _batches(samples):
            tell("distill", self._steps, total)
            self._step(batch, 0.5 * (1 + np.cos(np.pi * self._steps / total)))
        tell("distill", total, total)
        before, after = (self._trial.output_error(samples, each) for each in (self._start, self.arrays))
        return self.arrays if after < before else self._start

    def _measure(self, samples: Sequence[Sample]) -> None:
        """The energies of what is aimed at, and the units in which weights and biases change."""
        energies = {aim.tensor: 0.0 for aim in self._aims}
        roots: dict[str, list[float]] = {}
        for sample in samples[: 4 * BATCH]:
            want = self._trial.run(sample, {})
            for aim in self._aims:
                energies[aim.tensor] += float(np.square(want[aim.tensor], dtype=np.float64).mean())
            for name, tensor in self._biases.items():
                roots.setdefault(name, []).append(float(np.square(want[tensor]).mean()))
        count = min(len(samples), 4 * BATCH)
        sizes = {aim.tensor: samples[0] for aim in self._aims}
        del sizes
        self._energies = {name: energy / count for name, energy in energies.items()}
        self._sizes = {
            name: float(np.sqrt(np.mean(roots[name])))
            if name in roots
            else float(np.sqrt(np.square(array[array != 0], dtype=np.float64).mean()))
            if array.any()
            else 0.0
            for name, array in self._now.items()
        }

    def _step(self, batch: Sequence[Sample], share: float) -> None:
        total: dict[str, Array] = {}
        for sample in batch:
            want, have = self._trial.run(sample, {}), self._trial.run(sample, self._now_all)
            at: dict[str, Array] = {}
            for aim in self._aims:
                size = want[aim.tensor].size
                _, slope = aim.miss(want, have, self._energies[aim.tensor] * size)
                at[aim.tensor] = at[aim.tensor] + slope if aim.tensor in at else slope
            found = self._tape.back({**have, **self._now_all}, at)
            for name in self._now:
                if name in found:
                    total[name] = total.get(name, 0.0) + found[name]
        self._steps += 1
        for name, gradient in total.items():
            self._move(name, gradient / len(batch), share)

    @property
    def _now_all(self) -> dict[str, Array]:
        return {**self._start, **self._now}

    def _move(self, name: str, gradient: Array, share: float) -> None:
        if name in self._free:
            gradient = gradient * self._free[name]
        fast, slow = _DECAYS
        self._means[name] = fast * self._means[name] + (1 - fast) * gradient
        self._squares[name] = slow * self._squares[name] + (1 - slow) * np.square(gradient)
        mean = self._means[name] / (1 - fast**self._steps)
        root = np.sqrt(self._squares[name] / (1 - slow**self._steps))
        step = np.divide(mean, root, out=np.zeros_like(mean), where=root > 0)
        self._now[name] = (self._now[name] - RATE * share * self._sizes[name] * step).astype(self._now[name].dtype)


def _batches(samples: Sequence[Sample]) -> Iterator[list[Sample]]:
    """All samples in every epoch, each mixed with another, in an order that is the same every time."""
    random = np.random.default_rng(_SEED)
    for _ in range(EPOCHS):
        order, others = random.permutation(len(samples)), random.permutation(len(samples))
        shares = random.random(len(samples))
        mixed = [_between(samples[a], samples[b], share) for a, b, share in zip(order, others, shares, strict=True)]
        yield from (mixed[start : start + BATCH] for start in range(0, len(mixed), BATCH))


def _between(a: Sample, b: Sample, share: float) -> Sample:
    """Floats between those of two samples; all else is that of the first."""
    return {
        name: (share * array + (1 - share) * b[name]).astype(array.dtype) if array.dtype.kind == "f" else array
        for name, array in a.items()
    }
