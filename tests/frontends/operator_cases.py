"""Many uses of operators in one model, compiled once: each compared with its truth, or with ONNX Runtime's result."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx
import onnxruntime
from execution import execute
from onnx import helper, numpy_helper

Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class Case:
    """One node on its own inputs.

    Args:
        op_type: the operator.
        inputs: arrays given when the model runs, in the order of the node's inputs.
        constants: arrays stored in the model, which follow the inputs.
        attributes: those of the node.
        expected: the truth of each output; where it is not given, ONNX Runtime computes it, without optimisation.
        order: names of all inputs in the node's order, where it is not "inputs, then constants"; "" leaves one out.
    """

    op_type: str
    inputs: Mapping[str, Array]
    constants: Mapping[str, Array] = field(default_factory=dict)
    attributes: Mapping[str, Any] = field(default_factory=dict)
    expected: Sequence[Array] | None = None
    order: Sequence[str] | None = None
    outputs: int = 1

    def node(self, prefix: str) -> onnx.NodeProto:
        """The node, its values under names of their own."""
        names = self.order if self.order is not None else [*self.inputs, *self.constants]
        return helper.make_node(
            self.op_type,
            [prefix + name if name else "" for name in names],
            [f"{prefix}out{index}" for index in range(self.outputs)],
            name=f"{prefix}{self.op_type}",
            **self.attributes,
        )


def _model(cases: Mapping[str, Case], opset: int, dtypes: Mapping[str, np.dtype[Any]] | None) -> onnx.ModelProto:
    nodes = [case.node(prefix) for prefix, case in cases.items()]
    inputs = [
        helper.make_tensor_value_info(prefix + name, helper.np_dtype_to_tensor_dtype(value.dtype), value.shape)
        for prefix, case in cases.items()
        for name, value in case.inputs.items()
    ]
    outputs = [
        helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(dtypes[name]), None)
        if dtypes
        else onnx.ValueInfoProto(name=name)
        for node in nodes
        for name in node.output
    ]
    weights = [
        numpy_helper.from_array(np.asarray(value), prefix + name)
        for prefix, case in cases.items()
        for name, value in case.constants.items()
    ]
    graph = helper.make_graph(nodes, "cases", inputs, outputs, weights)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8 if opset < 21 else 10)


def onnxruntime_outputs(case: Case, opset: int) -> list[Array]:
    """What ONNX Runtime computes, without optimisation."""
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level = 4
    proto = _model({"": case}, opset, None)
    session = onnxruntime.InferenceSession(proto.SerializeToString(), options, providers=["CPUExecutionProvider"])
    results: list[Array] = session.run(None, dict(case.inputs))
    return results


def check(
    cases: Mapping[str, Case], *, opset: int = 18, rtol: float = 1e-5, atol: float = 1e-6, cpu: str | None = None
) -> None:
    """Runs every case and compares: whole numbers exactly, floats within the tolerance, NaN and infinities as such.

    Args:
        cpu: the processor to compile for, where it is not the host.

    Raises:
        AssertionError: names the first case that differs.
    """
    named = {f"case{index}_": (label, case) for index, (label, case) in enumerate(cases.items())}
    references = {
        prefix: [np.asarray(each) for each in case.expected]
        if case.expected is not None
        else onnxruntime_outputs(case, opset)
        for prefix, (_, case) in named.items()
    }
    dtypes = {
        f"{prefix}out{index}": each.dtype
        for prefix, results in references.items()
        for index, each in enumerate(results)
    }
    proto = _model({prefix: case for prefix, (_, case) in named.items()}, opset, dtypes)
    inputs = {prefix + name: value for prefix, (_, case) in named.items() for name, value in case.inputs.items()}
    results = iter(execute(proto, inputs, cpu=cpu))
    for prefix, (label, _) in named.items():
        for reference in references[prefix]:
            result = next(results)
            assert (result.dtype, result.shape) == (reference.dtype, reference.shape), label
            if reference.dtype.kind in "biu":
                np.testing.assert_array_equal(result, reference, err_msg=label)
                continue
            wide = (each.astype(np.float64) for each in (result, reference))
            np.testing.assert_allclose(*wide, rtol=rtol, atol=atol, equal_nan=True, err_msg=label)
