"""Operators that ONNX itself defines by a function of simpler operators, as that function: the way in for the rest."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import onnx
import onnx_ir as ir

from .node import Value, dtype_of, shape_of


@dataclass(frozen=True)
class Body:
    """A function and which outputs of the operator it computes: bodies leave out optional outputs that nobody reads."""

    function: ir.Function
    outputs: tuple[int, ...]


def function_body(
    node: ir.Node, inputs: Sequence[Value | None], attributes: Mapping[str, ir.Attr], opset: int
) -> Body | None:
    """The body of an operator's ONNX definition, or None if ONNX does not define it so.

    Args:
        node: the node to expand.
        inputs: its inputs; the body of some operators depends on their types.
        attributes: its attributes, resolved.
        opset: the version of its domain's operator set.
    """
    domain = "" if node.domain == "ai.onnx" else node.domain
    if not onnx.defs.has(node.op_type, domain):
        return None
    try:
        schema: Any = onnx.defs.get_schema(node.op_type, opset, domain)  # its stub lacks functions
    except onnx.defs.SchemaError:
        return None
    if schema.has_function:
        body = _newest_not_after(schema, schema.function_opset_versions, opset, None)
    elif schema.has_context_dependent_function:
        proto = onnx.helper.make_node(
            node.op_type,
            [f"i{index}" if value is not None else "" for index, value in enumerate(inputs)],
            [value.name or "" for value in node.outputs],
            domain=domain,
        )
        proto.attribute.extend(ir.serde.serialize_attribute(attribute) for attribute in attributes.values())
        types = [_type(value).SerializeToString() for value in inputs]
        versions = schema.context_dependent_function_opset_versions
        body = _newest_not_after(schema, versions, opset, (proto.SerializeToString(), types))
    else:
        return None
    if not body:
        return None
    proto = onnx.FunctionProto.FromString(body) if isinstance(body, bytes) else body
    if not proto.opset_import:
        proto.opset_import.append(onnx.helper.make_opsetid("", opset))
    made = {name for each in proto.node for name in each.output} | set(proto.input)
    kept = tuple(index for index, name in enumerate(proto.output) if name in made)
    names = [proto.output[index] for index in kept]
    del proto.output[:]
    proto.output.extend(names)
    return Body(ir.serde.deserialize_function(proto), kept)


def default_attributes(op_type: str, domain: str, opset: int) -> dict[str, ir.Attr]:
    """The default values that an operator's definition gives its attributes: a function's body refers to them."""
    schema = onnx.defs.get_schema(op_type, opset, "" if domain == "ai.onnx" else domain)
    defaults = {name: attribute.default_value for name, attribute in schema.attributes.items()}
    return {name: ir.serde.deserialize_attribute(value) for name, value in defaults.items() if value.name}


def _newest_not_after(
    schema: Any, versions: Sequence[int], opset: int, context: tuple[bytes, list[bytes]] | None
) -> bytes | None:
    usable = [version for version in versions if version <= opset]
    if not usable:
        return None
    newest = max(usable)
    if context is None:
        return cast("bytes | None", schema.get_function_with_opset_version(newest))
    return cast("bytes | None", schema.get_context_dependent_function_with_opset_version(newest, *context))


def _type(value: Value | None) -> onnx.TypeProto:
    if value is None:
        return onnx.TypeProto()
    known = isinstance(value, np.ndarray)
    dtype = value.dtype if known else np.dtype(ir.DataType[_ir_name(dtype_of(value))].numpy())
    shape = value.shape if known else shape_of(value)
    return onnx.helper.make_tensor_type_proto(onnx.helper.np_dtype_to_tensor_dtype(dtype), shape)


def _ir_name(dtype: str) -> str:
    names = {"float32": "FLOAT", "float64": "DOUBLE"}
    return names.get(dtype, dtype.upper())
