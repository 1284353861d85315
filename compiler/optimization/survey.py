"""Builds the database: for each treatment of each layer of a base what the outputs lose, and what its kernels take.

Errors are those at the outputs of the model when one layer is treated and all others are floats: what it makes of exact
inputs, less what floats make of them, is added where the layer is (`errors_of_layers`). Times are those of its kernels
in a library of the whole model in which all layers are treated so.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from ...errors import TilewrightError
from ..calibration.balance import divisors_of
from ..calibration.errors_of_layers import Error
from ..calibration.network import Layers, Network, layers_of, network_of
from ..calibration.timing import Cost, costs_of, costs_of_rounds
from ..library.artifact import load, read_file
from ..recipes.identity import with_balance
from ..recipes.recipe import Recipe
from ..runners.device import printed_by
from .database import Database, Row, Surveyed
from .treatments import FLOAT, Treatment, changed_layers

if TYPE_CHECKING:
    from ...frontends import OpenedModel
    from .workbench import Workbench

_ERROR_SAMPLES = 8
_RUNS = 41  # of kernels, of which the median counts


def survey(bench: Workbench, base: str, treatments: Sequence[Treatment], database: Database) -> None:
    """Fills in what the database lacks of treatments of a base, and of the base itself.

    Raises:
        TimeIsUpError: the workbench's `tell` says so; what is complete by then is in the database.
    """
    missing = [each for each in treatments if (base, each.name) not in database.surveyed]
    if FLOAT in missing:
        _base_itself(bench, base, database)
    changing = [each for each in missing if each.change is not None]
    if any(database.recipe(_name(base, each)) is None for each in changing):
        for name, recipe in changed_layers(bench, changing).items():
            database.keep(_name(base, name), recipe)
    for treatment in missing:
        part = database.recipe(_name(base, treatment))
        if part is None and treatment.part is not None:
            part = treatment.part(bench)
            database.keep(_name(base, treatment), part)
        if part is not None:
            database.add([*_rows(bench, base, treatment, part), Surveyed(base, treatment.name)])


def _base_itself(bench: Workbench, base: str, database: Database) -> None:
    costs, whole, size = _costs(bench, bench.opened, bench.recipe, "float")
    lines = [Row(base, FLOAT.name, layer, 0.0, cost.seconds, cost.constant_bytes) for layer, cost in costs.items()]
    database.add([*lines, Surveyed(base, FLOAT.name, bench.lost, whole.seconds, size)])


def parts_of(database: Database) -> dict[tuple[str, str], Recipe]:
    """The recipes of all treatments that were surveyed, by base and treatment."""
    found = {}
    for base, treatment in database.surveyed:
        recipe = database.recipe(_name(base, treatment))
        if recipe is not None:
            found[base, treatment] = recipe
    return found


def _name(base: str, treatment: Treatment | str) -> str:
    return f"{base} {treatment if isinstance(treatment, str) else treatment.name}"


def _rows(bench: Workbench, base: str, treatment: Treatment, part: Recipe) -> list[Row]:
    """A row for each layer that the treatment makes another of; none where the target computes it in floats."""
    if not part.layers:
        return []
    kept: dict[str, str] = {}
    layers: dict[str, Mapping[str, Any]] = dict(bench.recipe.layers)
    for name, sections in part.layers.items():
        layers[name] = {**layers.get(name, {}), **sections}
    try:
        own = with_balance(part, bench.opened)  # which has the base's weights
        costs, _, _ = _costs(bench, own, replace(part, layers=layers), treatment.name, kept)
        names = {name for name in part.layers if name in costs and not kept.get(name)}
        errors = _errors(bench, treatment, part, own, names)
    except TilewrightError:
        return []  # the target cannot do it to this model
    return [
        Row(base, treatment.name, name, error, costs[name].seconds, costs[name].constant_bytes)
        for name, error in errors.items()
    ]


def _costs(
    bench: Workbench, opened: OpenedModel, recipe: Recipe, name: str, kept: dict[str, str] | None = None
) -> tuple[dict[str, Cost], Cost, int]:
    """What the kernels of each layer take, what all take, and the bytes of the file."""
    path = bench.there.built(opened, _file(name), recipe, kept)
    bench.tell(f"measure {name}", 0, 0)
    names = {layer.hint: layer.name for layer in bench.network.layers}
    sample = bench.samples[0]
    if bench.runner is None:
        costs, whole = costs_of(load(path), sample, names, _RUNS)
    else:
        library = read_file(path)
        found = bench.runner.profile(library, sample, runs=_RUNS + 1)
        printed_by(found.ended, str(path))
        costs, whole = costs_of_rounds(library.signature, found.rounds(len(library.signature.steps)), names)
    return costs, whole, path.stat().st_size


def _errors(
    bench: Workbench, treatment: Treatment, part: Recipe, opened: OpenedModel, names: set[str]
) -> dict[str, float]:
    """The error of each layer, at the outputs of the model; at its own, where the model is too large for that.

    Args:
        opened: the base with its channels balanced as the treatment has them.
        names: of the layers.
    """
    network = network_of(opened) if part.balance else bench.network
    network = network.of([layer for layer in network.layers if layer.name in names])
    exact = replace(bench.exact, divisors=divisors_of(bench.opened, part.balance))
    found = {layer.name: Error() for layer in network.layers}
    changed = treatment.change is not None  # to other floats, which one library takes
    values = exact.all(bench.samples[0]) if part.balance else bench.values
    layers = bench.by_weights if changed else _by_themselves(bench, treatment, network, values, part)
    weights = {**bench.weights, **part.arrays} if changed else {}
    for number, sample in enumerate(bench.samples[:_ERROR_SAMPLES]):
        bench.tell(f"errors of {treatment.name}", number, min(_ERROR_SAMPLES, len(bench.samples)))
        values = exact.all(sample)
        results = layers.run({**values, **weights})
        for layer in network.layers:
            if bench.disturbed is None:
                found[layer.name].add(results[layer.output], values[layer.output])
                continue
            error = exact.undivided(layer.output, results[layer.output] - values[layer.output])
            outputs = bench.disturbed.run(sample, {layer.output: error})
            for name in network.outputs:
                found[layer.name].add(outputs[name], values[name])
    return {name: error.error / error.signal if error.signal else error.error for name, error in found.items()}


def _by_themselves(
    bench: Workbench, treatment: Treatment, network: Network, values: Mapping[str, Any], part: Recipe
) -> Layers:
    return layers_of(bench.shop, network, values, part, _file(f"{treatment.name} by itself"))


def _file(name: str) -> str:
    return "".join(each if each.isalnum() else "_" for each in name)
