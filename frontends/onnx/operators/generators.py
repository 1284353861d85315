"""Operators that make tensors from nothing but sizes."""

from __future__ import annotations

import numpy as np
from tvm import relax

from ..dtypes import numpy_dtype, relax_dtype
from ..node import Node, Result
from ..registry import operator

_LARGEST_CONSTANT = 1 << 20  # elements: above, a fill is computed at run time instead of stored in the library


@operator("Constant")
def constant(node: Node) -> Result:
    """A constant; folding has already taken those that ONNX's reference can evaluate."""
    value = node.attr_tensor("value")
    if value is None:
        raise node.unsupported("only tensors and numbers can be constants")
    return value


@operator("ConstantOfShape")
def constant_of_shape(node: Node) -> Result:
    """One value in every element."""
    shape = node.static_ints(0, "the shape")
    value = node.attr_tensor("value")
    value = np.zeros(1, np.float32) if value is None else value
    if np.prod(shape, dtype=np.float64) <= _LARGEST_CONSTANT:
        return np.full(shape, value.item(), value.dtype)
    return relax.op.full(shape, node.emit(value.reshape(())), str(value.dtype))


@operator("EyeLike")
def eye_like(node: Node) -> Result:
    """Ones on a diagonal of a matrix of the input's shape."""
    shape = node.shape(0)
    dtype = relax_dtype(node.attr_int("dtype", 0), node.label) if "dtype" in node.attributes else node.dtype(0)
    return np.eye(shape[0], shape[1], k=node.attr_int("k", 0)).astype(numpy_dtype(dtype))


@operator("Range")
def number_range(node: Node) -> Result:
    """Numbers from start to limit by delta."""
    start, limit, delta = (node.static(index, what) for index, what in enumerate(("start", "the limit", "the step")))
    return np.arange(start.item(), limit.item(), delta.item()).astype(start.dtype)
