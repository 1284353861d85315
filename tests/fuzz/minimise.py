"""Makes a failing graph small: nodes, then outputs, are dropped as long as it fails in the same way."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
from draft import Array, typed
from generate import Sample
from judge import values_of
from onnx import helper, numpy_helper


def minimise(sample: Sample, fails: Callable[[Sample], bool]) -> Sample:
    """The smallest sample found that still fails."""
    values = values_of(sample)
    for output in [name for node in sample.model.graph.node for name in node.output if name]:
        single = _cut(sample, [output], values)
        if fails(single):
            sample = single
            break
    shrinking = True
    while shrinking:
        shrinking = False
        for node in list(sample.model.graph.node):
            smaller = _without(sample, node, values)
            if smaller is not None and fails(smaller):
                sample, shrinking = smaller, True
                break
    return sample


def _without(sample: Sample, node: onnx.NodeProto, values: Mapping[str, Array]) -> Sample | None:
    """The sample with a node's results as inputs, computed before."""
    if len(sample.model.graph.node) < 2:
        return None
    rest = onnx.ModelProto()
    rest.CopyFrom(sample.model)
    rest.graph.node.remove(node)
    outputs = [value.name for value in rest.graph.output if value.name not in node.output]
    if not outputs:
        return None
    return _cut(replace(sample, model=rest), outputs, values)


def _cut(sample: Sample, outputs: list[str], values: Mapping[str, Array]) -> Sample:
    """Only what some outputs need; what nothing computes is an input."""
    graph = sample.model.graph
    needed, nodes = set(outputs), []
    for node in reversed(graph.node):
        if needed & set(node.output):
            nodes.insert(0, node)
            needed.update(name for name in node.input if name)
    made = {name for node in nodes for name in node.output}
    constants = [tensor for tensor in graph.initializer if tensor.name in needed]
    known = {tensor.name for tensor in constants}
    inputs = {name: values[name] for name in sorted(needed - made - known)}
    cut = onnx.ModelProto()
    cut.CopyFrom(sample.model)
    cut.graph.CopyFrom(
        helper.make_graph(
            nodes,
            graph.name,
            [typed(name, array) for name, array in inputs.items()],
            [typed(name, values[name]) for name in outputs],
            constants,
        )
    )
    return Sample(cut, inputs, sample.noisy)


def save(sample: Sample, path: Path) -> None:
    """Writes the model, with the inputs beside it as an .npz."""
    onnx.save(sample.model, path)
    np.savez(path.with_suffix(".npz"), **dict(sample.inputs))


def describe(sample: Sample) -> str:
    """The graph in a few lines."""
    graph = sample.model.graph
    constants = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}

    def operand(name: str) -> str:
        if name in constants:
            array = constants[name]
            text = str(array.tolist()) if array.size <= 4 else ""
            return f"{name}={array.dtype}{list(array.shape)}{text}"
        if name in sample.inputs:
            return f"{name}:{sample.inputs[name].dtype}{list(sample.inputs[name].shape)}"
        return name

    opset = next(each.version for each in sample.model.opset_import if not each.domain)
    lines = [f"opset {opset}; outputs: {', '.join(value.name for value in graph.output)}"]
    for node in graph.node:
        attributes = ", ".join(
            f"{each.name}={'tensor' if each.HasField('t') else helper.get_attribute_value(each)}"
            for each in node.attribute
        )
        lines.append(
            f"  {', '.join(node.output)} = {node.op_type}({', '.join(map(operand, node.input))})"
            + (f" {{{attributes}}}" if attributes else "")
        )
    return "\n".join(lines)
