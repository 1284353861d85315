"""Seams of a model: channels of tensors that can be scaled without a change of what the model computes.

Who makes the channels divides its weights by a factor of each, who reads them multiplies by it, and what stands between
keeps factors: it is positively homogeneous. So nothing is added that would take time when the model runs.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx

from ..errors import ModelError
from .opened import OpenedModel
from .replaced_weights import with_weights
from .seam_rules import RULES, Edit, Graph, Place, RefusedError, channels_made
from .taps import reads

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class Seam:
    """Channels that are scaled together.

    Attributes:
        name: the tensor of them that is made first.
        channels: how many.
        tensors: those that are divided by the factors, and where their channels are.
        edits: what becomes of initializers.
    """

    name: str
    channels: int
    tensors: Mapping[str, Place]
    edits: tuple[Edit, ...]


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
    return with_weights(opened, {name: array.astype(np.float32) for name, array in arrays.items()})


def _seam(graph: Graph, start: str, place: Place) -> Seam | None:
    """All that is connected to a tensor's channels; None where something does not let factors through."""
    tensors, edits, waiting = {start: place}, dict[Edit, None](), [start]
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
            waiting += [other for other in found.tensors if other not in tensors]
            tensors.update(found.tensors)
    first = min(tensors, key=lambda each: graph.order[each])
    return Seam(first, place.channels, tensors, tuple(edits))


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
    uses = Counter(name for node in graph.node for name in reads(node))
    uses.update(value.name for value in graph.output)
    readers: dict[str, list[onnx.NodeProto]] = {}
    for node in graph.node:
        for name in dict.fromkeys(reads(node)):
            readers.setdefault(name, []).append(node)
    made = [(name, node) for node in graph.node for name in node.output if name]
    return Graph(
        constants,
        frozenset(name for name, tensor in constants.items() if tensor.data_type == onnx.TensorProto.FLOAT),
        uses,
        shapes,
        readers,
        dict(made),
        {name: number for number, (name, _) in enumerate(made)},
        frozenset(value.name for value in (*graph.input, *graph.output)),
        str(opened.folder or ""),
    )
