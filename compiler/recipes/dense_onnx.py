"""Dense layers of few bits as plain ONNX: floats that have the values which a recipe's integers stand for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import onnx
from onnx import helper, numpy_helper

from ...frontends.linear_layers import LinearLayer, linear_layers
from ...ir_passes.dialect.quantized_arithmetic import LARGEST_OF_ROW, ROW_STEP
from ...ir_passes.quantization.quantize_weights import in_blocks
from .dense import dense_layers
from .identity import with_its_weights
from .quantized_onnx import quantized_model
from .recipe import Array, Recipe

if TYPE_CHECKING:
    from ...frontends import OpenedModel

_AXES_ARE_INPUTS = 18  # the opset from which on ReduceMax takes axes so


def reference_model(opened: OpenedModel, recipe: Recipe) -> onnx.ModelProto:
    """The model in the arithmetic of a recipe, exactly as written, for a runtime without integer kernels.

    Raises:
        UnsupportedError: as `quantized_model`, of layers with ranges.
    """
    dense = dense_layers(recipe)
    left = {name: sections for name, sections in recipe.layers.items() if name not in dense}
    plain = replace(recipe, arrays={}, balance={}, layers=left)
    return quantized_model(with_dense_layers(opened, recipe), plain)


def with_dense_layers(opened: OpenedModel, recipe: Recipe) -> OpenedModel:
    """The model in which weights have the values that a recipe's integers stand for, and rows that are quantized, too.

    Weights are rounded to integers and multiplied with their scales again; so are the rows that layers with scales of
    their own read, by operators in front of them.
    """
    opened = with_its_weights(recipe, opened)
    dense, dynamic = dense_layers(recipe), recipe.dynamic
    layers = [layer for layer in linear_layers(opened) if layer.name in dense]
    if not layers:
        return opened
    model = onnx.ModelProto()
    model.CopyFrom(opened.proto)
    folder = str(opened.folder or "")
    constants = {tensor.name: tensor for tensor in model.graph.initializer}
    for layer in layers:
        weights = numpy_helper.to_array(constants[layer.weights], folder)
        # Others may read the same weights, and these stay.
        name = f"{layer.weights}/of/{layer.name}"
        model.graph.initializer.append(numpy_helper.from_array(_rounded(weights, layer, *dense[layer.name]), name))
        model.graph.node[layer.index].input[1] = name
    _quantize_rows(model, [layer for layer in layers if layer.name in dynamic])
    return opened.changed(model)


def _rounded(weights: Array, layer: LinearLayer, bits: int, block: int) -> Array:
    matrix = weights if layer.column else weights.T
    integers, scale = in_blocks(np.ascontiguousarray(matrix), bits, min(block, len(matrix)) or len(matrix))
    values = integers.astype(np.float32) * scale
    return np.ascontiguousarray(values if layer.column else values.T)


def _quantize_rows(model: onnx.ModelProto, layers: Sequence[LinearLayer]) -> None:
    """Puts what makes integers of rows, and floats of them again, before the first layer that reads a tensor."""
    opset = next((each.version for each in model.opset_import if each.domain in ("", "ai.onnx")), 1)
    tiny = np.finfo(np.float32).tiny
    constants = (("step", ROW_STEP), ("tiny", tiny), ("least", -LARGEST_OF_ROW), ("most", LARGEST_OF_ROW))
    named = {key: f"rows/{key}" for key, _ in constants}
    first: dict[str, int] = {}
    for layer in layers:
        first.setdefault(layer.source, layer.index)
        model.graph.node[layer.index].input[0] = f"{layer.source}/rows"
    if first:
        arrays = [(named[key], np.asarray(value, np.float32)) for key, value in constants]
        arrays.append(("rows/axis", np.asarray([-1], np.int64)))
        model.graph.initializer.extend(numpy_helper.from_array(array, name) for name, array in arrays)
    nodes: list[onnx.NodeProto] = []
    for index, node in enumerate(model.graph.node):
        for source in [name for name, place in first.items() if place == index]:
            nodes += _row_nodes(source, named, opset)
        nodes.append(node)
    copies = [onnx.NodeProto.FromString(node.SerializeToString()) for node in nodes]
    del model.graph.node[:]
    model.graph.node.extend(copies)


def _row_nodes(source: str, named: dict[str, str], opset: int) -> list[onnx.NodeProto]:
    def at(what: str) -> str:
        return f"{source}/rows/{what}"

    largest = helper.make_node("ReduceMax", [at("magnitude"), "rows/axis"], [at("largest")], keepdims=1)
    if opset < _AXES_ARE_INPUTS:
        largest = helper.make_node("ReduceMax", [at("magnitude")], [at("largest")], keepdims=1, axes=[-1])
    return [
        helper.make_node("Abs", [source], [at("magnitude")]),
        largest,
        helper.make_node("Mul", [at("largest"), named["step"]], [at("scale")]),
        helper.make_node("Max", [at("scale"), named["tiny"]], [at("divisor")]),  # a row of zeros is zeros again
        helper.make_node("Div", [source, at("divisor")], [at("quotient")]),
        helper.make_node("Round", [at("quotient")], [at("whole")]),
        helper.make_node("Clip", [at("whole"), named["least"], named["most"]], [at("integers")]),
        helper.make_node("Mul", [at("integers"), at("scale")], [f"{source}/rows"]),
    ]
