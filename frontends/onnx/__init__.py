"""ONNX to Relax: read, check, fix the inputs, import. `import_onnx` is the whole way, one step a line."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx

from ...errors import CompilerError, TilewrightError, reason_of
from ..imported import ImportedModel
from .importer import import_graph
from .input_shapes import apply_bindings, apply_shapes
from .reader import read_model

__all__ = ["import_onnx"]


def import_onnx(
    source: Path | onnx.ModelProto,
    *,
    shapes: Mapping[str, Sequence[int]],
    bindings: Mapping[str, np.ndarray[Any, Any]],
) -> ImportedModel:
    """Imports an ONNX model; see `tilewright.frontends.load` for the arguments and the errors."""
    try:
        opened = read_model(source)
        apply_shapes(opened.model, shapes, bindings, opened.where)
        apply_bindings(opened.model, bindings)
        return import_graph(opened.model, opened.name, opened.where)
    except TilewrightError:
        raise
    except Exception as error:  # what no check foresaw is our fault, and still no reason for a traceback
        where = str(source) if isinstance(source, Path) else "ModelProto"
        raise CompilerError("the import of the model failed", where=where, details=[reason_of(error)]) from error
