"""Many small models as one, with their inputs as constants: what is folded is compiled and run at the cost of one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
import tilewright
from onnx import compose, numpy_helper

Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class Part:
    """A model whose inputs get constant values, and what its outputs should be."""

    name: str
    model: onnx.ModelProto
    inputs: Mapping[str, Array]
    expected: Sequence[Array]
    rtol: float = 1e-4
    atol: float = 1e-5


def opsets_of(part: Part) -> tuple[tuple[str, int], ...]:
    """What parts must have in common to be joined."""
    return tuple(sorted((entry.domain, entry.version) for entry in part.model.opset_import))


def joined(parts: Sequence[Part]) -> onnx.ModelProto:
    """One model of all parts, which have the same opsets; outputs are in order."""
    whole = onnx.ModelProto(ir_version=max(part.model.ir_version for part in parts))
    whole.opset_import.extend(parts[0].model.opset_import)
    whole.graph.name = "joined"
    for index, part in enumerate(parts):
        graph = compose.add_prefix(part.model, f"p{index}_").graph
        whole.graph.node.extend(graph.node)
        whole.graph.initializer.extend(graph.initializer)
        whole.graph.output.extend(graph.output)
        whole.graph.initializer.extend(
            numpy_helper.from_array(array, f"p{index}_{name}") for name, array in part.inputs.items()
        )
    return whole


def run(parts: Sequence[Part]) -> list[list[Array]]:
    """The outputs of every part."""
    results = iter(tilewright.compile(joined(parts), threads=1, jobs=1).run({}).values())
    return [[next(results) for _ in part.model.graph.output] for part in parts]
