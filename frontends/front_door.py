"""The front door: `open` takes a model in any form and checks it, `load` makes of it what the compiler works on.

Whoever wants something of a model comes through here: compile, verify, bisect, inspect. A form that is new here
becomes ONNX in `open`, and nothing behind it changes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
from onnx import ModelProto

from ..errors import ModelError, UnsupportedError, UsageError
from .imported import ImportedModel
from .onnx import import_onnx, open_onnx
from .opened import OpenedModel

_NOTHING: Mapping[str, Any] = MappingProxyType({})

_EXPORT_TORCH = 'export it to ONNX first: torch.onnx.export(model, (example_input,), "model.onnx", dynamo=True)'
_EXPORT_KERAS = (
    'convert it to ONNX first: model.export("saved", input_signature=[...]) in Python, then '
    "python -m tf2onnx.convert --saved-model saved --output model.onnx"
)
_CONVERT_TFLITE = "convert it to ONNX first: python -m tf2onnx.convert --tflite model.tflite --output model.onnx"

# Files that are models, but no ONNX: what they are, and how they become it.
_CONVERSIONS: Mapping[str, tuple[str, str]] = MappingProxyType(
    {
        ".pt2": ("PyTorch exported programs", _EXPORT_TORCH),
        ".pt": ("PyTorch checkpoints", _EXPORT_TORCH),
        ".pth": ("PyTorch checkpoints", _EXPORT_TORCH),
        ".tflite": ("TensorFlow Lite models", _CONVERT_TFLITE),
        ".keras": ("Keras models", _EXPORT_KERAS),
        ".h5": ("Keras models", _EXPORT_KERAS),
    }
)


def open(source: str | Path | ModelProto | OpenedModel) -> OpenedModel:
    """Opens a model: reads it, and checks that it is whole and hides nothing.

    Args:
        source: path of an .onnx file, a ModelProto with its weights inside, or what this function gave before.

    Raises:
        ModelError: the model is missing, damaged, inconsistent or hostile.
        UnsupportedError: it is no ONNX model, or of a version that is not known here.
        UsageError: `source` is no model.
    """
    if isinstance(source, OpenedModel):
        return source
    if isinstance(source, ModelProto):
        return open_onnx(source)
    if not isinstance(source, str | Path):
        raise _unsupported_object(source)
    path = Path(source)
    suffix = path.suffix.lower()
    if suffix in _CONVERSIONS:
        form, hint = _CONVERSIONS[suffix]
        raise UnsupportedError(f"{form} are not read directly", where=str(path), hint=hint)
    if path.is_dir():
        if (path / "saved_model.pb").is_file():
            hint = f"convert it to ONNX first: python -m tf2onnx.convert --saved-model {path} --output model.onnx"
            raise UnsupportedError("TensorFlow SavedModels are not read directly", where=str(path), hint=hint)
        raise ModelError("the model is a folder, not a file", where=str(path), hint="give the path of an .onnx file")
    return open_onnx(path)


def load(
    opened: OpenedModel,
    *,
    shapes: Mapping[str, Sequence[int]] = _NOTHING,
    bindings: Mapping[str, np.ndarray[Any, Any]] = _NOTHING,
) -> ImportedModel:
    """Imports a model that was opened; it may be loaded again, with other shapes.

    Args:
        opened: the model.
        shapes: the full shape of inputs, by name. A symbolic dimension that they fix is fixed in every other input too.
        bindings: inputs that get a constant value at compile time, by name; they are no longer inputs afterwards.

    Raises:
        ModelError: the model is inconsistent.
        ShapeError: a dimension is unknown, or a given shape does not fit.
        UnsupportedError: the model needs something that is not supported; `UnsupportedOperatorError` lists operators.
        UsageError: `shapes` or `bindings` name no input.
    """
    return import_onnx(opened, shapes=shapes, bindings=bindings)


def _unsupported_object(source: object) -> UnsupportedError | UsageError:
    """The error for a Python object that is not an ONNX model, told by the framework that its class comes from."""
    kind = type(source)
    frameworks = {base.__module__.partition(".")[0] for base in kind.__mro__}
    if "torch" in frameworks:
        return UnsupportedError("PyTorch modules are not read directly", where=kind.__name__, hint=_EXPORT_TORCH)
    if frameworks & {"keras", "tensorflow", "tf_keras"}:
        return UnsupportedError("Keras models are not read directly", where=kind.__name__, hint=_EXPORT_KERAS)
    return UsageError(
        f"a model is a path or an ModelProto, not {kind.__name__}", hint="save the model as an .onnx file"
    )
