"""A changed network's twin: the model that it came from, with weights of which it computes what the changed one does.

Where layers read channels that are cut, their weights are zeros; zeros and low ranks are put into the weights as well;
a branch that is dropped is passed by. Any runtime takes the twin, so it is the float model of a pruned network, and
with pairs in it the reference arithmetic of one that is quantized, too.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import networkx as nx
import onnx

from ...errors import UnsupportedError
from ...ir_passes.compression.channel_graph import channel_graph
from ...ir_passes.compression.cut import cut_layers
from ...ir_passes.compression.cut_channels import without
from ...ir_passes.compression.factorize import Rank, factor
from ...ir_passes.compression.layer_matrix import can_be_changed, weights_by_outputs
from ...ir_passes.compression.layers import Layer, layers_of
from ...ir_passes.compression.masks import pattern_of
from ...ir_passes.compression.prune_weights import prune
from ...ir_passes.core.graph import Graph
from ..compression.refit import cut_weights
from ..compression.weight_homes import Home, weight_homes
from ..compression.what_is_left import left_of
from ..extents.ranges import static_shapes
from ..options import CompileOptions
from ..recipes.identity import with_its_weights
from ..recipes.recipe import Array, DropEntry, FloatEntry, KeepEntry, ModelIdentity, RankEntry, Recipe, SparsityEntry

if TYPE_CHECKING:
    from ...frontends import ImportedModel, OpenedModel

_END = -1  # stands behind all outputs
_CHANGES = (DropEntry, KeepEntry, RankEntry, SparsityEntry)


def twin_of(opened: OpenedModel, recipe: Recipe, options: CompileOptions) -> OpenedModel:
    """The twin of a model that a recipe changes; the model with the recipe's weights where it changes nothing else.

    Raises:
        UnsupportedError: weights of a layer that reads what is cut, or that are changed, are no initializer of its own.
        CutError: as a compile.
    """
    from ... import frontends
    from ...frontends.replaced_weights import with_weights

    opened = with_its_weights(recipe, opened)
    dropped = [name for name, entry in recipe.entries(DropEntry).items() if entry.drop]
    keep = recipe.entries(KeepEntry)
    weights = {**recipe.entries(RankEntry), **recipe.entries(SparsityEntry)}
    if dropped:
        opened = _without_branches(opened, dropped)
    if not keep and not weights:
        return opened
    imported = frontends.load(opened, shapes=static_shapes(options), bindings=options.bindings)
    return with_weights(opened, _changed(opened, imported, keep, weights, recipe))


def without_changes(recipe: Recipe) -> Recipe:
    """What is left of a recipe for the twin: how it is quantized."""
    return replace(
        recipe,
        model=ModelIdentity(),
        arrays={},
        balance={},
        layers={
            name: {key: entry for key, entry in sections.items() if not isinstance(entry, _CHANGES)}
            | (
                {"float": FloatEntry("of a lower rank")}
                if any(isinstance(e, RankEntry) for e in sections.values())
                else {}
            )
            for name, sections in recipe.layers.items()
        },
    )


def _changed(
    opened: OpenedModel,
    imported: ImportedModel,
    keep: Mapping[str, KeepEntry],
    entries: Mapping[str, Any],
    recipe: Recipe,
) -> dict[str, Array]:
    """New weights of the whole model: zeros where layers read what is cut; of what is left, zeros and low ranks."""
    module, cut, found = imported.module, None, {}
    layers: Mapping[str, Layer] = layers_of(Graph.read(module))
    if keep:
        channels = channel_graph(module)
        cut = cut_layers(channels, {imported.layers[name]: entry.channels for name, entry in keep.items()})
        module, layers = without(module, cut).module, channels.layers
    homes = weight_homes(opened, layers)
    if cut is not None:
        reading = [name for name, layer in layers.items() if not cut.mask(cut.channels.inputs(layer)).all()]
        _check_homes(reading, homes, recipe)
        found = cut_weights([homes[name] for name in reading], cut)
    left = layers_of(Graph.read(module))
    named = {imported.layers[name]: entry for name, entry in entries.items()}
    changing = [name for name in named if name in left and can_be_changed(left[name])]
    _check_homes(changing, homes, recipe)
    for name, own in left_of([homes[name] for name in changing], module, cut, {}).items():
        weights = _WEIGHTS[type(named[name])](own.layer, named[name])
        if weights is not None:
            place = homes[name].node.weights
            before = found.get(place, homes[name].from_relax(homes[name].layer.weights))
            found[place] = own.whole(weights, before)
    return found


def _with_zeros(layer: Layer, entry: SparsityEntry) -> Array | None:
    return weights_by_outputs(layer, prune(layer, pattern_of(entry.pattern), entry.rate).weights)


def _of_rank(layer: Layer, entry: RankEntry) -> Array | None:
    factored = factor(layer, Rank(entry.ranks))
    return None if factored is None else factored.weights.astype(layer.weights.dtype)


_WEIGHTS: Mapping[type, Callable[[Layer, Any], Array | None]] = {SparsityEntry: _with_zeros, RankEntry: _of_rank}


def _check_homes(names: Iterable[str], homes: Mapping[str, Home], recipe: Recipe) -> None:
    homeless = [name for name in names if name not in homes]
    if homeless:
        raise UnsupportedError(
            "the model has the weights of a layer that changes for others, too, or computes them, so that it cannot be "
            "compared with the changed network",
            where=f"{recipe.where}: layer {homeless[0]!r}",
        )


def _without_branches(opened: OpenedModel, names: Iterable[str]) -> OpenedModel:
    """The model in which the sum at the end of a node's branch is its other operand, or the node its own where it is in
    no branch: as `DropBranches` has it."""
    from ...frontends.readers import reads

    proto = onnx.ModelProto()
    proto.CopyFrom(opened.proto)
    nodes, constants = proto.graph.node, {tensor.name for tensor in proto.graph.initializer}
    made = {name: index for index, node in enumerate(nodes) for name in node.output if name}
    flow = nx.DiGraph()
    flow.add_edges_from((made[name], index) for index, node in enumerate(nodes) for name in reads(node) if name in made)
    flow.add_edges_from((made[value.name], _END) for value in proto.graph.output if value.name in made)
    after = nx.immediate_dominators(flow.reverse(copy=False), _END)
    for name in names:
        start = next(index for index, node in enumerate(nodes) if name in (node.name, *node.output))
        behind = {start, *nx.descendants(flow, start)}
        place, operand = start, nodes[start].input[0]
        end = start
        while end in made.values():
            past = [each for each in nodes[end].input if each not in constants and made.get(each) not in behind]
            if nodes[end].op_type == "Add" and len(past) == 1:
                place, operand = end, past[0]
                break
            end = after.get(end, _END)
        passing = onnx.helper.make_node("Identity", [operand], nodes[place].output[:1], nodes[place].name)
        nodes[place].CopyFrom(passing)
    return opened.changed(proto)
