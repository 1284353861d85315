"""Reductions over any axes (sum, mean, max, min, prod): as windows when channels stay, as rows when they go."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from tvm import relax, te, tirx

from ... import hidden_integers as integers
from ...ir_types import Scalar
from ..templates import window
from ..templates.rows_choice import Rows
from ..templates.template import Chooser
from ..templates.window_choice import Windows
from ..tensorir.expressions import accumulator, constant_shape, dtype_bits, int64s, reduce_max, reduce_min, unflatten
from ..tensorir.operands import uncast


def _product(expression: Scalar, axis: Any) -> Scalar:
    return _PRODUCT(expression, axis=axis)


_PRODUCT = te.comm_reducer(lambda x, y: x * y, lambda dtype: tirx.const(1, dtype), name="product")


@dataclass(frozen=True)
class Reducer:
    """One reduction: how to combine, and whether the result is divided by the number of elements."""

    combine: Callable[..., Scalar]
    join: Callable[..., Scalar]
    is_mean: bool = False


_WRAPPING_SUM = te.comm_reducer(
    lambda x, y: integers.add(x, y), lambda dtype: tirx.const(0, dtype), name="wrapping_sum"
)
_WRAPPING_PRODUCT = te.comm_reducer(
    lambda x, y: integers.multiply(x, y), lambda dtype: tirx.const(1, dtype), name="wrapping_product"
)

REDUCERS = {
    "relax.sum": Reducer(te.sum, lambda x, y: x + y),
    "relax.mean": Reducer(te.sum, lambda x, y: x + y, is_mean=True),
    "relax.max": Reducer(reduce_max, tirx.max),
    "relax.min": Reducer(reduce_min, tirx.min),
    "relax.prod": Reducer(_product, lambda x, y: x * y),
}
# Of integers that may leave their dtype.
_WRAPPING = {
    "relax.sum": Reducer(lambda x, axis: _WRAPPING_SUM(x, axis=axis), integers.add),
    "relax.prod": Reducer(lambda x, axis: _WRAPPING_PRODUCT(x, axis=axis), integers.multiply),
}


def lower_reduction(builder: relax.BlockBuilder, call: relax.Call, decide: Chooser) -> relax.Expr:
    """Lowers `relax.sum`, `mean`, `max`, `min` or `prod`."""
    name = str(call.op.name)
    reducer = REDUCERS[name]
    shape = constant_shape(call.args[0])
    output = constant_shape(call)
    given = call.attrs.axis
    axes = sorted(int(axis) % len(shape) for axis in given) if given is not None else list(range(len(shape)))
    kept = [axis for axis in range(len(shape)) if axis not in axes]
    count = math.prod(shape[axis] for axis in axes)
    # Axes of extent 1 may count as kept, so that (N, H, W, 1) is a row and not a window over single channels.
    by_rows = not kept or max(kept) < max(axes) or math.prod(shape[max(axes) + 1 :]) == 1
    kind = accumulator(str(call.ty.dtype))
    if by_rows:
        decision = decide(Rows(math.prod(shape[axis] for axis in kept), count, kind, stays=False))
    else:
        offsets = tuple(shape[axis] for axis in axes)
        decision = decide(Windows(tuple(shape[axis] for axis in kept), offsets))

    dtype = str(call.ty.dtype)
    source = uncast(builder, call.args[0]) if dtype == "int32" else call.args[0]
    if "float" not in dtype and dtype_bits(str(source.ty.dtype)) == dtype_bits(dtype):
        reducer = _WRAPPING.get(name, reducer)

    def compute(data: te.Tensor) -> te.Tensor:
        lead = [shape[axis] for axis in kept]
        reduced = [shape[axis] for axis in axes]

        def at(*point: Any) -> Scalar:
            return data[point].astype(kind)

        if by_rows:

            def element(*index: Any) -> Scalar:
                *row, position = index
                inner = unflatten(position, reduced)
                point: list[Any] = [None] * len(shape)
                for axis, value in zip(kept, row, strict=True):
                    point[axis] = value
                for axis, value in zip(axes, inner, strict=True):
                    point[axis] = value
                return at(*point)

            total = decision.compute(decide.target, element, lead, reducer.combine, reducer.join, "reduction")
        else:
            result = window.reduce_outer(at, shape, axes, reducer.combine, decision.choice.parts)

            def total(*row: Any) -> Scalar:
                return result[row]

        keeps = len(output) == len(shape)

        def final(*index: Any) -> Scalar:
            row = [index[axis] for axis in kept] if keeps else list(index)
            value = total(*row)
            value = value / tirx.const(count, kind) if reducer.is_mean else value
            return value.astype(dtype)

        return te.compute(int64s(output), final, name="reduced")

    return builder.call_te(
        compute,
        source,
        primfunc_name_hint=name.removeprefix("relax."),
        primfunc_attrs=decision.marks(),
    )
