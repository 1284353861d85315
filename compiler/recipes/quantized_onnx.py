"""A recipe as an ONNX model: pairs of QuantizeLinear and DequantizeLinear, as other runtimes take them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import onnx
from onnx import helper, numpy_helper

from ...errors import UnsupportedError
from ...frontends.linear_layers import LinearLayer, linear_layers, products_of_tensors
from ...frontends.readers import is_move, readers_of, reads, rename_reads
from ...ir_passes.quantization.quantize_weights import in_blocks
from ...ir_passes.quantization.weight_integers import WeightBits, weight_integers
from ..process.install import written_whole
from ..process.places import output_errors
from .dense import DENSE, dense_layers
from .identity import with_its_weights
from .recipe import Array, FloatEntry, Recipe, TensorEntry, WeightsEntry
from .sections import BLOCKS
from .shared_scales import shared_entries

if TYPE_CHECKING:
    from ...frontends import OpenedModel

_LEAST_OPSET = 13  # of scales along an axis
_BITS = 8
_SHIFT = 128  # activations are uint8 there, as units multiply them with int8


def export_quantized(opened: OpenedModel, recipe: Recipe, path: Path) -> None:
    """Writes the quantized model.

    Raises:
        OutputError: the place cannot be written.
        UnsupportedError: as `quantized_model`.
    """
    model = quantized_model(opened, recipe)
    with output_errors(path), written_whole(path) as file:
        file.write(model.SerializeToString())


def quantized_model(opened: OpenedModel, recipe: Recipe) -> onnx.ModelProto:
    """The model with pairs where a recipe has them: activations in uint8, weights in int8, biases in int32.

    A tensor that no layer of integers reads has none, and what the model gives is not rounded, as in a library.

    Raises:
        UnsupportedError: other than 8 bits, weights in blocks, scales at run time, or a model of an opset without
            scales along an axis that ONNX cannot convert.
    """
    opened = with_its_weights(recipe, opened)
    whole = opened.changed(opened.proto).for_engine()
    assert isinstance(whole, bytes)  # of a model that is no file
    model = onnx.ModelProto()
    model.ParseFromString(whole)
    opset = next((each.version for each in model.opset_import if each.domain in ("", "ai.onnx")), 1)
    if opset < _LEAST_OPSET:
        model = _converted(model, opset, opened.where)
        opened = opened.changed(model)
    floats = recipe.entries(FloatEntry)
    weights = {name: entry for name, entry in recipe.entries(WeightsEntry).items() if name not in floats}
    bits = {entry.bits for entry in recipe.tensors.values()} | {entry.bits for entry in weights.values()}
    if bits - {_BITS}:
        raise UnsupportedError(f"only {_BITS} bits are exported", where=recipe.where)
    if any(entry.granularity in BLOCKS for entry in weights.values()):
        raise UnsupportedError("weights in blocks are not exported", where=recipe.where)
    if recipe.dynamic & weights.keys():
        raise UnsupportedError("scales at run time are not exported", where=recipe.where)
    dense = dense_layers(recipe)
    constants = {tensor.name: tensor for tensor in model.graph.initializer}
    read = set()
    for layer in linear_layers(opened):
        if layer.name in dense and layer.operator in DENSE:
            _round_weights(model, layer, constants)
        elif layer.name in weights and layer.root in recipe.tensors:
            _quantize_weights(model, layer, weights[layer.name], recipe.tensors[layer.root], constants)
            read.add(layer.root)
    for layer in products_of_tensors(opened):
        if layer.name in recipe.products and recipe.tensors.keys() >= set(layer.reads.values()):
            read.update(layer.reads.values())
    used = shared_entries(opened, {name: recipe.tensors[name] for name in read})
    _quantize_tensors(model, {name: entry for name, entry in recipe.tensors.items() if name in used})
    kept = readers_of(model.graph).uses
    for tensor in [each for each in model.graph.initializer if each.name not in kept]:
        model.graph.initializer.remove(tensor)
    return model


def _converted(model: onnx.ModelProto, opset: int, where: str) -> onnx.ModelProto:
    try:
        return onnx.version_converter.convert_version(model, _LEAST_OPSET)
    except Exception as error:  # its exceptions are not documented
        raise UnsupportedError(
            f"the model is of opset {opset}, scales along an axis need {_LEAST_OPSET}, and ONNX does not convert it",
            where=where,
            details=[str(error)[:200]],
        ) from error


def _round_weights(model: onnx.ModelProto, layer: LinearLayer, constants: dict[str, onnx.TensorProto]) -> None:
    """Weights alone become integers of 8 bits, with a scale for each column."""
    array = numpy_helper.to_array(constants[layer.weights])
    matrix = np.ascontiguousarray(array if layer.column else array.T)
    integers, scale = in_blocks(matrix, _BITS, len(matrix))
    kept = np.ascontiguousarray(integers if layer.column else integers.T)
    name = f"{layer.weights}/of/{layer.name}"
    model.graph.node[layer.index].input[1] = _dequantized(model, name, kept, scale.reshape(-1), layer.column)


def _quantize_weights(
    model: onnx.ModelProto,
    layer: LinearLayer,
    entry: WeightsEntry,
    source: TensorEntry,
    constants: dict[str, onnx.TensorProto],
) -> None:
    node = model.graph.node[layer.index]
    array = numpy_helper.to_array(constants[layer.weights])
    integers, scales = weight_integers(array, layer.column, WeightBits(entry.bits, entry.granularity))
    flat = scales.reshape(-1) if scales.size > 1 else scales.reshape(())
    name = f"{layer.weights}/of/{layer.name}"
    node.input[1] = _dequantized(model, name, integers, flat, layer.column)
    if not layer.bias:
        return
    of_sums = np.float32(source.scale) * flat
    bias = np.rint(numpy_helper.to_array(constants[layer.bias]).astype(np.float64) / of_sums)
    if np.abs(bias).max(initial=0) < 2**31:
        node.input[2] = _dequantized(model, f"{layer.bias}/of/{layer.name}", bias.astype(np.int32), of_sums, 0)


def _dequantized(model: onnx.ModelProto, name: str, integers: Array, scales: Array, axis: int) -> str:
    """Adds initializers and a node that dequantizes them; gives the name of its result. Nodes are put in later."""
    zero = np.zeros(scales.shape, integers.dtype)
    for ending, array in (("integers", integers), ("scale", scales.astype(np.float32)), ("zero", zero)):
        model.graph.initializer.append(numpy_helper.from_array(np.asarray(array), f"{name}/{ending}"))
    inputs = [f"{name}/{ending}" for ending in ("integers", "scale", "zero")]
    model.graph.node.append(helper.make_node("DequantizeLinear", inputs, [name], name, axis=axis))
    return name


def _quantize_tensors(model: onnx.ModelProto, tensors: Mapping[str, TensorEntry]) -> None:
    """Puts pairs behind tensors, for the nodes that read them, and all nodes into an order in which they can run."""
    constants = {tensor.name for tensor in model.graph.initializer}
    nodes = list(model.graph.node)
    ready = [bool(node.input) and all(name in constants for name in node.input if name) for node in nodes]
    ordered = [node for node, early in zip(nodes, ready, strict=True) if early]
    for value in model.graph.input:
        ordered += _pair(model, value.name, tensors)
    for node in _reading_pairs(model, [node for node, early in zip(nodes, ready, strict=True) if not early], tensors):
        ordered.append(node)
        for name in node.output:
            ordered += _pair(model, name, tensors)
    copies = [onnx.NodeProto.FromString(node.SerializeToString()) for node in ordered]
    del model.graph.node[:]
    model.graph.node.extend(copies)


def _reading_pairs(
    model: onnx.ModelProto, nodes: Sequence[onnx.NodeProto], tensors: Mapping[str, TensorEntry]
) -> Iterator[onnx.NodeProto]:
    """The nodes, reading what is dequantized; those that move a tensor to an output of the model as it is, too."""
    given = {value.name for value in model.graph.output}  # and tensors that they hold the elements of
    rounded: set[str] = set()  # tensors that are read for more than that
    for node in reversed(nodes):
        if _moves_to(node, given):
            given.add(node.input[0])
            rounded.update(node.input[:1] if node.output[0] in rounded else ())
        else:
            rounded.update(reads(node))
    renamed = {name: f"{name}/dequantized" for name in tensors}
    for node in nodes:
        if _moves_to(node, given) and node.input[0] in renamed:
            yield onnx.NodeProto.FromString(node.SerializeToString())
            if node.output[0] not in rounded or node.output[0] in tensors:
                continue
            renamed[node.output[0]] = f"{node.output[0]}/rounded"
            del node.output[1:]
            node.output[0] = node.name = renamed[node.output[0]]
        rename_reads(node, renamed)
        yield node


def _moves_to(node: onnx.NodeProto, given: set[str]) -> bool:
    return is_move(node) and node.output[0] in given


def _pair(model: onnx.ModelProto, name: str, tensors: Mapping[str, TensorEntry]) -> Iterator[onnx.NodeProto]:
    entry = tensors.get(name)
    if entry is None:
        return
    parameters = (
        ("scale", np.asarray(entry.scale, np.float32)),
        ("zero", np.asarray(entry.zero_point + _SHIFT, np.uint8)),
    )
    for ending, array in parameters:
        model.graph.initializer.append(numpy_helper.from_array(array, f"{name}/{ending}"))
    scale, zero = (f"{name}/{ending}" for ending, _ in parameters)
    yield helper.make_node("QuantizeLinear", [name, scale, zero], [f"{name}/quantized"], f"{name}/quantize")
    yield helper.make_node(
        "DequantizeLinear", [f"{name}/quantized", scale, zero], [f"{name}/dequantized"], f"{name}/dequantize"
    )
