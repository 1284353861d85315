"""Indexing operators that TVM would lower with a warning on every use, or without saying enough."""

from __future__ import annotations

from typing import Any

from tvm import relax, te, topi

from ...annotations import CONCAT, SLICE
from ...ir_types import Scalar
from ...slices import slices
from ..tensorir.expressions import constant_shape, int64, int64s

# A kernel chooses the operand of each element by as many comparisons; the time to compile it grows with their square.
_MOST_OPERANDS = 32


def lower_concat(builder: relax.BlockBuilder, call: relax.Call) -> relax.Expr:
    """Lowers `relax.concat`, as TVM does, and says along which axis; very many operands are joined group by group."""
    axis = int(call.attrs.axis) % len(constant_shape(call))
    parts = list(call.args[0].fields)
    while len(parts) > _MOST_OPERANDS:
        groups = [parts[start : start + _MOST_OPERANDS] for start in range(0, len(parts), _MOST_OPERANDS)]
        parts = [builder.emit(_concat(builder, group, axis)) if len(group) > 1 else group[0] for group in groups]
    return _concat(builder, parts, axis)


def _concat(builder: relax.BlockBuilder, parts: list[relax.Expr], axis: int) -> relax.Expr:
    return builder.call_te(
        lambda *tensors: topi.concatenate(tensors, axis),
        *parts,
        primfunc_name_hint="concatenate",
        primfunc_attrs=CONCAT.entry(axis),
    )


def lower_slice(builder: relax.BlockBuilder, call: relax.Call) -> relax.Expr:
    """Lowers `relax.strided_slice` of steps of 1, and says where it begins."""
    starts = slice_starts(call)
    assert starts is not None

    def compute(data: te.Tensor) -> te.Tensor:
        def element(*index: Any) -> Scalar:
            return data[tuple(i + int64(start) for i, start in zip(index, starts, strict=True))]

        return te.compute(int64s(constant_shape(call)), element, name="slice", tag=topi.tag.INJECTIVE)

    attributes = SLICE.entry(int64s(starts))
    return builder.call_te(compute, call.args[0], primfunc_name_hint="slice", primfunc_attrs=attributes)


def slice_starts(call: relax.Call) -> list[int] | None:
    """Where a `relax.strided_slice` begins along every axis; None unless all steps are 1 and its numbers known."""
    found = slices(call, constant_shape(call.args[0]))
    return None if found is None or any(each.step != 1 for each in found) else [each.start for each in found]


def lower_take(builder: relax.BlockBuilder, call: relax.Call) -> relax.Expr:
    """Lowers `relax.take` of indices known to be in range (mode `fast`), along one axis."""
    axis = int(call.attrs.axis) % len(constant_shape(call.args[0]))
    count = len(constant_shape(call.args[1]))
    shape = int64s(constant_shape(call))

    def compute(data: te.Tensor, indices: te.Tensor) -> te.Tensor:
        def element(*index: Any) -> Scalar:
            position = indices[index[axis : axis + count]] if count else indices[()]
            return data[(*index[:axis], position, *index[axis + count :])]

        return te.compute(shape, element, name="take", tag=topi.tag.INJECTIVE)

    return builder.call_te(compute, *call.args, primfunc_name_hint="take")
