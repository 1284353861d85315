"""Gradients through a model: reverse mode over its nodes, on values that a library of the model gave.

A gradient ends at an operator that has no row: weights before it are not moved by what is behind it.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import onnx

from ..calibration.samples import Array
from .backward import ROWS
from .backward_row import Site
from .weight_homes import values_of

if TYPE_CHECKING:
    from ...frontends import OpenedModel


@dataclass(frozen=True)
class Tape:
    """The nodes between some tensors and what is computed of them.

    Attributes:
        nodes: that have a row, in order.
        known: constants that they read, by name.
        moved: tensors that depend on those that the gradients are of, as far as rows reach, these among them.
    """

    nodes: tuple[onnx.NodeProto, ...]
    known: Mapping[str, Array]
    moved: frozenset[str]

    @property
    def tensors(self) -> tuple[str, ...]:
        """What it needs to know the values of, beside the constants."""
        names = [name for node in self.nodes for name in (*node.input, *node.output)]
        return tuple(dict.fromkeys(name for name in names if name and name not in self.known))

    def back(self, values: Mapping[str, Array], at: Mapping[str, Array]) -> dict[str, Array]:
        """The gradients of a number with respect to all tensors that moved it.

        Args:
            values: of `tensors`; of constants, where they are not the model's own.
            at: the number's gradients with respect to tensors that it is computed of at once.
        """
        found = dict(at)
        for node in reversed(self.nodes):
            given = [found.get(name) for name in node.output]
            if all(each is None for each in given):
                continue
            inputs, outputs = (
                tuple(values[name] if name in values else self.known[name] for name in names if name)
                for names in (node.input, node.output)
            )
            gradients = tuple(
                np.zeros_like(value) if each is None else each for value, each in zip(outputs, given, strict=True)
            )
            site = Site(node, inputs, outputs, gradients)
            for name, gradient in zip(filter(None, node.input), ROWS[node.op_type](site), strict=False):
                if gradient is not None and name in self.moved:
                    found[name] = found[name] + gradient if name in found else gradient
        return found


def tape_of(opened: OpenedModel, leaves: Collection[str], targets: Collection[str]) -> Tape:
    """The nodes through which `leaves` move `targets`.

    Raises:
        ModelError: constants in other files cannot be read.
    """
    graph = opened.proto.graph
    moved, kept = set(leaves), []
    for node in graph.node:
        if node.domain in ("", "ai.onnx") and node.op_type in ROWS and moved & set(node.input):
            moved.update(filter(None, node.output))
            kept.append(node)
    needed, nodes = set(targets), []
    for node in reversed(kept):
        if needed & set(node.output):
            needed.update(moved & set(node.input))
            nodes.append(node)
    nodes.reverse()
    constants = {tensor.name for tensor in graph.initializer} - set(leaves)
    read = {name for node in nodes for name in node.input if name in constants}
    return Tape(tuple(nodes), values_of(opened, sorted(read)), frozenset(moved & needed))
