"""Taps of an opened model: inner values as its outputs, and parts of it between values that are known."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx

from .opened import OpenedModel
from .readers import reads

_FLOATS = (onnx.TensorProto.FLOAT, onnx.TensorProto.DOUBLE, onnx.TensorProto.FLOAT16)


def inner_values(opened: OpenedModel) -> list[str]:
    """The floating-point values that nodes compute, in the nodes' order, those of the outputs included."""
    model = opened.proto
    typed = onnx.shape_inference.infer_shapes(model, data_prop=True).graph
    element = {
        value.name: value.type.tensor_type.elem_type
        for value in (*typed.value_info, *typed.output)
        if value.type.WhichOneof("value") == "tensor_type"
    }
    return [
        name
        for node in model.graph.node
        if node.op_type != "Constant"
        for name in node.output
        if element.get(name) in _FLOATS
    ]


def exposed(opened: OpenedModel, names: Iterable[str]) -> OpenedModel:
    """The model with these values as its outputs, and after them the outputs it has."""
    model = opened.proto
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    typed = onnx.shape_inference.infer_shapes(model, data_prop=True).graph
    known = {value.name: value for value in (*typed.value_info, *typed.output)}
    # What shape inference cannot reach is one of the layers' floats, whose shape the import knows.
    unknown = onnx.TensorProto.FLOAT
    wanted = [known.get(name) or onnx.helper.make_tensor_value_info(name, unknown, None) for name in names]
    rest = [value for value in model.graph.output if value.name not in {value.name for value in wanted}]
    del copy.graph.output[:]
    copy.graph.output.extend([*wanted, *rest])
    return opened.changed(copy)


def cut(
    opened: OpenedModel,
    outputs: Sequence[str],
    values: Mapping[str, npt.NDArray[Any]],
    max_nodes: int | None = None,
) -> OpenedModel:
    """The nodes that compute `outputs`, and no others.

    Args:
        outputs: names of values.
        values: arrays by name; they give the types of outputs and of new inputs.
        max_nodes: keep about so many of the last nodes; what they need from before becomes inputs, as far as it is
            among `values`.
    """
    graph = opened.proto.graph
    producer = {output: index for index, node in enumerate(graph.node) for output in node.output if output}
    constants = {tensor.name: tensor for tensor in graph.initializer}
    kept: set[int] = set()
    inputs: dict[str, None] = {}
    needed: dict[str, None] = {}
    # Breadth first from the outputs: the nodes nearest to them are kept.
    waiting = list(outputs)
    for name in waiting:
        if name in constants:
            needed[name] = None
        elif name not in producer:
            inputs[name] = None
        elif producer[name] in kept:
            continue
        elif max_nodes is not None and len(kept) >= max_nodes and name in values and name not in outputs:
            inputs[name] = None
        else:
            kept.add(producer[name])
            waiting += [each for each in reads(graph.node[producer[name]]) if each]
    # A value that became an input although its node was kept later would be defined twice.
    computed = {output for index in kept for output in graph.node[index].output}
    return _part(
        opened,
        kept,
        needed,
        [typed(name, values[name]) for name in inputs if name not in computed],
        [typed(name, values[name]) for name in outputs],
    )


def between(
    opened: OpenedModel, given: Sequence[onnx.ValueInfoProto], outputs: Sequence[onnx.ValueInfoProto]
) -> OpenedModel:
    """The nodes that compute `outputs` of values that are given, of the model's inputs and of its constants."""
    graph = opened.proto.graph
    producer = {output: index for index, node in enumerate(graph.node) for output in node.output if output}
    constants = {tensor.name for tensor in graph.initializer}
    inputs = {value.name: value for value in graph.input if value.name not in constants}
    inputs |= {value.name: value for value in given}
    kept: set[int] = set()
    needed: dict[str, None] = {}
    read: dict[str, None] = {}
    waiting = [value.name for value in outputs]
    while waiting:
        name = waiting.pop()
        if name in inputs:
            read[name] = None
        elif name in constants:
            needed[name] = None
        elif producer[name] not in kept:
            kept.add(producer[name])
            waiting += [each for each in reads(graph.node[producer[name]]) if each]
    return _part(opened, kept, needed, [inputs[name] for name in inputs if name in read], outputs)


def live_values(opened: OpenedModel) -> list[tuple[str, ...]]:
    """For each node the values that nodes before it compute, constants aside, and that it or nodes behind it read."""
    graph = opened.proto.graph
    last: dict[str, int] = {}
    for index, node in enumerate(graph.node):
        last.update(dict.fromkeys(reads(node), index))
    live: dict[str, None] = {}
    found = []
    for index, node in enumerate(graph.node):
        found.append(tuple(live))
        if node.op_type != "Constant":
            live.update(dict.fromkeys(name for name in node.output if name in last))
        for name in [name for name in live if last[name] <= index]:
            del live[name]
    return found


def _part(
    opened: OpenedModel,
    nodes: Collection[int],
    constants: Iterable[str],
    inputs: Sequence[onnx.ValueInfoProto],
    outputs: Sequence[onnx.ValueInfoProto],
) -> OpenedModel:
    """Some nodes of a model and some of its constants, in their order, with inputs and outputs of their own."""
    graph = opened.proto.graph
    known = {tensor.name: tensor for tensor in graph.initializer}
    part = onnx.ModelProto()
    part.CopyFrom(opened.proto)
    for field in ("node", "input", "output", "initializer", "value_info"):
        part.graph.ClearField(field)
    part.graph.node.extend(node for index, node in enumerate(graph.node) if index in nodes)
    part.graph.initializer.extend(known[name] for name in constants)
    part.graph.input.extend(inputs)
    part.graph.output.extend(outputs)
    return opened.changed(part)


def typed(name: str, value: npt.NDArray[Any]) -> onnx.ValueInfoProto:
    """What declares a tensor of an array's shape and dtype as an input or output."""
    dtype = onnx.helper.np_dtype_to_tensor_dtype(np.asarray(value).dtype)
    return onnx.helper.make_tensor_value_info(name, dtype, np.asarray(value).shape)
