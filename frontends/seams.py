"""Seams of a model: channels of tensors that can be scaled without a change of what the model computes.

Who makes the channels divides its weights by a factor of each, who reads them multiplies by it, and what stands between
keeps factors: it is positively homogeneous. So nothing is added that would take time when the model runs. Where a
product reads what cannot be divided so, or what others read, too, the tensor itself is: by a multiplication behind who
makes it, and one for those others.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx

from ..errors import ModelError
from .opened import OpenedModel
from .readers import readers_of
from .replaced_weights import with_weights
from .seam_parts import Clip, Edit, Graph, Place, RefusedError
from .seam_rules import LAYERS, RULES, channels_made, channels_read

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class Seam:
    """Channels that are scaled together.

    Attributes:
        name: the tensor of them that is made first.
        channels: how many.
        tensors: those that are divided by the factors, and where their channels are.
        edits: what becomes of initializers.
        clips: nodes that clip, and get an end for each channel.
        behind: whether a multiplication behind who makes the tensor divides it; then it is the only one.
        others: first outputs of those nodes that read it as it was before it was divided.
    """

    name: str
    channels: int
    tensors: Mapping[str, Place]
    edits: tuple[Edit, ...]
    clips: tuple[Clip, ...] = ()
    behind: bool = False
    others: tuple[str, ...] = ()

    @property
    def readers(self) -> set[str]:
        """The weights of those that read the channels."""
        return {edit.weights for edit in self.edits if not edit.divides}

    @property
    def is_free(self) -> bool:
        """Whether no operator is added: weights alone change, and ends of clips."""
        return not self.behind and not self.others


def seams_of(opened: OpenedModel) -> dict[str, Seam]:
    """The seams of a model's graph by name, in order."""
    graph = _graph_of(opened)
    found: dict[str, Seam] = {}
    met: set[str] = set()
    for node in opened.proto.graph.node:
        place = channels_made(graph, node)
        if place is None or node.output[0] in met:
            continue
        seam = _seam(graph, node.output[0], place)
        if seam is not None:
            found[seam.name] = seam
            met |= seam.tensors.keys()
    for node in opened.proto.graph.node:
        source = node.input[0] if node.op_type in LAYERS else ""
        place = None if source in met or source in graph.constants else channels_read(graph, node)
        seam = None if place is None else _alone(graph, source, place)
        if seam is not None:
            found[source] = seam
            met.add(source)
    return dict(sorted(found.items(), key=lambda each: graph.order[each[0]]))


def balanced(opened: OpenedModel, factors: Mapping[str, Array]) -> OpenedModel:
    """The model with channels divided by factors where they are made, and multiplied where they are read.

    Args:
        factors: one for each channel of seams, by their names.

    Raises:
        ModelError: there is no such seam, or it has another number of channels.
    """
    if not factors:
        return opened
    seams = seams_of(opened)
    names = {edit.weights for name in factors if name in seams for edit in seams[name].edits}
    arrays = {
        tensor.name: onnx.numpy_helper.to_array(tensor, str(opened.folder or "")).astype(np.float64)
        for tensor in opened.proto.graph.initializer
        if tensor.name in names
    }
    for name, given in factors.items():
        where = f"{opened.where}: channels of {name!r}"
        if name not in seams:
            raise ModelError("the model has no such channels that could be balanced", where=where)
        if len(given) != seams[name].channels:
            raise ModelError(f"{len(given)} factors are given for {seams[name].channels} channels", where=where)
        for edit in seams[name].edits:
            arrays[edit.weights] = edit.applied(arrays[edit.weights], given)
    changed = with_weights(opened, {name: array.astype(np.float32) for name, array in arrays.items()})
    chosen = {name: (seams[name], np.asarray(given)) for name, given in factors.items()}
    return _multiplied(_clipped(changed, chosen), chosen)


def _clipped(opened: OpenedModel, factors: Mapping[str, tuple[Seam, Array]]) -> OpenedModel:
    """The model whose clips have an end for each channel."""
    clips = {clip.output: (clip, given) for seam, given in factors.values() for clip in seam.clips}
    if not clips:
        return opened
    proto = onnx.ModelProto()
    proto.CopyFrom(opened.proto)
    del proto.graph.node[:]
    for node in opened.proto.graph.node:
        found = clips.get(node.output[0]) if node.output else None
        nodes, arrays = ([node], []) if found is None else found[0].nodes(node, found[1])
        proto.graph.node.extend(nodes)
        proto.graph.initializer.extend(arrays)
    return opened.changed(proto)


def _multiplied(opened: OpenedModel, factors: Mapping[str, tuple[Seam, Array]]) -> OpenedModel:
    """The model with the multiplications that seams need; tensors that are divided keep their names."""
    added = {name: each for name, each in factors.items() if not each[0].is_free}
    if not added:
        return opened
    proto = onnx.ModelProto()
    proto.CopyFrom(opened.proto)
    del proto.graph.node[:]
    whole = {name: f"{name}/whole" for name in added}
    reading = {(output, name): whole[name] for name, (seam, _) in added.items() for output in seam.others}
    for source in opened.proto.graph.node:
        node = proto.graph.node.add()
        node.CopyFrom(source)
        for place, name in enumerate(source.input):
            node.input[place] = reading.get((source.output[0], name), name)
        for place, name in enumerate(source.output):
            if name not in added:
                continue
            seam, given = added[name]
            ends = (name, whole[name])
            if seam.behind:
                node.output[place] = whole[name]
                given, ends = 1 / given, (whole[name], name)
            along = seam.tensors[name].spread(given).astype(np.float32)
            array = onnx.numpy_helper.from_array(along, f"{name}/factors")
            proto.graph.initializer.append(array)
            proto.graph.node.append(onnx.helper.make_node("Mul", [ends[0], array.name], ends[1:], f"{name}/balance"))
    return opened.changed(proto)


def _seam(graph: Graph, start: str, place: Place) -> Seam | None:
    """All that is connected to a tensor's channels; None where something does not let factors through."""
    tensors, edits, clips, waiting = {start: place}, dict[Edit, None](), dict[Clip, None](), [start]
    for name in waiting:
        if name in graph.fixed:
            return None
        for node in (graph.made_by[name], *graph.readers.get(name, ())):
            rule = RULES.get(node.op_type) if node.domain in ("", "ai.onnx") else None
            try:
                found = rule(graph, node, name, tensors[name]) if rule is not None else None
            except RefusedError:
                return None
            if found is None or any(tensors.get(other, where) != where for other, where in found.tensors.items()):
                return None
            edits.update(dict.fromkeys(found.edits))
            clips.update(dict.fromkeys(found.clips))
            waiting += [other for other in found.tensors if other not in tensors]
            tensors.update(found.tensors)
    first = min(tensors, key=lambda each: graph.order[each])
    return Seam(first, place.channels, tensors, tuple(edits), tuple(clips))


def _alone(graph: Graph, name: str, place: Place) -> Seam | None:
    """One tensor that layers read, whoever makes it and reads it, too; None where it cannot be divided."""
    if name in graph.fixed or name not in graph.made_by:
        return None
    edits, others = dict[Edit, None](), list[str]()
    for node in graph.readers[name]:
        found = _taken(graph, node, name, place) if node.op_type in LAYERS else ()
        edits.update(dict.fromkeys(found))
        if not found:
            if name not in node.input:  # a graph inside of it reads it
                return None
            others.append(node.output[0])
    if others and place.axis != -1:  # of images: more would be multiplied than is won
        return None
    made = _taken(graph, graph.made_by[name], name, place)
    if not edits:
        return None
    return Seam(name, place.channels, {name: place}, (*edits, *made), behind=not made, others=tuple(others))


def _taken(graph: Graph, node: onnx.NodeProto, name: str, place: Place) -> tuple[Edit, ...]:
    """What becomes of a node's weights, if these alone take factors."""
    rule = RULES.get(node.op_type) if node.domain in ("", "ai.onnx") else None
    try:
        found = rule(graph, node, name, place) if rule is not None else None
    except RefusedError:
        return ()
    return () if found is None or found.tensors else found.edits


def _graph_of(opened: OpenedModel) -> Graph:
    graph = opened.proto.graph
    typed = onnx.shape_inference.infer_shapes(opened.proto, data_prop=True).graph
    shapes = {
        value.name: tuple(int(axis.dim_value) for axis in value.type.tensor_type.shape.dim)
        for value in (*typed.value_info, *typed.input, *typed.output)
        if value.type.HasField("tensor_type") and value.type.tensor_type.HasField("shape")
    }
    constants = {tensor.name: tensor for tensor in graph.initializer}
    shapes |= {name: tuple(tensor.dims) for name, tensor in constants.items()}
    readers = readers_of(graph)
    made = [(name, node) for node in graph.node for name in node.output if name]
    return Graph(
        constants,
        frozenset(name for name, tensor in constants.items() if tensor.data_type == onnx.TensorProto.FLOAT),
        readers.uses,
        shapes,
        readers.nodes,
        dict(made),
        {name: number for number, (name, _) in enumerate(made)},
        frozenset(value.name for value in (*graph.input, *graph.output)),
        str(opened.folder or ""),
    )
