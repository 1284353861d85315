"""Interpolation by tables: rows of neighbours by the template, along the last axis by way of a transposition."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from tvm import relax, te

from ...annotations import ANCHOR, WHOLE
from ...ir_passes.dialect.interpolation import NAME as NAME
from ...ir_passes.dialect.interpolation import axes_of, tables_of, weighted
from ..templates import interpolation
from ..templates.template import Chooser
from ..tensorir.expressions import constant_shape, dtype_bits, int64s

# Terms of a sum that are written out; more are a loop, which is TVM's.
_MOST_TERMS = 12
# Of the sums of two axes at once: beyond, a pass for each reads less.
_MOST_TOGETHER = 4
_FEWEST_ROWS = 4  # that a transposition pays for

_Step = tuple[int, tuple[relax.Expr, relax.Expr]]  # an axis, its positions and its weights


def can_lower(call: relax.Call) -> bool:
    """Whether every sum may be written out."""
    return all(constant_shape(weights)[1] <= _MOST_TERMS for _, weights in tables_of(call.args[1:]))


def lower_interpolation(builder: relax.BlockBuilder, call: relax.Call, decide: Chooser) -> relax.Expr:
    """Lowers `relax.tilewright.interpolate`: two axes in one kernel where their sums are short, or one after the other.

    Along the last axis neighbours come from places that a table names, which no vector reads. There, what is read is
    transposed first, and what is computed, a vector across the other axes at a time, as it is written.
    """
    x, *rest = call.args
    steps = list(zip(axes_of(call), tables_of(rest), strict=True))
    while steps:
        shape = constant_shape(x)
        count = 1
        if steps[0][0] == len(shape) - 1 and math.prod(shape[:-1]) >= _FEWEST_ROWS:
            x = _along_last(builder, x, steps[0])
        else:
            fills = math.prod(shape[1 + max(axis for axis, _ in steps[:2]) :]) >= decide.target.lanes()
            count = 2 if fills and _terms(steps[:2]) <= _MOST_TOGETHER else 1
            x = _along_axes(builder, x, steps[:count], decide)
        steps = steps[count:]
        x = builder.emit(x) if steps else x
    return x


def _terms(steps: Sequence[_Step]) -> int:
    return math.prod(constant_shape(weights)[1] for _, (_, weights) in steps)


def _along_axes(builder: relax.BlockBuilder, x: relax.Expr, steps: Sequence[_Step], decide: Chooser) -> relax.Expr:
    axes, tables = zip(*steps, strict=True)
    output = list(constant_shape(x))
    for axis, (positions, _) in steps:
        output[axis] = constant_shape(positions)[0]
    bits = dtype_bits(str(x.ty.dtype))
    workload = interpolation.Interpolation(tuple(output), len(output) - 1 - max(axes), _terms(steps), bits)
    decision = decide(workload)

    def compute(data: te.Tensor, *rest: te.Tensor) -> te.Tensor:
        def element(*index: Any) -> Any:
            return weighted(data, tables_of(rest), axes, index)

        return te.compute(int64s(output), element, name="interpolate", attrs=ANCHOR.entry(interpolation.TEMPLATE))

    operands = [each for table in tables for each in table]
    return builder.call_te(compute, x, *operands, primfunc_name_hint="interpolate", primfunc_attrs=decision.marks())


def _along_last(builder: relax.BlockBuilder, x: relax.Expr, step: _Step) -> relax.Expr:
    axis, (positions, weights) = step
    output = [*constant_shape(x)[:-1], constant_shape(positions)[0]]
    first = builder.emit(relax.op.permute_dims(x, [axis, *range(axis)]))

    def compute(data: te.Tensor, *table: te.Tensor) -> te.Tensor:
        def element(*index: Any) -> Any:
            return weighted(lambda *at: data(at[-1], *at[:-1]), [table], [axis], index)

        return te.compute(int64s(output), element, name="interpolate")

    # By itself: computed inside of it, the transposition would be undone.
    return builder.call_te(
        compute, first, positions, weights, primfunc_name_hint="interpolate", primfunc_attrs=WHOLE.entry()
    )
