"""Which dtypes an operator takes, by ONNX's own definition: a node that has others is no valid model.

Two kinds are let through, since what they mean is plain: dtypes that a later version of the operator takes, and floats
of other widths where it takes some.
"""

from __future__ import annotations

from functools import lru_cache

import onnx

from ...errors import ModelError
from .dtypes import FLOATS, STORED
from .node import Node
from .sequences import NO_TENSORS

# Dtypes as numpy spells them -> as ONNX's definitions do, where those differ.
_SPELLED = {"float32": "float", "float64": "double", "float4_e2m1fn": "float4e2m1", "float8_e8m0fnu": "float8e8m0"}


def check_types(node: Node, domain: str) -> None:
    """Compares the dtypes of a node's inputs with the definition of its operator, where ONNX has one.

    Raises:
        ModelError: the definition does not take an input's dtype, or wants it to be that of another input.
    """
    parameters = _parameters(node.op_type, node.opset, domain)
    bound: dict[str, str] = {}
    for index in range(len(node.inputs)) if parameters else ():
        name, variable, types = parameters[min(index, len(parameters) - 1)]
        if not types or not node.has(index) or isinstance(node.inputs[index], NO_TENSORS):
            continue
        dtype = node.dtype(index)
        spelled = _SPELLED.get(dtype, dtype.replace("float8_", "float8"))
        if spelled not in types and not (dtype in FLOATS and _FLOATS & set(types)):
            raise ModelError(
                f"its input '{name}' is of {dtype}; {node.op_type} of opset {node.opset} takes {', '.join(types)}",
                where=node.label,
            )
        stored = STORED.get(dtype, dtype)
        if variable and bound.setdefault(variable, stored) != stored:
            raise ModelError(
                f"its input '{name}' is of {dtype}, another that has to be of the same dtype is of {bound[variable]}",
                where=node.label,
            )


_FLOATS = frozenset(_SPELLED.get(dtype, dtype) for dtype in FLOATS)


@lru_cache(maxsize=1024)
def _parameters(op_type: str, opset: int, domain: str) -> tuple[tuple[str, str, tuple[str, ...]], ...]:
    """Of every input its name, its type variable, and the element types that it may have: none if it is no tensor.

    Of several inputs that need not be of one type, none is bound by a variable.
    """
    try:
        schema = onnx.defs.get_schema(op_type, opset, domain)
    except onnx.defs.SchemaError:
        return ()
    newest = onnx.defs.get_schema(op_type, domain).inputs
    later = newest if len(newest) == len(schema.inputs) else schema.inputs
    return tuple(
        (
            each.name,
            each.type_str if each.is_homogeneous else "",
            tuple(
                sorted(kind[len("tensor(") : -1] for kind in {*each.types, *more.types} if kind.startswith("tensor("))
            ),
        )
        for each, more in zip(schema.inputs, later, strict=True)
    )
