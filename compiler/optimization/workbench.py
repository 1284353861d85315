"""What treatments of a base are found and measured with: libraries of the float model, and samples."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ...ir_passes.compression.channel_graph import channel_graph
from ...ir_passes.compression.cut import cut_layers
from ...ir_passes.compression.layers import layers_of
from ...ir_passes.core.graph import Graph
from ..build import target_of
from ..calibration.errors_of_layers import Error, Injected, injected
from ..calibration.network import Layers, Network, network_of, taps_of
from ..calibration.request import Request as Quantizing
from ..calibration.samples import Array, Sample
from ..calibration.tapped import MOST_BYTES, Tapped, Workshop, tapped
from ..compression.weight_homes import Home, weight_homes
from ..extents.ranges import static_shapes
from ..options import CompileOptions
from ..recipes.recipe import KeepEntry, Recipe
from ..runners.device import DeviceRunner
from ..runners.places import place_of

if TYPE_CHECKING:
    from ...frontends import ImportedModel, OpenedModel
    from ...targets import Target
    from ..process.progress import ProgressCallback

_SAMPLES = 32  # that the error of a base is of


@dataclass(frozen=True)
class Workbench:
    """A base, and what answers questions about its layers.

    Attributes:
        opened: the model, with zeros for what the base has cut: it computes what the cut one does.
        recipe: the base's.
        network, homes: its layers.
        cut: those of which channels are cut, by the names that Relax has.
        lost: the square of what its outputs lose, as a share of the whole model's.
        samples: of the inputs, to fit and to calibrate on.
        shop, options: with which libraries are made, for this machine.
        there, target, runner: the same for the machine that is asked for, and what runs them on it; None: this process.
        exact: gives all that layers read and make; `values` is that of one sample.
        disturbed: the model that errors are added to; None where that would take too much memory.
        state: of a way to quantize the file for what is known of it while it is calibrated.
        tell: told of progress.
    """

    opened: OpenedModel
    recipe: Recipe
    network: Network
    homes: Sequence[Home]
    cut: frozenset[str]
    lost: float
    samples: Sequence[Sample]
    shop: Workshop
    options: CompileOptions
    there: Workshop
    target: Target
    runner: DeviceRunner | None
    exact: Tapped
    values: Mapping[str, Array]
    disturbed: Injected | None
    state: Callable[[str], Path]
    tell: ProgressCallback

    def quantizing(self, way: str) -> Quantizing:
        """What is asked of quantizing; what was found of it when it was stopped is not lost."""
        return Quantizing(options=self.options, details=False, state=self.state(way))

    @cached_property
    def by_weights(self) -> Layers:
        """All layers each by itself, with their weights as inputs: one library for all treatments that change those."""
        from ...frontends.layer_parts import layers_by_themselves
        from ...frontends.lifted_weights import with_weights_as_inputs

        layers = [home.node for home in self.homes]
        part = layers_by_themselves(self.opened, layers, self.values)
        lifted = with_weights_as_inputs(part, dict.fromkeys(layer.weights for layer in layers))
        return Layers((self.shop.compiled(lifted, "by_weights"),))

    @cached_property
    def weights(self) -> Mapping[str, Array]:
        """Of all layers that have a home, by the names of initializers."""
        return {home.node.weights: home.from_relax(home.layer.weights) for home in self.homes}


def workbench_of(
    opened: OpenedModel,
    recipe: Recipe,
    samples: Sequence[Sample],
    options: CompileOptions,
    device: str | None,
    shop: Workshop,
    state: Callable[[str], Path],
) -> Workbench:
    """Makes the libraries for a base.

    Args:
        recipe: what is cut, with new weights for what is left; an empty one for the whole model.
        samples: one at least.
        options: for the machine that is asked for.
        device: where libraries for it run; None: here.
        shop, state: as `Workbench` has them.
    """
    from ... import frontends

    there, options = options, here(options, device)
    imported = frontends.load(opened, shapes=static_shapes(options), bindings=options.bindings)
    homes = list(weight_homes(opened, layers_of(Graph.read(imported.module))).values())
    own, cut = _with_zeros(opened, imported, homes, recipe)
    if cut:  # layers with the weights that are left
        imported = frontends.load(own, shapes=static_shapes(options), bindings=options.bindings)
        homes = list(weight_homes(own, layers_of(Graph.read(imported.module))).values())
    network = network_of(own)
    exact = taps_of(shop, network, None, "exact")
    values = exact.all(samples[0])
    lost = _lost(tapped(shop, opened, (), {}, name="whole"), exact, network.outputs, samples) if cut else 0.0
    room = sum(2 * network.sizes.get(layer.output, 0) for layer in network.layers)
    disturbed = injected(shop, network, values) if network.layers and room <= 4 * MOST_BYTES else None
    return Workbench(
        own,
        recipe,
        network,
        homes,
        cut,
        lost,
        samples,
        shop,
        shop.options,
        replace(shop, options=replace(shop.options, **_machine(there))),
        target_of(there),
        None if device is None else DeviceRunner(place_of(device), there.threads or 0),
        exact,
        values,
        disturbed,
        state,
        shop.tell,
    )


def here(options: CompileOptions, device: str | None) -> CompileOptions:
    """The same options for this machine, where others run on a device."""
    return options if device is None else replace(options, **_machine(CompileOptions()))


def _machine(options: CompileOptions) -> dict[str, Any]:
    return {"target": options.target, "cpu": options.cpu, "features": options.features}


def _lost(whole: Tapped, base: Tapped, outputs: Sequence[str], samples: Sequence[Sample]) -> float:
    found = Error()
    for sample in samples[:_SAMPLES]:
        wanted, given = whole.all(sample), base.all(sample)
        for name in outputs:
            found.add(given[name], wanted[name])
    return found.error / found.signal if found.signal else found.error


def _with_zeros(
    opened: OpenedModel, imported: ImportedModel, homes: Sequence[Home], recipe: Recipe
) -> tuple[OpenedModel, frozenset[str]]:
    """The model with the weights of a recipe, and zeros for all outputs that it cuts; and the layers that it cuts."""
    from ...frontends.replaced_weights import with_weights

    keep = {imported.layers[name]: entry.channels for name, entry in recipe.entries(KeepEntry).items()}
    if not keep:
        return with_weights(opened, recipe.arrays), frozenset()
    channels = channel_graph(imported.module)
    cut = cut_layers(channels, keep)
    arrays, touched = dict(recipe.arrays), set()
    for home in homes:
        layer = home.layer
        outputs, inputs = (cut.mask(axis) for axis in (channels.outputs(layer), channels.inputs(layer)))
        if not outputs.all():
            given = arrays.get(home.node.weights)
            weights = layer.weights if given is None else home.from_relax(given)  # a transpose is its own inverse
            shape = [-1 if axis == layer.output_axis else 1 for axis in range(weights.ndim)]
            kept = np.where(outputs.reshape(shape), weights, weights.dtype.type(0))
            arrays[home.node.weights] = home.from_relax(kept)
        if not (outputs.all() and inputs.all()):
            touched.add(layer.name)
    return with_weights(opened, arrays), frozenset(touched)
