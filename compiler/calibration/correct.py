"""The corrections of a model, each kept only where it lowers errors on samples that are held out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ...errors import UsageError
from ..process.checksum import key_of
from ..process.progress import ProgressCallback
from ..recipes.recipe import BalanceEntry, Recipe, WeightsEntry
from .balance import balance_channels, divisors_of
from .bias_correction import correct_biases
from .collect import Digest
from .findings import Correction
from .finished import Finished
from .layer_matrices import matrix_layers
from .network import Layers, Network
from .rounding import Subject, round_weights
from .samples import Sample
from .split import Split
from .tapped import Tapped, Workshop

if TYPE_CHECKING:
    from ...frontends import OpenedModel

CHANNELS, ROUNDING, BIASES = "channels", "rounding", "biases"
CORRECTIONS = (CHANNELS, ROUNDING, BIASES)  # in the order in which they are made


def corrections_of(asked: bool | Sequence[str]) -> tuple[str, ...]:
    """All of them, none, or some by name.

    Raises:
        UsageError: there is none of a name.
    """
    if isinstance(asked, bool):
        return CORRECTIONS if asked else ()
    for name in asked:
        if name not in CORRECTIONS:
            raise UsageError(f"{name!r} is no correction", where="--correct", hint="one of " + ", ".join(CORRECTIONS))
    return tuple(asked)


@dataclass
class Corrections:
    """Makes those that are asked for, and keeps what was found.

    Attributes:
        shop, tell: what models are compiled with, and who is told.
        asked: of `CORRECTIONS`.
        entry, bits: how weights and activations are quantized.
        state: a file beside which finished ones are kept until `forget`.
        key: what they depend on.
        layers: what was tried of each layer.
        balance: factors that were kept.
    """

    shop: Workshop
    tell: ProgressCallback
    asked: Sequence[str]
    entry: WeightsEntry
    bits: int
    state: Path | None
    key: str

    def __post_init__(self) -> None:
        self.layers: dict[str, list[Correction]] = {}
        self.balance: dict[str, BalanceEntry] = {}
        self._finished: list[Finished] = []

    def balanced(self, network: Network, exact: Tapped, split: Split) -> tuple[OpenedModel, Tapped]:
        """A model that computes the same with channels of like size, and what gives its tensors.

        Args:
            exact: gives those of the network.
            split: whose first samples are chosen by, and judged by.
        """
        from ...frontends.seams import balanced, seams_of

        seams = tuple(seams_of(network.opened).values()) if CHANNELS in self.asked else ()
        samples = split.ahead() if seams else ([], [])
        if not all(samples):
            return network.opened, exact
        layers = matrix_layers(network.opened, self.shop.options, network.layers)
        finished = self._from_file(CHANNELS, Digest(chain(*samples)).text)
        found = balance_channels(network, layers, seams, exact, samples, self.entry, self.bits, finished, self.tell)
        finished.write()
        self.balance = found.entries
        self._take_down(CHANNELS, found.ratios, found.kept)
        factors = {name: np.array(entry.factors) for name, entry in found.entries.items()}
        return balanced(network.opened, factors), replace(exact, divisors=divisors_of(network.opened, found.entries))

    def rounded(
        self, network: Network, recipe: Recipe, exact: Tapped, samples: Sequence[Sample], held: Sequence[Sample]
    ) -> Recipe:
        """A recipe with weights that are rounded by second order.

        Args:
            network: the layers that are quantized.
        """
        if ROUNDING not in self.asked or not network.layers:
            return recipe
        matrices = matrix_layers(network.opened, self.shop.options, network.layers)
        entries = recipe.entries(WeightsEntry)
        subjects = [
            Subject(matrix, recipe.tensors.get(matrix.node.root), entries[name])
            for name, matrix in matrices.items()
            if name in entries
        ]
        finished = self._from_file(ROUNDING, key_of(str(recipe.tensors), str(self.balance), Digest(samples).text))
        found = round_weights(subjects, exact, samples, held, finished, self.tell)
        weights = {subject.name: subject.matrix.node.weights for subject in subjects}
        self._take_down(ROUNDING, found.ratios, {name for name, own in weights.items() if own in found.arrays})
        return replace(recipe, arrays={**recipe.arrays, **found.arrays})

    def shifted(
        self,
        network: Network,
        recipe: Recipe,
        exact: Tapped,
        alone: Layers,
        samples: Sequence[Sample],
        held: Sequence[Sample],
    ) -> tuple[Recipe, Layers]:
        """A recipe with corrected biases, and the layers by themselves with them.

        Args:
            network: the layers that are quantized.
            alone: these by themselves.
        """
        if BIASES not in self.asked:
            return recipe, alone
        found = correct_biases(network, exact, alone, samples, held, self.tell)
        kept = {layer.name for layer in network.layers if layer.bias in found.arrays}
        self._take_down(BIASES, found.ratios, kept)
        return replace(recipe, arrays={**recipe.arrays, **found.arrays}), replace(alone, offsets=found.offsets)

    def explained(self, recipe: Recipe) -> Recipe:
        """A recipe with the factors of channels, whose layers say what was corrected."""
        layers = {name: dict(sections) for name, sections in recipe.layers.items()}
        for name, corrections in self.layers.items():
            entry = layers.get(name, {}).get("weights")
            texts = [f"{each.kind}: error {each.ratio:.2f} of that without" for each in corrections if each.kept]
            if isinstance(entry, WeightsEntry) and texts:
                layers[name]["weights"] = replace(entry, why="; ".join(texts))
        return replace(recipe, layers=layers, balance=self.balance)

    def forget(self) -> None:
        """Removes what was kept between runs."""
        for each in self._finished:
            each.remove()

    def _from_file(self, kind: str, key: str) -> Finished:
        path = None if self.state is None else self.state.with_suffix(f".{kind}.npz")
        found = Finished(path, key_of(self.key, key, self.bits, self.entry.granularity))
        self._finished.append(found)
        return found

    def _take_down(self, kind: str, ratios: dict[str, float], kept: set[str]) -> None:
        for name, ratio in ratios.items():
            self.layers.setdefault(name, []).append(Correction(kind, ratio, name in kept))
