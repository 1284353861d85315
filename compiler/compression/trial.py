"""A model whose weights can be changed from run to run: one library gives what layers read and make."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ..calibration.samples import Array, Sample
from ..calibration.tapped import Tapped, Workshop, bytes_of, tapped, workshop_of
from .weight_homes import Home, values_of

if TYPE_CHECKING:
    from ...frontends import OpenedModel
    from ..options import CompileOptions
    from ..process.progress import ProgressCallback


@dataclass(frozen=True)
class Closeness:
    """How close outputs are to others.

    Attributes:
        error: root mean square of the difference, as a share of that of the others.
        agreement: how often the largest of a row is the same one; None where rows are single numbers.
    """

    error: float
    agreement: float | None


@dataclass(frozen=True)
class Origin:
    """The model of a trial, and what libraries of its parts are made with."""

    opened: OpenedModel
    shop: Workshop


@dataclass(frozen=True)
class Trial:
    """A model with some of its weights as inputs.

    Attributes:
        weights: the model's own values of them.
        outputs: names of what the model gives.
        tapped: the library.
        origin: what parts of the model are made of; None where nobody asks for parts.
    """

    weights: Mapping[str, Array]
    outputs: tuple[str, ...]
    tapped: Tapped
    origin: Origin | None = None

    def run(self, sample: Sample, weights: Mapping[str, Array]) -> dict[str, Array]:
        """Tensors of one sample by name, with some other weights."""
        return self.tapped.all({**sample, **self.weights, **weights})

    def output_error(self, samples: Sequence[Sample], weights: Mapping[str, Array]) -> float:
        """How far the outputs are from the model's own, as a share of these: root mean squares over all samples."""
        return self.compared(samples, weights).error

    def compared(self, samples: Sequence[Sample], weights: Mapping[str, Array]) -> Closeness:
        """How close the outputs are to the model's own."""
        return self._compared((self.run(sample, {}), self.run(sample, weights)) for sample in samples)

    def judge(self, samples: Sequence[Sample]) -> Callable[[Mapping[str, Array]], float]:
        """`output_error` on some samples, of which the model's own outputs are kept."""
        own = [{name: found[name] for name in self.outputs} for found in (self.run(sample, {}) for sample in samples)]

        def error(weights: Mapping[str, Array]) -> float:
            pairs = ((want, self.run(sample, weights)) for want, sample in zip(own, samples, strict=True))
            return self._compared(pairs).error

        return error

    def _compared(self, pairs: Iterable[tuple[Mapping[str, Array], Mapping[str, Array]]]) -> Closeness:
        """Of what is wanted and what there is, a pair for each sample."""
        difference = energy = 0.0
        same = rows = 0
        for want, have in pairs:
            for name in self.outputs:
                wide = want[name].astype(np.float64)
                difference += float(np.square(wide - have[name]).sum())
                energy += float(np.square(wide).sum())
                if wide.ndim and wide.shape[-1] > 1:
                    largest = wide.argmax(axis=-1)
                    same += int((largest == have[name].argmax(axis=-1)).sum())
                    rows += largest.size
        return Closeness(float(np.sqrt(difference / max(energy, 1e-300))), same / rows if rows else None)


@contextmanager
def trial_of(
    opened: OpenedModel,
    homes: Sequence[Home],
    options: CompileOptions,
    tell: ProgressCallback,
    more: Sequence[str] = (),
    lifted: Sequence[str] = (),
    shop: Workshop | None = None,
) -> Iterator[Trial]:
    """Compiles a model with the weights of some layers as inputs; it gives what these layers read and make.

    Args:
        more: other tensors that it gives, too.
        lifted: other initializers that are inputs, too.
        shop: what it is compiled with; None: one for as long as the block lasts.
    """
    from ...frontends.lifted_weights import with_weights_as_inputs

    own = [name for home in homes for name in (home.node.weights, home.bias) if name]
    weights = values_of(opened, [*own, *lifted])
    border = list(dict.fromkeys(name for home in homes for name in home.border))
    border += [name for name in more if name not in {*border, *weights}]
    model = with_weights_as_inputs(opened, weights)
    outputs = tuple(value.name for value in opened.proto.graph.output)
    with workshop_of(options, tell) if shop is None else nullcontext(shop) as made:
        library = tapped(made, model, border, bytes_of(model, border), name="trial")
        yield Trial(weights, outputs, library, Origin(opened, made))
