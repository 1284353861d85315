"""What shows things: `inspect` models and libraries, `targets` of this machine."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ..reports.report import show, show_json
from .command_options import (
    Json,
    Shapes,
)
from .tensor_options import parse_shapes


def inspect(
    path: Annotated[Path, typer.Argument(metavar="MODEL|LIB", help="A model, as `compile` takes it, or a library.")],
    shape: Shapes = None,
    as_json: Json = False,
) -> None:
    """Show a model's operators, shapes, FLOPs and weights, or a library's kernels and memory.

    Examples:

    * `tilewright inspect model.onnx --shape input=1x3x224x224`
    * `tilewright inspect model.so --json`
    """
    from ..reports import inspection

    if inspection.is_library(path):
        from ..library.artifact import read_signature

        found = inspection.inspect_library(read_signature(path), path)
        parts = inspection.library_tables(found)
    else:
        found = inspection.inspect_model(path, parse_shapes(shape or ()))
        parts = inspection.model_tables(found)
    if as_json:
        show_json(found)
    else:
        show(*parts)


def targets(as_json: Json = False) -> None:
    """Show what this machine is, which targets work here, and what each still needs."""
    from ..reports import target_report

    found = target_report.describe()
    if as_json:
        show_json(found)
    else:
        show(*target_report.tables(found))
