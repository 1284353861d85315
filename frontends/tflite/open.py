"""A TensorFlow Lite file to ONNX: parsed, each operator by its converter, then checked as any ONNX model."""

from __future__ import annotations

import struct
from dataclasses import replace
from pathlib import Path
from typing import Any

from ...errors import ModelError, UnsupportedError, UnsupportedOperatorError
from ..onnx import open_onnx
from ..opened import OpenedModel
from ..request import Request
from .builder import Builder
from .flatbuffer import DamagedError
from .model import Graph, Operator, parse
from .node import Entry, Node, converters

# Sizes, strides and shapes of a damaged file are any numbers: what they cannot be divided by or indexed with.
_DAMAGED = (DamagedError, ValueError, TypeError, IndexError, ArithmeticError, struct.error)


def open_tflite(source: Any, request: Request) -> OpenedModel:
    """Opens a `.tflite` file. Inputs and outputs keep the file's names, layouts (NHWC) and dtypes.

    Quantized tensors are dequantized where they are read and quantized where they are written, so that arithmetic is
    on real numbers between the file's own roundings.

    Raises:
        ModelError: the file is missing, damaged, or no such model.
        UnsupportedError: it has operators, or uses of them, that are not supported; all are named.
    """
    del request  # its shapes are its own
    path = Path(source)
    try:
        data = path.read_bytes()
    except OSError as error:
        raise ModelError(f"the model file cannot be read: {error.strerror}", where=str(path)) from error
    try:
        graph = parse(data, str(path))
        model = _converted(graph, path)
    except _DAMAGED as error:
        raise ModelError(
            "the file is not a TensorFlow Lite model, or it is damaged", where=str(path), details=[str(error)[:200]]
        ) from error
    return replace(open_onnx(model.model()), name=path.stem, where=str(path))


def _converted(graph: Graph, path: Path) -> Builder:
    builder = Builder(graph, path.stem)
    table = converters()
    missing, refused = [], []
    for source in graph.operators:
        entry = table.get(source.kind)
        if entry is None:
            missing.append(Node(source, graph, builder, str(path), False).where.removeprefix(f"{path}: "))
            continue
        try:
            _convert(source, entry, graph, builder, str(path))
        except UnsupportedError as error:
            refused.append(error)
    if missing:
        details = [*missing, *(f"{error.where}: {error.what}".removeprefix(f"{path}: ") for error in refused)]
        raise UnsupportedOperatorError(
            f"the model has {len(missing)} nodes with operators that are not supported",
            where=str(path),
            details=details,
            hint="convert the model without them: from Keras or a SavedModel it may go by another way",
        )
    if refused:
        raise refused[0].at(str(path), *(f"{error.where}: {error.what}" for error in refused[1:]))
    return builder


def _convert(source: Operator, entry: Entry, graph: Graph, builder: Builder, where: str) -> None:
    tensors = graph.tensors
    quantization = tensors[source.inputs[0]].quantization if source.inputs and source.inputs[0] >= 0 else None
    stays = (
        entry.moves
        and quantization is not None
        and all(quantization.same_as(tensors[place].quantization) for place in source.outputs)
        and all(
            each is None or quantization.same_as(each)
            for each in (tensors[place].quantization for place in source.inputs if place >= 0)
        )
    )
    node = Node(source, graph, builder, where, stays)
    made = entry.converter(node)
    for value, place in zip([made] if isinstance(made, str) else made, source.outputs, strict=True):
        if node.stays:
            builder.alias(value, place)
        else:
            builder.finish(value, place)
