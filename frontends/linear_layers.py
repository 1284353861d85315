"""The layers of a model that integers may compute: products and convolutions with weights, products of two tensors."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import onnx

from ..ir_passes.core.sources import escape
from .onnx.carriers import moved_from
from .onnx.proto_walk import constants_of
from .opened import OpenedModel
from .readers import readers_of


@dataclass(frozen=True)
class LinearLayer:
    """A node that multiplies a tensor with weights, or with another tensor.

    Attributes:
        name: of the node, or its first output where it has none.
        operator: ONNX's.
        hint: the name that its bindings and kernels have.
        index: its place among the nodes.
        source: the tensor that it reads.
        root: the tensor that this one's elements come from, before they were only moved; it is what is quantized.
        output: the tensor that it makes.
        weights: the initializer; "" where it multiplies with another tensor.
        bias: the initializer that is added to it, if it is the layer's alone; else "".
        column: the axis of the weights that the columns of the product are.
        other, other_root: the other tensor, and where its elements come from; "" where it has weights.
    """

    name: str
    operator: str
    hint: str
    index: int
    source: str
    root: str
    output: str
    weights: str
    bias: str
    column: int
    other: str = ""
    other_root: str = ""

    @property
    def reads(self) -> dict[str, str]:
        """The tensors that it reads, and where the elements of each come from."""
        return {self.source: self.root} | ({self.other: self.other_root} if self.other else {})


def linear_layers(opened: OpenedModel) -> list[LinearLayer]:
    """The layers of the model's graph, in order, that have a name of their own."""
    graph = opened.proto.graph
    kinds = {tensor.name: tensor for tensor in graph.initializer if tensor.data_type == onnx.TensorProto.FLOAT}
    constants = constants_of(graph)
    uses = readers_of(graph).uses
    names = Counter(layer_name(node) for node in graph.node)
    roots = moved_from(opened.graph_form().graph)
    found = []
    for index, node in enumerate(graph.node):
        if node.domain not in ("", "ai.onnx") or node.op_type not in _COLUMNS or len(node.input) < 2:
            continue
        weights = kinds.get(node.input[1])
        if weights is None or node.input[0] in constants or names[layer_name(node)] > 1 or not _takes(node, weights):
            continue
        bias = node.input[2] if len(node.input) > 2 else ""
        known = bias in kinds and uses[bias] == 1 and len(kinds[bias].dims) == 1 and not has_factors(node)
        found.append(
            replace(
                _layer(index, node, roots),
                weights=node.input[1],
                bias=bias if known else "",
            )
        )
    return found


def products_of_tensors(opened: OpenedModel) -> list[LinearLayer]:
    """The products of two tensors of float32, none of them a constant, in order."""
    graph = opened.proto.graph
    constants = constants_of(graph)
    names = Counter(layer_name(node) for node in graph.node)
    found = [
        (index, node)
        for index, node in enumerate(graph.node)
        if node.op_type == "MatMul" and node.domain in ("", "ai.onnx") and names[layer_name(node)] == 1
        if constants.isdisjoint(node.input)
    ]
    roots = moved_from(opened.graph_form().graph) if found else {}
    matrices = _matrices(opened.proto) if found else set()
    return [
        replace(_layer(index, node, roots), other=node.input[1], other_root=roots.get(node.input[1], node.input[1]))
        for index, node in found
        if matrices.issuperset(node.input)
    ]


def nodes_that_multiply(opened: OpenedModel) -> dict[str, bool]:
    """The nodes that have a layer's operator and a name of their own: whether what they multiply with is constant."""
    graph = opened.proto.graph
    constants = {tensor.name for tensor in graph.initializer}
    names = Counter(layer_name(node) for node in graph.node)
    return {
        layer_name(node): node.input[1] in constants
        for node in graph.node
        if node.op_type in _COLUMNS and node.domain in ("", "ai.onnx") and names[layer_name(node)] == 1
    }


def computed_before(opened: OpenedModel) -> dict[str, str]:
    """Of nodes that compute what an earlier one does, the names: theirs, and that of the first."""
    first: dict[tuple[Any, ...], onnx.NodeProto] = {}
    same: dict[str, str] = {}
    found: dict[str, str] = {}
    for node in opened.proto.graph.node:
        attributes = sorted(each.SerializeToString(deterministic=True) for each in node.attribute)
        reads = tuple(same.get(name, name) for name in node.input)
        earlier = first.setdefault((node.domain, node.op_type, reads, *attributes), node)
        if earlier is not node and reads:
            same.update(zip(node.output, earlier.output, strict=False))
            found[layer_name(node)] = layer_name(earlier)
    return found


def _layer(index: int, node: onnx.NodeProto, roots: Mapping[str, str]) -> LinearLayer:
    """What a node is as a layer, whatever its second operand is."""
    return LinearLayer(
        name=layer_name(node),
        operator=node.op_type,
        hint=escape(node.name or f"{node.op_type}_{layer_name(node)}"),
        index=index,
        source=node.input[0],
        root=roots.get(node.input[0], node.input[0]),
        output=node.output[0],
        weights="",
        bias="",
        column=_column(node),
    )


def _matrices(model: onnx.ModelProto) -> set[str]:
    """The tensors of float32 that have two axes at least, as far as shape inference finds them."""
    typed = onnx.shape_inference.infer_shapes(model, data_prop=True).graph
    return {
        value.name
        for value in (*typed.value_info, *typed.input)
        if value.type.tensor_type.elem_type == onnx.TensorProto.FLOAT and len(value.type.tensor_type.shape.dim) > 1
    }


# Operators with weights -> the axis of the weights that columns are.
_COLUMNS = {"Conv": 0, "Gemm": 1, "MatMul": 1}


def layer_name(node: onnx.NodeProto) -> str:
    """The name that a recipe has for a node: its own, or that of its first output."""
    return node.name or next((name for name in node.output if name), "")


def _attributes(node: onnx.NodeProto) -> dict[str, float]:
    return {each.name: onnx.helper.get_attribute_value(each) for each in node.attribute}


def _takes(node: onnx.NodeProto, weights: onnx.TensorProto) -> bool:
    if node.op_type == "Conv":
        return len(weights.dims) >= 3
    return len(weights.dims) == 2 and not _attributes(node).get("transA", 0)


def has_factors(node: onnx.NodeProto) -> bool:
    """Whether a node multiplies its product, or what it adds, with a factor: then its bias is not the initializer."""
    attributes = _attributes(node)
    return node.op_type == "Gemm" and any(attributes.get(name, 1.0) != 1.0 for name in ("alpha", "beta"))


def _column(node: onnx.NodeProto) -> int:
    return 0 if _attributes(node).get("transB", 0) else _COLUMNS[node.op_type]
