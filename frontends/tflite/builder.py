"""The ONNX graph that a TensorFlow Lite file becomes, while it is being written."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import helper, numpy_helper

from .model import Graph, Tensor

Array = npt.NDArray[Any]
_OPSET = 20
_IR_VERSION = 10
MICROSOFT = "com.microsoft"  # the domain of ONNX Runtime's own operators
_SCOPES = ("StatefulPartitionedCall/", "StatefulPartitionedCall:", "serving_default_")


class Builder:
    """Nodes and weights so far. Values of the file keep their tensors' names; each name is given once."""

    def __init__(self, graph: Graph, name: str) -> None:
        self._graph = graph
        self._name = name
        self._nodes: list[onnx.NodeProto] = []
        self._weights: dict[str, Array] = {}
        self._taken: dict[str, int] = {}
        self._labels: dict[str, int] = {}
        self._reals: dict[int, str] = {}
        self.names = [self._unique(tensor.name) for tensor in graph.tensors]

    def node(self, op_type: str, inputs: Sequence[str], label: str, **attributes: Any) -> str:
        """Adds a node of one output, named after a layer; returns the output's name."""
        return self.nodes(op_type, inputs, label, 1, **attributes)[0]

    def nodes(self, op_type: str, inputs: Sequence[str], label: str, count: int, **attributes: Any) -> list[str]:
        """Adds a node of several outputs; returns their names."""
        made = [self._unique(f"{label}/{op_type}") for _ in range(count)]
        self._add(op_type, inputs, made, label, attributes)
        return made

    def _add(
        self, op_type: str, inputs: Sequence[str], outputs: list[str], label: str, attributes: Mapping[str, Any]
    ) -> None:
        name = _unused(f"{label}/{op_type}", self._labels)
        given = {key: value for key, value in attributes.items() if value is not None}
        self._nodes.append(helper.make_node(op_type, list(inputs), outputs, name=name, **given))

    def constant(self, value: Array, name: str) -> str:
        """Adds a weight; returns its name."""
        unique = self._unique(name)
        self._weights[unique] = np.ascontiguousarray(value).reshape(np.shape(value))
        return unique

    def stored(self, place: int) -> str:
        """A tensor as it is stored: integers where it is quantized."""
        tensor = self._graph.tensors[place]
        if tensor.data is not None:
            self._weights.setdefault(self.names[place], tensor.data)
        return self.names[place]

    def real(self, place: int) -> str:
        """A tensor's real values: dequantized where it is quantized."""
        tensor = self._graph.tensors[place]
        if place not in self._reals:
            stored = self.stored(place)
            self._reals[place] = self.dequantized(stored, tensor) if tensor.quantization else stored
        return self._reals[place]

    def dequantized(self, stored: str, tensor: Tensor, axis: int | None = None) -> str:
        """The real values of integers that mean what a tensor's do; `axis` where theirs are along another."""
        assert tensor.quantization is not None
        scale, zero_point = self.parameters(tensor)
        along = tensor.quantization.axis if axis is None else axis
        axis = along if tensor.quantization.scales.size > 1 else None
        return self.node("DequantizeLinear", [stored, scale, zero_point], layer_of(tensor.name), axis=axis)

    def finish(self, value: str, place: int) -> None:
        """Makes a value, of real numbers, that of a tensor of the file."""
        tensor = self._graph.tensors[place]
        label = layer_of(tensor.name)
        if tensor.quantization is not None:
            scale, zero_point = self.parameters(tensor)
            self._add("QuantizeLinear", [value, scale, zero_point], [self.names[place]], label, {})
        else:
            self.alias(value, place)

    def alias(self, value: str, place: int) -> None:
        """Gives a value the name of a tensor of the file: the node that makes it, or a copy."""
        maker = next((node for node in reversed(self._nodes) if value in node.output), None)
        used = value in self.names or value in self._reals.values() or any(value in node.input for node in self._nodes)
        if maker is None or used:
            label = layer_of(self._graph.tensors[place].name)
            self._add("Identity", [value], [self.names[place]], label, {})
        else:
            maker.output[list(maker.output).index(value)] = self.names[place]

    def model(self) -> onnx.ModelProto:
        """The graph as an ONNX model."""
        for place in self._graph.outputs:
            self.stored(place)
        inputs, outputs = (
            [self._typed(place) for place in places] for places in (self._graph.inputs, self._graph.outputs)
        )
        weights = [numpy_helper.from_array(value, name) for name, value in self._weights.items()]
        graph = helper.make_graph(self._nodes, self._name, inputs, outputs, weights)
        opsets = [helper.make_opsetid("", _OPSET), helper.make_opsetid(MICROSOFT, 1)]
        return helper.make_model(graph, opset_imports=opsets, ir_version=_IR_VERSION, producer_name="tilewright")

    def _typed(self, place: int) -> onnx.ValueInfoProto:
        tensor = self._graph.tensors[place]
        dtype = helper.np_dtype_to_tensor_dtype(np.dtype(tensor.dtype))
        return helper.make_tensor_value_info(self.names[place], dtype, tensor.shape)

    def parameters(self, tensor: Tensor) -> tuple[str, str]:
        """The scale and the zero point as weights; one number where there is one scale."""
        quantization = tensor.quantization
        assert quantization is not None
        scalar = quantization.scales.size == 1
        scales = quantization.scales.reshape(()) if scalar else quantization.scales
        zeros = (quantization.zero_points.reshape(()) if scalar else quantization.zero_points).astype(tensor.dtype)
        return self.constant(scales, f"{tensor.name}/scale"), self.constant(zeros, f"{tensor.name}/zero_point")

    def _unique(self, name: str) -> str:
        return _unused(name, self._taken)


def _unused(name: str, taken: dict[str, int]) -> str:
    """A name that is not taken, with a number behind it if need be; it is then, and the next number is kept."""
    unique = name
    while unique in taken:
        taken[name] += 1
        unique = f"{name}_{taken[name]}"
    taken[unique] = 1
    return unique


def layer_of(name: str) -> str:
    """The layer that a tensor is named after: the first of the operators that were fused into the one that makes it."""
    first = name.partition(";")[0]
    for scope in _SCOPES:
        first = first.removeprefix(scope)
    return first or name
