"""Operators that make tensors from nothing but sizes."""

from __future__ import annotations

import math

import numpy as np
from tvm import relax

from ..dtypes import numpy_dtype
from ..limits import CONSTANT_GROWTH, check_table, check_tensor
from ..node import Node, Result
from ..registry import operator


@operator("Constant")
def constant(node: Node) -> Result:
    """A constant: a tensor, a number or a list of numbers. Sparse tensors were made dense when the file was read."""
    for name, dtype in (("value_int", np.int64), ("value_float", np.float32)):
        if name in node.attributes:
            number = node.attr_int(name, 0) if name == "value_int" else node.attr_float(name, 0.0)
            return np.asarray(number, dtype)
        if f"{name}s" in node.attributes:
            values = node.attr_ints(f"{name}s") if name == "value_int" else node.attr_floats(f"{name}s")
            return np.asarray(values, dtype)
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
    if value.size != 1:
        raise node.invalid(f"the attribute value has {value.size} elements")
    check_tensor(shape)
    if np.prod(shape, dtype=np.float64) <= CONSTANT_GROWTH:
        return np.full(shape, value.item(), value.dtype)
    return relax.op.full(shape, node.emit(value.reshape(())), str(value.dtype))


@operator("EyeLike")
def eye_like(node: Node) -> Result:
    """Ones on a diagonal of a matrix of the input's shape."""
    shape = node.shape(0)
    if len(shape) != 2:
        raise node.invalid(f"the input has rank {len(shape)}, it must be a matrix")
    dtype = node.attr_relax_dtype("dtype", node.dtype(0))
    check_table(float(math.prod(shape)), "the matrix")
    return np.eye(shape[0], shape[1], k=node.attr_int("k", 0)).astype(numpy_dtype(dtype))


@operator("Range")
def number_range(node: Node) -> Result:
    """Numbers from start to limit by delta."""
    start, limit, delta = (node.static(index, what) for index, what in enumerate(("start", "the limit", "the step")))
    if delta.item() == 0:
        raise node.invalid("the step is 0")
    first, last, step = (float(each.item()) for each in (start, limit, delta))
    check_table((last - first) / step, "the range")
    numbers = np.arange(start.item(), limit.item(), delta.item()).astype(start.dtype)
    return node.counted(numbers, int(delta.item()))
