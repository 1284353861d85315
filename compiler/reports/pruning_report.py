"""What pruning made of a model, for people and for programs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from .report import Table, amount

if TYPE_CHECKING:
    from ..compression.pruning import Pruned

# How the facts about a layer are said, by one of them.
_SAID: Mapping[str, Callable[[Mapping[str, Any]], str]] = {
    "channels": lambda made: "{1} of {0} channels".format(*made["channels"]),
    "dropped": lambda made: "gone with its branch",
    "pattern": lambda made: f"{made['pattern']} zeros",
    "rank": lambda made: f"rank {' and '.join(map(str, made['rank']))}",
}


def to_json(pruned: Pruned) -> dict[str, Any]:
    """Everything but the recipe."""
    layers = {name: asdict(layer) for name, layer in pruned.layers.items()}
    return {
        "kind": "pruning",
        "flops": list(pruned.flops),
        "weights": list(pruned.weights),
        "output_error": dict(pruned.errors),
        "agreement": dict(pruned.agreement),
        "layers": {name: layer.pop("made") | layer for name, layer in layers.items()},
    }


def tables(pruned: Pruned) -> list[str | Table]:
    """The layers that changed, then the whole model."""
    if not pruned.layers:
        return ["no layer changed: none is faster for it within what was asked"]
    stages = list(dict.fromkeys(stage for layer in pruned.layers.values() for stage in layer.errors))
    columns = ("layer", "becomes", ">weights", ">left", ">FLOPs left", *(f">{stage}" for stage in stages))
    title = "layers that changed" + (", and what their outputs on the samples lose" if stages else "")
    layers = Table(columns, title)
    for name, layer in pruned.layers.items():
        said = ", ".join(say(layer.made) for fact, say in _SAID.items() if fact in layer.made)
        errors = (f"{layer.errors[stage]:.2%}" if stage in layer.errors else "" for stage in stages)
        layers.add(name, said, layer.weights[0], _share(layer.weights), _share(layer.flops), *errors)
    totals = [
        f"{what} of layers: {amount(pair[0])} before, {amount(pair[1])} left ({_share(pair)})"
        for what, pair in (("FLOPs", pruned.flops), ("weights", pruned.weights))
    ]
    outputs = [
        f"outputs on the samples, {stage}: {error:.2%} from the model's own" + _agreeing(pruned.agreement.get(stage))
        for stage, error in pruned.errors.items()
    ]
    return [layers, *totals, *outputs]


def _agreeing(share: float | None) -> str:
    return "" if share is None else f", {share:.2%} of the largest values in the same place"


def _share(pair: tuple[int, int]) -> str:
    return f"{pair[1] / max(1, pair[0]):.1%}"
