"""Evaluates nodes whose inputs are all constant, with ONNX's own reference implementation."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence

import numpy as np
import onnx
import onnx_ir as ir
from onnx.reference import ReferenceEvaluator

from .node import Array, Value

# Drawing a random number at compile time would make every run of the model draw the same one.
RANDOM_OPERATORS = frozenset(
    {
        "Bernoulli",
        "Dropout",
        "Multinomial",
        "RandomNormal",
        "RandomNormalLike",
        "RandomUniform",
        "RandomUniformLike",
    }
)
# The reference implementation of these is quick on large arrays (numpy alone), so weights may be folded through them.
_QUICK_OPERATORS = frozenset(
    {
        "Add",
        "Cast",
        "Concat",
        "DequantizeLinear",
        "Div",
        "Gather",
        "Identity",
        "Mul",
        "Neg",
        "Reshape",
        "Slice",
        "Split",
        "Sqrt",
        "Squeeze",
        "Sub",
        "Transpose",
        "Unsqueeze",
    }
)
# The reference implementation has these from a later version on, which computes the same for what earlier ones allow.
_FIRST_EVALUABLE_OPSET = {"DequantizeLinear": 19, "QuantizeLinear": 19}
_QUICK_LIMIT = 1 << 28  # elements
_SLOW_LIMIT = 1 << 16  # elements
_GROWTH_LIMIT = 1 << 20  # elements an output may have more than the inputs: Expand and Tile make large arrays cheap


def fold(
    node: ir.Node, inputs: Sequence[Value | None], attributes: Mapping[str, ir.Attr], opset: int
) -> list[Array] | None:
    """The outputs of a node as arrays, or None if it is not constant, too large, random, or not evaluable."""
    known = [value for value in inputs if value is not None]
    if not all(isinstance(value, np.ndarray) for value in known) or (not known and node.op_type != "Constant"):
        return None
    if node.op_type in RANDOM_OPERATORS or any(
        attribute.type in (ir.AttributeType.GRAPH, ir.AttributeType.GRAPHS) for attribute in attributes.values()
    ):
        return None
    size = sum(int(value.size) for value in known)
    if size > (_QUICK_LIMIT if node.op_type in _QUICK_OPERATORS else _SLOW_LIMIT):
        return None
    try:
        outputs = _evaluate(node, inputs, attributes, opset)
    except Exception:  # the reference lacks an operator or a dtype: the converter takes the node, or reports it
        return None
    if any(not isinstance(output, np.ndarray) for output in outputs):
        return None
    if sum(int(output.size) for output in outputs) > size + _GROWTH_LIMIT:
        return None
    return outputs


def _evaluate(
    node: ir.Node, inputs: Sequence[Value | None], attributes: Mapping[str, ir.Attr], opset: int
) -> list[Array]:
    opset = max(opset, _FIRST_EVALUABLE_OPSET.get(node.op_type, opset))
    names = [f"i{index}" if value is not None else "" for index, value in enumerate(inputs)]
    outputs = [f"o{index}" if value.name else "" for index, value in enumerate(node.outputs)]
    proto = onnx.helper.make_node(node.op_type, names, outputs, domain=node.domain)
    proto.attribute.extend(ir.serde.serialize_attribute(attribute) for attribute in attributes.values())
    graph = onnx.helper.make_graph(
        [proto],
        "fold",
        [
            onnx.helper.make_tensor_value_info(name, onnx.helper.np_dtype_to_tensor_dtype(value.dtype), value.shape)
            for name, value in zip(names, inputs, strict=True)
            if value is not None
        ],
        [onnx.ValueInfoProto(name=name) for name in outputs if name],
    )
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid(node.domain, opset)])
    feeds = {name: value for name, value in zip(names, inputs, strict=True) if value is not None}
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        results = iter(ReferenceEvaluator(model).run(None, feeds))
    return [np.asarray(next(results)) if name else np.empty(0) for name in outputs]
