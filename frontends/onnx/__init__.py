"""ONNX to Relax in two steps: `open_onnx` reads and checks, `import_onnx` fixes the inputs and builds the graph."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx

from ...failures import failing_in
from ..imported import ImportedModel
from ..opened import OpenedModel
from .importer import import_graph
from .input_shapes import apply_bindings, apply_shapes, real_inputs
from .node import node_name
from .reader import read_model

__all__ = ["import_onnx", "inputs_of_onnx", "node_operators", "open_onnx"]


def open_onnx(source: Path | onnx.ModelProto) -> OpenedModel:
    """Opens an ONNX model; see `tilewright.frontends.open` for the errors."""
    where = str(source) if isinstance(source, Path) else "ModelProto"
    with failing_in(where, "the model cannot be opened"):
        return read_model(source)


def import_onnx(
    opened: OpenedModel,
    *,
    shapes: Mapping[str, Sequence[int]],
    bindings: Mapping[str, np.ndarray[Any, Any]],
    sizes_vary: bool = False,
    loops: bool = False,
) -> ImportedModel:
    """Imports an ONNX model; see `tilewright.frontends.load` for the arguments and the errors."""
    with failing_in(opened.where, "the import of the model failed"):
        model = opened.graph_form()
        apply_shapes(model, shapes, bindings, opened.where)
        apply_bindings(model, bindings)
        return import_graph(model, opened.name, opened.where, sizes_vary=sizes_vary, loops=loops)


def inputs_of_onnx(
    opened: OpenedModel,
    *,
    shapes: Mapping[str, Sequence[int]],
    bindings: Mapping[str, np.ndarray[Any, Any]],
) -> dict[str, tuple[tuple[int, ...], str]]:
    """The inputs of an ONNX model; see `tilewright.frontends.inputs_of`."""
    model = opened.graph_form()
    apply_shapes(model, shapes, bindings, opened.where)
    return {
        str(value.name): (tuple(int(str(extent)) for extent in value.shape or ()), str(value.dtype.numpy()))
        for value in real_inputs(model)
        if value.name not in bindings and value.dtype is not None
    }


def node_operators(opened: OpenedModel) -> dict[str, str]:
    """The operator of each node of the model's graph, by the name that bindings made for the node carry."""
    return {node_name(node): node.op_type for node in opened.graph_form().graph}
