"""The front door: `open` takes a model in any form and checks it, `load` makes of it what the compiler works on.

Whoever wants something of a model comes through here: compile, verify, bisect, inspect. A form that is new here
becomes ONNX in `open`, and nothing behind it changes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
from onnx import ModelProto

from ..errors import ModelError, UsageError
from .imported import ImportedModel
from .onnx import import_onnx, inputs_of_onnx, open_onnx
from .opened import OpenedModel
from .request import Request

_NOTHING: Mapping[str, Any] = MappingProxyType({})
_NO_REQUEST = Request()

# The frontends by the endings of their files, and by the packages that the classes of their models come from. They are
# imported when they are needed, and import their frameworks only then.
_BY_SUFFIX: Mapping[str, str] = MappingProxyType(
    {".pt2": "pytorch", ".pt": "pytorch", ".pth": "pytorch", ".tflite": "tflite"}
    | dict.fromkeys((".keras", ".h5", ".hdf5"), "tensorflow")
)
_BY_PACKAGE: Mapping[str, str] = MappingProxyType(
    {"torch": "pytorch"} | dict.fromkeys(("keras", "tensorflow", "tf_keras"), "tensorflow")
)
_SAVED_MODEL = "saved_model.pb"  # what makes a folder one of TensorFlow's


def open(source: Any, request: Request = _NO_REQUEST) -> OpenedModel:
    """Opens a model: reads it, makes ONNX of it where it is none, and checks that it is whole and hides nothing.

    Args:
        source: path of an .onnx, .pt2, .pt, .tflite, .keras or .h5 file, or of a SavedModel's folder; a ModelProto, an
            nn.Module, an ExportedProgram, a Keras model; or what this function gave before.
        request: what the other forms need besides: example inputs, shapes.

    Raises:
        ModelError: the model is missing, damaged, inconsistent or hostile; or its export computes something else.
        UnsupportedError: it is of a form or version that is not known here, or its framework cannot export it.
        UsageError: `source` is no model, or example inputs are missing or of no use.
        ToolError: the model's framework is not installed.
    """
    if isinstance(source, OpenedModel):
        return source
    if isinstance(source, ModelProto):
        return open_onnx(source)
    if not isinstance(source, str | Path):
        return _frontend(_package_of(source))(source, request)
    path = Path(source)
    if path.is_dir():
        if not (path / _SAVED_MODEL).is_file():
            hint = "give the path of a file, or of a SavedModel's folder"
            raise ModelError("the model is a folder, not a file", where=str(path), hint=hint)
        return _frontend("tensorflow")(path, request)
    name = _BY_SUFFIX.get(path.suffix.lower())
    return open_onnx(path) if name is None else _frontend(name)(path, request)


def load(
    opened: OpenedModel,
    *,
    shapes: Mapping[str, Sequence[int]] = _NOTHING,
    bindings: Mapping[str, np.ndarray[Any, Any]] = _NOTHING,
    sizes_vary: bool = False,
    loops: bool = False,
) -> ImportedModel:
    """Imports a model that was opened; it may be loaded again, with other shapes.

    Args:
        opened: the model.
        shapes: the full shape of inputs, by name. A symbolic dimension that they fix is fixed in every other input too.
        bindings: inputs that get a constant value at compile time, by name; they are no longer inputs afterwards.
        sizes_vary: whether it is imported for other sizes, too, so that how it depends on them must be seen: what it
            counts (positions, up to a length) stays a `counted` of `dialect/sized.py`, and tables of interpolations
            say how they were computed; else these are constants.
        loops: whether loops of few turns stay loops, too.

    Raises:
        ModelError: the model is inconsistent.
        ShapeError: a dimension is unknown, or a given shape does not fit.
        UnsupportedError: the model needs something that is not supported; `UnsupportedOperatorError` lists operators.
        UsageError: `shapes` or `bindings` name no input.
    """
    return import_onnx(opened, shapes=shapes, bindings=bindings, sizes_vary=sizes_vary, loops=loops)


def inputs_of(
    opened: OpenedModel,
    *,
    shapes: Mapping[str, Sequence[int]] = _NOTHING,
    bindings: Mapping[str, np.ndarray[Any, Any]] = _NOTHING,
) -> dict[str, tuple[tuple[int, ...], str]]:
    """The shape and numpy's name of the dtype of each input that a library of the model has; nothing is imported.

    Args:
        opened, shapes, bindings: as `load` takes them.

    Raises:
        ShapeError, UsageError: as `load`.
    """
    return inputs_of_onnx(opened, shapes=shapes, bindings=bindings)


def _frontend(name: str) -> Callable[[Any, Request], OpenedModel]:
    """What opens the models of a framework."""
    opener: Callable[[Any, Request], OpenedModel] = getattr(import_module(f".{name}", __package__), f"open_{name}")
    return opener


def _package_of(source: object) -> str:
    """The frontend for a Python object, told by the framework that its class comes from."""
    for base in type(source).__mro__:
        name = _BY_PACKAGE.get(base.__module__.partition(".")[0])
        if name is not None:
            return name
    raise UsageError(
        f"{type(source).__name__} is no model",
        hint="give the path of a model, an onnx.ModelProto, a torch.nn.Module or a Keras model",
    )
