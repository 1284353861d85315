"""Scales that tensors share, so that integers can be joined and pooled as they are."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from ...frontends import OpenedModel
from .recipe import TensorEntry

# Operators whose result, quantized, is what they make of quantized operands: they join, or choose the largest.
_THROUGH = frozenset(("Concat", "MaxPool"))


def shared_entries(opened: OpenedModel, tensors: Mapping[str, TensorEntry]) -> dict[str, TensorEntry]:
    """The entries, and the same for what quantized tensors are joined or pooled of, where that has none of its own.

    No value changes by this: what was quantized behind the operator is quantized before it, by the same scale.
    """
    found = dict(tensors)
    constants = {tensor.name for tensor in opened.proto.graph.initializer}
    for node in reversed(opened.proto.graph.node):
        result = node.output[0] if node.output else ""
        if node.op_type in _THROUGH and result in found:
            operands = node.input if node.op_type == "Concat" else node.input[:1]
            for name in operands:
                if name and name not in found and name not in constants:
                    found[name] = replace(found[result], why=f"the scale of {result}, which is made of it")
    return found
