"""Compute at compile time what depends on constants alone."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import tvm
from tvm import relax

from .base import GraphPass, PassResult
from .constants import Array, array_of, constant, numpy_dtype
from .cse import value_key
from .graph import Expr, Graph, Var, leaves
from .rewriter import Rewriter, dtype_of, rewrite, shape_of

Evaluate = Callable[[Any, list[Array]], Array]

_SMALL_BYTES = 1 << 16
_MATMUL_FLOPS = 1 << 27  # about a second of numpy at worst


@dataclass(frozen=True)
class FoldConstants(GraphPass):
    """Replace calls of which every operand is constant by their value.

    The common operators are evaluated with numpy, in the dtype of the operands; the others, when operands and result
    are small, by TVM's own FoldConstant. Contract: outputs keep values, dtypes and shapes. Equal calls share one
    constant.

    Options:
        max_growth: a result may have this many times the bytes of its operands (small results always may).
    """

    max_growth: int = 2

    def __call__(self, module: tvm.IRModule) -> PassResult:
        """Rewrite `main`."""
        known: dict[Any, Expr] = {}

        def visit(rewriter: Rewriter, var: Var, value: Expr) -> Expr | None:
            if isinstance(value, relax.TupleGetItem):
                return _split_item(rewriter, value)
            if not isinstance(value, tvm.ir.Call) or not isinstance(value.op, tvm.ir.Op):
                return None
            evaluate = _EVALUATORS.get(value.op.name[6:])
            operands = _operands(value)
            if evaluate is None or operands is None or not self._fits(value, operands):
                return None
            key = value_key(value)
            if key not in known:
                with np.errstate(all="ignore"):
                    array = evaluate(value, operands)
                known[key] = constant(np.asarray(array, numpy_dtype(dtype_of(value))).reshape(shape_of(value)))
            return known[key]

        result = rewrite(module, visit)
        return self._with_tvm(result)

    def _fits(self, value: Any, operands: list[Array]) -> bool:
        shape = shape_of(value)
        if shape is None or not isinstance(value.ty, relax.TensorType):
            return False
        size = math.prod(shape) * numpy_dtype(dtype_of(value)).itemsize
        if value.op.name == "relax.matmul" and 2 * math.prod(shape) * operands[0].shape[-1] > _MATMUL_FLOPS:
            return False
        return size <= max(_SMALL_BYTES, self.max_growth * sum(operand.nbytes for operand in operands))

    def _with_tvm(self, result: PassResult) -> PassResult:
        """Let TVM fold what is left with constant operands, if that is anything, and small."""
        graph = Graph.read(result.module)
        if not any(_is_small_rest(value) for _, value in graph.bindings):
            return result
        folded = relax.transform.FoldConstant()(result.module)
        if len(Graph.read(folded).bindings) == len(graph.bindings):
            return result
        return PassResult(folded, True)


def _is_small_rest(value: Any) -> bool:
    if not isinstance(value, tvm.ir.Call) or any(True for _ in leaves(value)) or not isinstance(value.op, tvm.ir.Op):
        return False
    shape = shape_of(value) if isinstance(value.ty, relax.TensorType) else None
    return shape is not None and math.prod(shape) <= _SMALL_BYTES // 8


def _operands(value: Any) -> list[Array] | None:
    """The arrays of all tensor operands (of a tuple's fields too), or None when one is not constant."""
    found: list[Array] = []
    for arg in value.args:
        for field in arg.fields if isinstance(arg, relax.Tuple) else [arg]:
            if not isinstance(field.ty, relax.TensorType):
                if isinstance(field, relax.Var):
                    return None
                continue
            array = array_of(field)
            if array is None:
                return None
            found.append(array)
    return found


def _split_item(rewriter: Rewriter, value: Any) -> Expr | None:
    call = rewriter.definition(value.tuple_value)
    if not isinstance(call, tvm.ir.Call) or not isinstance(call.op, tvm.ir.Op) or call.op.name != "relax.split":
        return None
    array = array_of(call.args[0])
    if array is None:
        return None
    where = call.attrs.indices_or_sections
    axis = int(call.attrs.axis)
    if hasattr(where, "__len__"):
        return constant(np.split(array, [int(index) for index in where], axis)[value.index])
    size = -(-array.shape[axis] // int(where))
    return constant(np.split(array, range(size, array.shape[axis], size), axis)[value.index])


def _ints(expr: Any) -> list[int]:
    """The numbers in a tuple of primitive values."""
    return [int(field.value) for field in expr.fields]


def _slice(call: Any, operands: list[Array]) -> Array:
    array = operands[0]
    axes, begins, ends = (_ints(arg) for arg in call.args[1:4])
    strides = _ints(call.args[4]) if len(call.args) > 4 else [1] * len(axes)
    index = [slice(None)] * array.ndim
    for axis, begin, end, stride in zip(axes, begins, ends, strides, strict=True):
        size = array.shape[axis]
        first, last = (bound + size if bound < 0 else bound for bound in (begin, end))
        if stride > 0:
            index[axis] = slice(min(max(first, 0), size), min(max(last, 0), size), stride)
        else:
            last = min(last, size - 1)
            index[axis] = slice(min(max(first, 0), size - 1), last if last >= 0 else None, stride)
    return np.asarray(array[tuple(index)])


def _concat(call: Any, operands: list[Array]) -> Array:
    axis = call.attrs.axis
    return np.concatenate(operands, axis=None if axis is None else int(axis))


def _take(call: Any, operands: list[Array]) -> Array:
    axis = call.attrs.axis
    array, indices = operands
    size = array.size if axis is None else array.shape[int(axis)]
    if not np.issubdtype(indices.dtype, np.integer):
        indices = indices.astype(np.int64)
    indices = np.where(indices < 0, indices + size, indices)
    return np.take(array, indices, axis=None if axis is None else int(axis), mode="clip")


def _permute(call: Any, operands: list[Array]) -> Array:
    axes = call.attrs.axes
    return np.asarray(operands[0].transpose(None if axes is None else [int(axis) for axis in axes]))


def _reduce(function: Callable[..., Any]) -> Evaluate:
    def evaluate(call: Any, operands: list[Array]) -> Array:
        axis = call.attrs.axis
        axes = None if axis is None else tuple(int(a) for a in axis)
        wide = operands[0].astype(np.float64) if operands[0].dtype.kind not in "iub" else operands[0]
        return np.asarray(function(wide, axis=axes, keepdims=bool(call.attrs.keepdims)))

    return evaluate


def _divide(call: Any, operands: list[Array]) -> Array:
    left, right = operands
    if left.dtype.kind not in "iu":
        return np.asarray(left / right)
    quotient, remainder = np.floor_divide(left, right), np.remainder(left, right)  # of a division by 0: both 0
    # Integers are divided towards zero.
    return np.asarray(quotient + ((remainder != 0) & ((left < 0) != (right < 0))).astype(quotient.dtype))


def _erf(call: Any, operands: list[Array]) -> Array:
    return np.asarray(np.vectorize(math.erf, otypes=[np.float64])(operands[0].astype(np.float64)))


def _sigmoid(call: Any, operands: list[Array]) -> Array:
    return np.asarray(1 / (1 + np.exp(-operands[0].astype(np.float64))))


def _function(function: Callable[..., Any]) -> Evaluate:
    return lambda call, operands: np.asarray(function(*operands))


def _shaped(call: Any) -> tuple[int, ...]:
    return shape_of(call) or ()


def _repeat(call: Any, operands: list[Array]) -> Array:
    axis = call.attrs.axis
    return np.repeat(operands[0], int(call.attrs.repeats), None if axis is None else int(axis))


# Operators that numpy has under the same name.
_NUMPY_NAMES = (
    "add subtract multiply maximum minimum power floor_divide sqrt exp log tanh sin cos negative abs square floor ceil "
    "trunc equal not_equal greater greater_equal less less_equal logical_and logical_or logical_not logical_xor isnan "
    "isinf isfinite sign bitwise_and bitwise_or bitwise_xor"
)

_SAME_BYTES: Evaluate = lambda call, operands: operands[0].reshape(_shaped(call))  # noqa: E731  # a row of the table

_EVALUATORS: dict[str, Evaluate] = {
    **dict.fromkeys(("reshape", "expand_dims", "squeeze", "flatten", "nn.batch_flatten"), _SAME_BYTES),
    "permute_dims": _permute,
    "broadcast_to": lambda call, operands: np.broadcast_to(operands[0], _shaped(call)),
    "concat": _concat,
    "strided_slice": _slice,
    "take": _take,
    "flip": lambda call, operands: np.flip(operands[0], int(call.attrs.axis)),
    "tile": lambda call, operands: np.tile(operands[0], [int(repeat) for repeat in call.attrs.repeats]),
    "repeat": _repeat,
    "full": lambda call, operands: np.broadcast_to(operands[0], _shaped(call)),
    "zeros": lambda call, operands: np.zeros(_shaped(call)),
    "ones": lambda call, operands: np.ones(_shaped(call)),
    "matmul": lambda call, operands: np.matmul(*(operand.astype(np.float64) for operand in operands)),
    "astype": lambda call, operands: operands[0].astype(numpy_dtype(dtype_of(call))),
    "divide": _divide,
    "erf": _erf,
    "sigmoid": _sigmoid,
    "where": _function(np.where),
    "nn.relu": lambda call, operands: np.maximum(operands[0], 0),
    "rsqrt": lambda call, operands: 1 / np.sqrt(operands[0].astype(np.float64)),
    "mean": _reduce(np.mean),
    "sum": _reduce(np.sum),
    "max": _reduce(np.max),
    "min": _reduce(np.min),
    "prod": _reduce(np.prod),
    **{name: _function(getattr(np, name)) for name in _NUMPY_NAMES.split()},
}
