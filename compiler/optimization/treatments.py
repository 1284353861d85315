"""What can be done to a layer: a row for each treatment, and how all layers of a model are treated so."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING, Any

from ...errors import UsageError
from ...ir_passes.compression.factorize import Rank, factor
from ...ir_passes.compression.layer_matrix import can_be_changed, weights_by_outputs
from ...ir_passes.compression.masks import pattern_of
from ...ir_passes.compression.prune_weights import prune
from ..calibration.dense import dense_part, dense_recipe
from ..calibration.quantize import integer_recipe
from ..compression.costs import cycles_on
from ..compression.grams import gram_bytes, grams_of
from ..compression.prune_layers import is_worth_it
from ..compression.trial import Trial
from ..recipes.recipe import (
    Array,
    FloatEntry,
    ModelIdentity,
    PrecisionEntry,
    RankEntry,
    Recipe,
    SparsityEntry,
    WeightsEntry,
)

if TYPE_CHECKING:
    from ..compression.weight_homes import Home
    from .workbench import Workbench

_MOST_GRAM_BYTES = 1 << 29  # of second moments at a time
_GRAM_SAMPLES = 64

# What a recipe says of a layer, and its new weights; None where it has no such treatment.
Changed = tuple[Mapping[str, Any], Array]
Change = Callable[["Home", Array, "Workbench"], "Changed | None"]
Part = Callable[["Workbench"], Recipe]


@dataclass(frozen=True)
class Treatment:
    """One thing that can be done to a layer.

    Attributes:
        name: of it, for people and for the database.
        kind: by which users choose.
        part: gives a recipe that treats all layers so; or
        change: changes one layer, by the second moments of what it reads, to other weights in floats.
    """

    name: str
    kind: str
    part: Part | None = None
    change: Change | None = None


FLOAT = Treatment("float", "float")


def _integers(bench: Workbench) -> Recipe:
    if not bench.network.layers:
        return Recipe()
    return _quantized(integer_recipe(bench.opened, bench.samples, bench.quantizing("int8"), bench.shop, bench.tell))


def _weights(entry: WeightsEntry, bench: Workbench) -> Recipe:
    if not dense_part(bench.network).layers:
        return Recipe()
    asked = bench.quantizing(f"weights {entry.bits}")
    return _quantized(dense_recipe(bench.opened, {"weights": entry}, bench.samples, asked, bench.shop, bench.tell))


def _quantized(found: Recipe) -> Recipe:
    """Of a recipe what it says of layers that do not stay float."""
    stays = found.entries(FloatEntry)
    weights = found.entries(WeightsEntry).keys() - stays.keys()
    layers = {name: entry for name, entry in found.layers.items() if name in weights}
    return replace(found, model=ModelIdentity(), layers=layers)


def _precision(bench: Workbench) -> Recipe:
    if not bench.target.units_for("bfloat16", "bfloat16", "float32"):
        return Recipe()
    return Recipe(layers={layer.name: {"precision": PrecisionEntry("bf16")} for layer in bench.network.layers})


def _zeros(rate: float, home: Home, gram: Array, bench: Workbench) -> Changed | None:
    layer = home.layer
    if layer.name in bench.cut:  # blocks of zeros are those of the channels that are left
        return None
    pattern = f"{bench.target.lanes()}x1"
    pruned = prune(layer, pattern_of(pattern), rate, gram)
    weights = home.from_relax(weights_by_outputs(layer, pruned.weights))
    return None if pruned.mask.all() else ({"sparsity": SparsityEntry(pattern, pruned.rate)}, weights)


def _rank(error: float, home: Home, gram: Array, bench: Workbench) -> Changed | None:
    factored = factor(home.layer, Rank(error=error), gram, cycles_on(bench.target))
    if factored is None:
        return None
    ranks = factored.ranks
    entry = RankEntry(ranks[0] if len(ranks) == 1 else (ranks[0], ranks[1]))
    return {"rank": entry}, home.from_relax(factored.weights.astype(home.layer.weights.dtype))


# Those that promise most come first: they are the first that get time.
TREATMENTS: Sequence[Treatment] = (
    Treatment("int8", "int8", part=_integers),
    Treatment("bf16", "bf16", part=_precision),
    *(Treatment(f"rank within {e:.0%}", "rank", change=partial(_rank, e)) for e in (0.02, 0.05, 0.1, 0.2)),
    *(Treatment(f"zeros {rate:.0%}", "zeros", change=partial(_zeros, rate)) for rate in (0.5, 0.75, 0.9)),
    Treatment("weights int8", "weights", part=partial(_weights, WeightsEntry(8, "block128"))),
    Treatment("weights int4", "weights", part=partial(_weights, WeightsEntry(4, "block32"))),
)
CHANNELS = "channels"  # the kind of the bases that are cut
KINDS = (*dict.fromkeys(each.kind for each in TREATMENTS), CHANNELS)


def checked_kinds(given: Sequence[str]) -> tuple[str, ...]:
    """Kinds of treatments; all where none are given.

    Raises:
        UsageError: there is no such kind.
    """
    kinds = tuple(given) or KINDS
    unknown = [kind for kind in kinds if kind not in KINDS]
    if unknown:
        raise UsageError(f"{unknown[0]!r} is no kind of treatment", where="--try", hint="some of " + ",".join(KINDS))
    return kinds


@dataclass
class _Parts:
    """The recipe of a treatment while layers are changed one by one."""

    layers: dict[str, Mapping[str, Any]] = field(default_factory=dict)
    arrays: dict[str, Array] = field(default_factory=dict)


def changed_layers(bench: Workbench, treatments: Sequence[Treatment]) -> dict[str, Recipe]:
    """A recipe for each of the treatments that change layers one by one, by name; memory holds few moments at a time.

    A layer that a treatment makes what the one before has made of it is left out.
    """
    parts = {each.name: _Parts() for each in treatments}
    trial = Trial({}, bench.network.outputs, bench.exact)
    for number, homes in enumerate(groups := list(_groups(bench))):
        grams = grams_of(homes, trial, bench.samples[:_GRAM_SAMPLES], bench.tell)
        for home in homes:
            bench.tell("change layers", number, len(groups))
            made: list[Mapping[str, Any]] = []
            for treatment in treatments:
                assert treatment.change is not None
                changed = treatment.change(home, grams[home.layer.name], bench)
                if changed is None or changed[0] in made:
                    continue
                made.append(changed[0])
                parts[treatment.name].layers[home.node.name] = changed[0]
                parts[treatment.name].arrays[home.node.weights] = changed[1]
    return {name: Recipe(layers=part.layers, arrays=part.arrays) for name, part in parts.items()}


def _groups(bench: Workbench) -> Iterator[list[Home]]:
    """Layers that can be changed, as many at a time as their second moments fit memory."""
    group: list[Home] = []
    room = _MOST_GRAM_BYTES
    for home in bench.homes:
        if not can_be_changed(home.layer) or not is_worth_it(home):
            continue
        room -= gram_bytes(home)
        if group and room < 0:
            yield group
            group, room = [], _MOST_GRAM_BYTES - gram_bytes(home)
        group.append(home)
    if group:
        yield group
