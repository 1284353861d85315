"""Parts of a model that errors of layers are measured with: layers each by itself, and a model that is disturbed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx

from .linear_layers import LinearLayer
from .opened import OpenedModel
from .taps import typed

# What is put behind a tensor's name: where a layer by itself gives it, and where a disturbance is added to it.
BY_ITSELF, DISTURBANCE, _BEFORE = "/by_itself", "/disturbance", "/before"


def layers_by_themselves(
    opened: OpenedModel, layers: Sequence[LinearLayer], values: Mapping[str, npt.NDArray[Any]]
) -> OpenedModel:
    """A model of layers side by side: its inputs are the tensors that they read, under the names of their roots.

    Args:
        layers: some of the model's; `OUTPUT + BY_ITSELF` are the names of the results.
        values: arrays of the sources' and outputs' shapes by name.
    """
    graph = opened.proto.graph
    constants = {tensor.name: tensor for tensor in graph.initializer}
    part = _empty(opened)
    inputs: dict[str, None] = {}
    weights: dict[str, None] = {}
    for layer in layers:
        node = onnx.NodeProto()
        node.CopyFrom(graph.node[layer.index])
        node.output[0] = layer.output + BY_ITSELF
        inputs.update(dict.fromkeys(layer.reads))
        weights.update((name, None) for name in node.input[1:] if name)
        part.graph.node.append(node)
        part.graph.output.append(typed(layer.output + BY_ITSELF, values[layer.output]))
    part.graph.initializer.extend(constants[name] for name in weights if name in constants)
    part.graph.input.extend(typed(name, values[name]) for name in inputs)
    return opened.changed(part)


def disturbed(opened: OpenedModel, tensors: Sequence[str], values: Mapping[str, npt.NDArray[Any]]) -> OpenedModel:
    """The model with an input more for each tensor, `TENSOR + DISTURBANCE`, that is added to it where it is made."""
    changed = onnx.ModelProto()
    changed.CopyFrom(opened.proto)
    wanted = set(tensors)
    del changed.graph.node[:]
    for source in opened.proto.graph.node:
        node = onnx.NodeProto()
        node.CopyFrom(source)
        made = [name for name in node.output if name in wanted]
        for index, name in enumerate(node.output):
            if name in wanted:
                node.output[index] = name + _BEFORE
        changed.graph.node.append(node)
        changed.graph.node.extend(
            onnx.helper.make_node("Add", [name + _BEFORE, name + DISTURBANCE], [name], name + DISTURBANCE)
            for name in made
        )
    changed.graph.input.extend(typed(name + DISTURBANCE, np.asarray(values[name])) for name in tensors)
    return opened.changed(changed)


def _empty(opened: OpenedModel) -> onnx.ModelProto:
    part = onnx.ModelProto()
    part.CopyFrom(opened.proto)
    for field in ("node", "input", "output", "initializer", "value_info"):
        part.graph.ClearField(field)
    return part
