"""What may be done to a model as a whole: a base, and a treatment for each layer; and the recipe that this is."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import chain
from typing import TYPE_CHECKING, Any

from ..compression.weight_homes import values_of
from ..recipes.identity import identity_of, with_balance
from ..recipes.recipe import Array, BalanceEntry, Recipe, TensorEntry
from ..recipes.shared_scales import shared_entries
from .treatments import FLOAT

if TYPE_CHECKING:
    from ...frontends import OpenedModel
    from ...frontends.linear_layers import LinearLayer

WHOLE = "whole"  # the base of which no channel is cut


@dataclass(frozen=True)
class Candidate:
    """A base and the layers that get a treatment, in the model's order; all others stay as the base has them."""

    base: str = WHOLE
    treated: tuple[tuple[str, str], ...] = ()

    @property
    def key(self) -> str:
        """By which it is recorded."""
        return json.dumps([self.base, self.treated], separators=(",", ":"))

    @property
    def is_exact(self) -> bool:
        """Whether it is the model as it came."""
        return self.base == WHOLE and not self.treated

    @cached_property
    def of(self) -> Mapping[str, str]:
        """The treatments by layer."""
        return dict(self.treated)

    def treating(self, changes: Mapping[str, str], order: Iterable[str]) -> Candidate:
        """The same with other treatments of some layers.

        Args:
            order: all layers, in the model's order.
        """
        of = {**self.of, **changes}
        return replace(
            self, treated=tuple((layer, of[layer]) for layer in order if of.get(layer, FLOAT.name) != FLOAT.name)
        )


def candidate_of(key: str) -> Candidate:
    """A candidate by its key.

    Raises:
        ValueError, TypeError: it is no key.
    """
    base, treated = json.loads(key)
    found = Candidate(base, tuple((layer, treatment) for layer, treatment in treated))
    if not all(isinstance(name, str) for name in (base, *chain(*found.treated))):
        raise ValueError("names are text")
    return found


@dataclass
class Parts:
    """What candidates are put together of.

    Attributes:
        opened: the model.
        layers: of it, by name.
        bases: recipes of what is cut, by name.
        recipes: of each base and treatment one that treats all layers so.
    """

    opened: OpenedModel
    layers: Mapping[str, LinearLayer]
    bases: dict[str, Recipe] = field(default_factory=dict)
    recipes: dict[tuple[str, str], Recipe] = field(default_factory=dict)

    def recipe(self, candidate: Candidate) -> Recipe:
        """What `compile` takes.

        A treatment by integers that balances channels does so in the whole model, which computes the same: what other
        treatments made of weights is balanced, too.
        """
        from ...frontends.replaced_weights import with_weights

        base = self.bases.get(candidate.base, Recipe())
        sections: dict[str, Mapping[str, Any]] = dict(base.layers)
        tensors: dict[str, TensorEntry] = {}
        balance: dict[str, BalanceEntry] = {}
        # Weights of the model, and those of one whose channels are balanced.
        arrays: dict[str, Array] = dict(base.arrays)
        balanced: dict[str, Array] = {}
        for name, treatment in candidate.treated:
            part, layer = self.recipes[candidate.base, treatment], self.layers[name]
            sections[name] = {**sections.get(name, {}), **part.layers[name]}
            own = {each: part.arrays[each] for each in (layer.weights, layer.bias) if each in part.arrays}
            if layer.root in part.tensors:
                tensors[layer.root] = part.tensors[layer.root]
            if part.tensors:
                balance |= part.balance
                balanced |= own
            else:
                arrays |= own
        found = Recipe(identity_of(self.opened), {}, sections, balance=balance)
        model = with_balance(found, with_weights(self.opened, arrays)) if balance else self.opened
        if balance:
            arrays = values_of(model, [*arrays])
        return replace(found, tensors=shared_entries(model, tensors), arrays={**arrays, **balanced})
