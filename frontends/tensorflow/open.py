"""A Keras model or a SavedModel to ONNX, checked against TensorFlow.

tf2onnx is tried first. Nobody maintains it any more, so where it fails or converts wrongly, TensorFlow's own converter
to TensorFlow Lite takes its place, whose files are read by our own frontend.
"""

from __future__ import annotations

import re
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx

from ...errors import ModelError, TilewrightError, ToolError, UnsupportedError
from ..export_check import check_export
from ..graph_names import name_outputs
from ..onnx import open_onnx
from ..opened import OpenedModel
from ..request import Request, framework
from ..tflite import open_tflite
from .program import Array, Program, program_of
from .quiet import quiet, tensorflow

_OPSET = 18  # the newest of tf2onnx
_MOST_INDICES = 2  # random integers are below it: they index tables of unknown size
_SCOPES = re.compile(r"^((Stateful)?PartitionedCall(_\d+)?/)+")  # of functions that call others, around the layers


def open_tensorflow(source: Any, request: Request) -> OpenedModel:
    """Opens a Keras model, a `.keras` or `.h5` file, or a SavedModel's folder.

    An open batch is one, unless a shape is given; axes that are asked to vary stay open. Inputs and outputs keep
    TensorFlow's names and layouts.

    Raises:
        ModelError: a file is missing or damaged, or no converter converts the model rightly.
        ShapeError: an input has unknown dimensions.
        UnsupportedError: no converter takes the model.
        ToolError: TensorFlow is not installed.
    """
    tf = tensorflow()
    program = program_of(tf, Path(source) if isinstance(source, str | Path) else source, request)
    inputs = _inputs(program)
    with quiet():
        expected = program.run(inputs)
    problems: list[TilewrightError] = []
    for name, convert in _CONVERTERS.items():
        try:
            opened = replace(convert(tf, program), name=program.name, where=program.where)
            check_export(opened, inputs, expected, dict, name)
            return replace(opened, examples=inputs)
        except ToolError:
            raise
        except TilewrightError as error:
            problems.append(error)
    wrong = next((error for error in problems if isinstance(error, ModelError)), None)
    details = [
        f"{name}: {error.what}: {'; '.join(error.details)[:300]}"
        for name, error in zip(_CONVERTERS, problems, strict=True)
    ]
    kind = ModelError if wrong is not None else UnsupportedError
    raise kind("no converter makes ONNX of the model", where=program.where, details=details)


def _by_tf2onnx(tf: Any, program: Program) -> OpenedModel:
    tf2onnx = framework("tf2onnx", "tensorflow", "Keras models and SavedModels")
    try:
        with quiet():
            model, _ = tf2onnx.convert.from_function(program.function, program.signature, opset=_OPSET)
    except Exception as error:  # it fails in as many ways as TensorFlow has operators
        reason = f"{type(error).__name__}: {(str(error).strip().splitlines() or [''])[0][:200]}"
        raise UnsupportedError("it cannot convert the model", details=[reason]) from error
    _keep_captures(tf, model, program)
    _name_inputs(model, program)
    name_outputs(model, program.outputs)
    _replace_erfc(model)
    for node in model.graph.node:
        node.name = _SCOPES.sub("", node.name)
    return open_onnx(model)


def _keep_captures(tf: Any, model: onnx.ModelProto, program: Program) -> None:
    """Makes weights of the tensors that layers hold without a variable; tf2onnx takes them for further inputs."""
    captured = program.function.get_concrete_function().captured_inputs
    values = [each.numpy() for each in captured if each.dtype != tf.resource]
    own = len(program.signature)
    for value, held in zip(model.graph.input[own:], values, strict=True):
        model.graph.initializer.append(onnx.numpy_helper.from_array(held, value.name))
    del model.graph.input[own:]


def _replace_erfc(model: onnx.ModelProto) -> None:
    """Writes erfc(x), which tf2onnx leaves although ONNX has no such operator, as 1 - erf(x): GELU is made of it."""
    nodes = []
    for node in model.graph.node:
        if node.op_type != "Erfc":
            nodes.append(node)
            continue
        one, erf = f"{node.name}/one", f"{node.name}/Erf"
        nodes += [
            onnx.helper.make_node("Constant", [], [one], name=one, value_float=1.0),
            onnx.helper.make_node("Erf", node.input, [erf], name=erf),
            onnx.helper.make_node("Sub", [one, erf], node.output, name=node.name),
        ]
    del model.graph.node[:]
    model.graph.node.extend(nodes)


def _by_tflite(tf: Any, program: Program) -> OpenedModel:
    if program.varies:
        raise UnsupportedError("its models are for one size alone")
    try:
        with quiet(), tempfile.TemporaryDirectory() as folder:
            from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

            frozen = convert_variables_to_constants_v2(program.function.get_concrete_function())
            converter = tf.lite.TFLiteConverter.from_concrete_functions([frozen], program.keeps)
            path = Path(folder) / "model.tflite"
            path.write_bytes(converter.convert())
            opened = open_tflite(path, Request())
    except TilewrightError:
        raise
    except Exception as error:  # MLIR's diagnostics
        reason = f"{type(error).__name__}: {(str(error).strip().splitlines() or [''])[0][:200]}"
        raise UnsupportedError("it cannot convert the model", details=[reason]) from error
    model = onnx.ModelProto()
    model.CopyFrom(opened.proto)
    _name_inputs(model, program)
    name_outputs(model, program.outputs)
    return open_onnx(model)


_CONVERTERS: Mapping[str, Callable[[Any, Program], OpenedModel]] = {
    "tf2onnx": _by_tf2onnx,
    "TensorFlow Lite's converter": _by_tflite,
}


def _name_inputs(model: onnx.ModelProto, program: Program) -> None:
    """Gives inputs the names of TensorFlow's signature, in whose order they stand."""
    renamed = {value.name: spec.name for value, spec in zip(model.graph.input, program.signature, strict=True)}
    for value in model.graph.input:
        value.name = renamed[value.name]
    for node in model.graph.node:
        for index, name in enumerate(node.input):
            node.input[index] = renamed.get(name, name)


def _inputs(program: Program) -> dict[str, Array]:
    """What the conversion is checked on: floats between 0 and 1, as images are, and small integers."""
    generator = np.random.default_rng(0)
    inputs: dict[str, Array] = {}
    for spec, shape in zip(program.signature, program.shapes, strict=True):
        dtype = np.dtype(spec.dtype.as_numpy_dtype)
        drawn = generator.random(shape) if dtype.kind == "f" else generator.integers(0, _MOST_INDICES, shape)
        inputs[spec.name] = np.asarray(drawn).astype(dtype)
    return inputs
