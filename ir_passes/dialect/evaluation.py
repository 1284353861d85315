"""What Relax operators compute, in numpy: whatever knows a call's operands when a model is compiled asks here.

The importer and the passes share this table, so that a constant has one meaning: that of the converter which made the
call, the same as for an input. Two rules keep it so. A row computes in the operands' dtype, or in a wider one, what the
kernel computes; and where ONNX leaves a result open and kernels differ (a float that no integer holds) a row
declines, so that the kernel decides for constants as it does for inputs.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
from tvm import relax

from ...dtypes import numpy_dtype
from ...ir_types import Call
from ...slices import slices
from .quantize import evaluated
from .sized import COUNTED, numbers_of

Array: TypeAlias = npt.NDArray[Any]
Evaluate: TypeAlias = Callable[[Call, list[Array]], "Array | None"]

_MATMUL_FLOPS = 1 << 27  # about a second of numpy at worst
_ERF_ELEMENTS = 1 << 18  # about as long: numpy has no erf


def evaluate(call: Call, operands: list[Array]) -> Array | None:
    """The result of a call whose tensor operands (the fields of tuples too, in order) are known.

    Returns:
        an array of the call's own shape and dtype; or None: no row computes the operator, or it declines.
    """
    row = _ROWS.get(call.op.name.removeprefix("relax."))
    if row is None or not isinstance(call.ty, relax.TensorType):
        return None
    with np.errstate(all="ignore"):
        try:
            result = row(call, operands)
        except TypeError:  # ml_dtypes lacks the function for this dtype
            return None
        if result is None:
            return None
        dtype = numpy_dtype(str(call.ty.dtype))
        return np.asarray(result).astype(dtype, copy=False).reshape(_shaped(call))


def split_item(call: Call, index: int, array: Array) -> Array:
    """One part of relax.split of a known array."""
    where = call.attrs.indices_or_sections
    axis = int(call.attrs.axis)
    if hasattr(where, "__len__"):
        return np.split(array, [int(each) for each in where], axis)[index]
    size = -(-array.shape[axis] // int(where))
    return np.split(array, range(size, array.shape[axis], size), axis)[index]


def _shaped(call: Call) -> tuple[int, ...]:
    return tuple(int(dim) for dim in call.ty.shape)


def _wide(array: Array) -> Array:
    """Floats as float64; the result is rounded once."""
    return array if array.dtype.kind in "biu" else array.astype(np.float64)


def _slice(call: Call, operands: list[Array]) -> Array | None:
    found = slices(call, operands[0].shape)
    return None if found is None else np.asarray(operands[0][found])


def _concat(call: Call, operands: list[Array]) -> Array:
    axis = call.attrs.axis
    return np.concatenate(operands, axis=None if axis is None else int(axis))


def _take(call: Call, operands: list[Array]) -> Array | None:
    axis = call.attrs.axis
    array, indices = operands
    size = array.size if axis is None else array.shape[int(axis)]
    if not np.issubdtype(indices.dtype, np.integer):
        indices = indices.astype(np.int64)
    indices = np.where(indices < 0, indices + size, indices)
    if indices.size and not 0 <= int(indices.min()) <= int(indices.max()) < size:
        return None
    return np.take(array, indices, axis=None if axis is None else int(axis))


def _permute(call: Call, operands: list[Array]) -> Array:
    axes = call.attrs.axes
    return np.asarray(operands[0].transpose(None if axes is None else [int(axis) for axis in axes]))


def _repeat(call: Call, operands: list[Array]) -> Array:
    axis = call.attrs.axis
    return np.repeat(operands[0], int(call.attrs.repeats), None if axis is None else int(axis))


def _pad(call: Call, operands: list[Array]) -> Array | None:
    if str(call.attrs.pad_mode) != "constant" or min(widths := [int(each) for each in call.attrs.pad_width]) < 0:
        return None
    pairs = list(zip(widths[::2], widths[1::2], strict=True))
    return np.pad(operands[0], pairs, constant_values=float(call.attrs.pad_value))


def _reduce(function: Callable[..., Any]) -> Evaluate:
    def reduced(call: Call, operands: list[Array]) -> Array:
        axis = call.attrs.axis
        axes = None if axis is None else tuple(int(each) for each in axis)
        if operands[0].size == math.prod(_shaped(call)) > 0:  # of one element: itself, where numpy adds it to 0.0
            return operands[0]
        return np.asarray(function(_wide(operands[0]), axis=axes, keepdims=bool(call.attrs.keepdims)))

    return reduced


def _extreme(function: Callable[..., Any]) -> Evaluate:
    """np.max or np.min; of no elements it is the dtype's own end, which is infinite for floats."""
    greatest = function is np.max

    def reduced(call: Call, operands: list[Array]) -> Array | None:
        if operands[0].size:
            return _reduce(function)(call, operands)
        kind = operands[0].dtype.kind
        if kind in "iu":
            limits = np.iinfo(operands[0].dtype)
            return np.full(_shaped(call), limits.min if greatest else limits.max)
        if kind == "b":
            return np.full(_shaped(call), not greatest)
        return np.full(_shaped(call), -np.inf if greatest else np.inf)

    return reduced


def _mean(call: Call, operands: list[Array]) -> Array | None:
    return None if operands[0].dtype.kind in "biu" else _reduce(np.mean)(call, operands)


def _divide(call: Call, operands: list[Array]) -> Array:
    """Integers are divided towards zero; by zero, and as far as they wrap, as the kernels do."""
    left, right = operands
    if left.dtype.kind not in "iu":
        return np.asarray(left / right)
    quotient, remainder = np.floor_divide(left, right), np.remainder(left, right)  # of a division by 0: both 0
    return np.asarray(quotient + ((remainder != 0) & ((left < 0) != (right < 0))).astype(left.dtype))


def _power(call: Call, operands: list[Array]) -> Array | None:
    if operands[0].dtype.kind in "biu":
        return None
    x, y = (operand.astype(np.float64) for operand in operands)
    # numpy takes the square root for exponents of 0.5, which differs in -inf and -0.0.
    root = (y == 0.5) & (np.isinf(x) | (x == 0))
    return np.asarray(np.where(root, np.abs(x), np.power(x, y)))


def _matmul(call: Call, operands: list[Array]) -> Array | None:
    if 2 * math.prod(_shaped(call)) * operands[0].shape[-1] > _MATMUL_FLOPS:
        return None
    whole = operands[0].dtype.kind in "biu"
    dtype = numpy_dtype(str(call.ty.dtype)) if whole else np.dtype(np.float64)
    return np.asarray(np.matmul(*(operand.astype(dtype) for operand in operands)))


def _astype(call: Call, operands: list[Array]) -> Array | None:
    array, dtype = operands[0], numpy_dtype(str(call.ty.dtype))
    if dtype.kind in "iu" and array.dtype.kind not in "biu":
        wide, limits = np.trunc(array.astype(np.float64)), np.iinfo(dtype)
        # 2.0**63 and 2.0**64 are above what their dtype holds, and no float64 lies between.
        if not ((wide >= float(limits.min)) & (wide < float(limits.max) + (limits.bits < 53))).all():
            return None
    return array.astype(dtype)


def _erf(call: Call, operands: list[Array]) -> Array | None:
    if operands[0].size > _ERF_ELEMENTS:
        return None
    return np.asarray(np.vectorize(math.erf, otypes=[np.float64])(operands[0].astype(np.float64)))


def _clip(call: Call, operands: list[Array]) -> Array:
    low, high = (np.asarray(bound.value, operands[0].dtype) for bound in call.args[1:3])
    return np.asarray(np.minimum(np.maximum(operands[0], low), high))


def _triangle(function: Callable[..., Any]) -> Evaluate:
    return lambda call, operands: np.asarray(function(operands[0], int(call.args[1].value)))


def _mish(x: Array) -> Array:
    return np.asarray(x * np.tanh(np.logaddexp(0, x)))


def _function(function: Callable[..., Any]) -> Evaluate:
    return lambda call, operands: np.asarray(function(*operands))


def _in_float64(function: Callable[[Array], Any]) -> Evaluate:
    return lambda call, operands: np.asarray(function(operands[0].astype(np.float64)))


# By Relax's names: those that numpy has under the same one, and the others that are one function.
_NUMPY_NAMES = (
    "add subtract multiply maximum minimum sqrt negative abs square floor ceil trunc equal not_equal greater "
    "greater_equal less less_equal logical_and logical_or logical_not logical_xor isnan isinf isfinite sign "
    "bitwise_and bitwise_or bitwise_xor"
)
_FLOAT64_NAMES = {
    **{name: name for name in ["exp", "log", "tanh", "sin", "cos", "tan", "sinh", "cosh"]},
    **{f"a{name}": f"arc{name}" for name in ("cos", "cosh", "sin", "sinh", "tan", "tanh")},
}

_SAME_BYTES: Evaluate = lambda call, operands: operands[0].reshape(_shaped(call))  # noqa: E731  # a row of the table

_ROWS: dict[str, Evaluate] = {
    **dict.fromkeys(("reshape", "expand_dims", "squeeze", "flatten", "nn.batch_flatten"), _SAME_BYTES),
    "permute_dims": _permute,
    "broadcast_to": lambda call, operands: np.broadcast_to(operands[0], _shaped(call)),
    COUNTED.removeprefix("relax."): lambda call, operands: numbers_of(call),
    "concat": _concat,
    "strided_slice": _slice,
    "take": _take,
    "flip": lambda call, operands: np.flip(operands[0], int(call.attrs.axis)),
    "tile": lambda call, operands: np.tile(operands[0], [int(repeat) for repeat in call.attrs.repeats]),
    "repeat": _repeat,
    "nn.pad": _pad,
    "full": lambda call, operands: np.broadcast_to(operands[0], _shaped(call)),
    "zeros": lambda call, operands: np.zeros(_shaped(call)),
    "ones": lambda call, operands: np.ones(_shaped(call)),
    "tril": _triangle(np.tril),
    "triu": _triangle(np.triu),
    "matmul": _matmul,
    "astype": _astype,
    "divide": _divide,
    "mod": _function(np.fmod),
    "floor_mod": _function(np.mod),
    "power": _power,
    "erf": _erf,
    "sigmoid": _in_float64(lambda x: 1 / (1 + np.exp(-x))),
    "rsqrt": _in_float64(lambda x: 1 / np.sqrt(x)),
    **dict.fromkeys(("tilewright.quantize", "tilewright.dequantize", "tilewright.requantize"), evaluated),
    "tilewright.expm1": _in_float64(np.expm1),
    "tilewright.log1p": _in_float64(np.log1p),
    "tilewright.mish": _in_float64(_mish),
    "tilewright.softplus": _in_float64(lambda x: np.logaddexp(0, x)),
    "where": _function(np.where),
    "clip": _clip,
    "bitwise_not": _function(np.invert),
    "nn.relu": lambda call, operands: np.maximum(operands[0], operands[0].dtype.type(0)),
    "mean": _mean,
    "sum": _reduce(np.sum),
    "max": _extreme(np.max),
    "min": _extreme(np.min),
    "prod": _reduce(np.prod),
    **{name: _function(getattr(np, name)) for name in _NUMPY_NAMES.split()},
    **{name: _in_float64(getattr(np, function)) for name, function in _FLOAT64_NAMES.items()},
}
# The operators that `evaluate` knows, without `relax.`.
OPERATORS = frozenset(_ROWS)
