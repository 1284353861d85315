"""Brings a model to the form the importer walks: no functions, no defaults among the inputs, nothing twice or dead.

Shapes and constants are not folded here. The importer knows every value's exact static shape while it walks, so it
folds shape computations and constants itself, once and with no guesses (`folding.py`).
"""

from __future__ import annotations

import onnx_ir as ir
from onnx_ir.passes.common import (
    CommonSubexpressionEliminationPass,
    InlinePass,
    RemoveInitializersFromInputsPass,
    RemoveUnusedNodesPass,
)

from ...errors import ModelError


def normalize(model: ir.Model, where: str) -> None:
    """Runs the passes on `model`, in place.

    Raises:
        ModelError: the model's functions call each other in a circle, or a pass finds the graph inconsistent.
    """
    passes = (
        RemoveInitializersFromInputsPass(),
        InlinePass(),
        RemoveUnusedNodesPass(),
        CommonSubexpressionEliminationPass(),
        RemoveUnusedNodesPass(),
    )
    for each in passes:
        try:
            each(model)
        except Exception as error:
            reason = str(error.__cause__ or error).splitlines()[0][:300]
            raise ModelError(f"the model cannot be normalised: {reason}", where=where) from error
