"""Operators that read a whole row to make one number or a row again: softmax, normalisation, reductions of last axes.

A row is the flattened trailing axes. Reductions along it keep a few registers of partial results, so that the loop is
vectorized and its additions do not wait for each other; at the end these are joined by halves. What does not fill them
is a short scalar loop. The loop nest:

    parallel rows
        for stage in (maximum, exponentials, sum, output):     each a vectorized loop over the row, in the L1 cache

or, where rows are few and long,

    for stage in (maximum, exponentials, sum, output):
        parallel (row, part of it)                             a reduction's results of parts are combined in order
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from tvm import relax, te, tirx

from ... import hidden_floats as hidden
from ...annotations import ANCHOR, STAGE
from ...ir_types import Scalar
from ...targets.target import Target
from ..tensorir.expressions import accumulator, constant_shape, int64, int64s, reduce_larger, unflatten
from .rows_choice import ROWS, Rows, RowsChoice
from .template import Chooser

PARTS = "parts"  # what STAGE says of partial results of parts of a row

Combine = Callable[..., Scalar]
Element = Callable[..., Scalar]


def compute(
    workload: Rows,
    choice: RowsChoice,
    target: Target,
    element: Element,
    lead: Sequence[int],
    combine: Combine,
    join: Combine,
    name: str,
) -> Element:
    """Reduces rows in stages and returns the total as a function of the row's index.

    Args:
        element: the element at (*row, position).
        lead: extents of the row's index.
        combine: `te.sum`, `te.max`, ...
        join: the same of two scalars.
    """
    length, width, parts = workload.length, choice.width(workload.dtype, target), choice.parts
    steps = length // (width * parts)
    main = steps * width * parts
    step = te.reduce_axis((int64(0), int64(steps)), "step")
    attributes = ANCHOR.entry(ROWS)
    if parts > 1:
        in_parts = te.compute(
            int64s((*lead, parts, width)),
            lambda *index: combine(element(*index[:-2], (index[-2] * steps + step) * width + index[-1]), axis=[step]),
            name=f"{name}_parts",
            attrs={**attributes, **STAGE.entry(PARTS)},
        )
        part = te.reduce_axis((int64(0), int64(parts)), "part")
        partials = te.compute(
            int64s((*lead, width)),
            lambda *index: combine(in_parts[(*index[:-1], part, index[-1])], axis=[part]),
            name=f"{name}_partial",
            attrs=attributes,
        )
    else:
        partials = te.compute(
            int64s((*lead, width)),
            lambda *index: combine(element(*index[:-1], step * width + index[-1]), axis=[step]),
            name=f"{name}_partial",
            attrs=attributes,
        )
    total = _fold(partials, lead, width, join, name)
    if main == length:
        return lambda *row: total[row or (int64(0),)]
    rest = te.reduce_axis((int64(0), int64(length - main)), "rest")
    tail = te.compute(
        int64s(lead) or [int64(1)],
        lambda *row: combine(element(*(row if lead else ()), main + rest), axis=[rest]),
        name=f"{name}_tail",
        attrs=ANCHOR.entry(ROWS),
    )
    return lambda *row: join(total[row or (int64(0),)], tail[row or (int64(0),)])


def _fold(partials: te.Tensor, lead: Sequence[int], width: int, join: Combine, name: str) -> te.Tensor:
    """Joins `width` partial results, a power of two, by halves: a chain would wait for each of its steps."""

    def halves(source: te.Tensor, half: int) -> Element:
        return lambda *index: join(source[index], source[(*index[:-1], index[-1] + half)])

    while width > 2:
        width //= 2
        partials = te.compute(
            int64s((*lead, width)), halves(partials, width), name=f"{name}_{width}", attrs=ANCHOR.entry(ROWS)
        )

    def last(*index: Any) -> Scalar:
        row = index if lead else ()
        first = partials[(*row, int64(0))]
        return first if width == 1 else join(first, partials[(*row, int64(1))])

    return te.compute(int64s(lead) or [int64(1)], last, name=f"{name}_total", attrs=ANCHOR.entry(ROWS))


def _add(left: Any, right: Any) -> Any:
    return left + right


def softmax_stages(
    reduce: Callable[..., Element], source: Element, lead: Sequence[int], length: int, kind: str
) -> tuple[te.Tensor, te.Tensor]:
    """exp(x - max x) of shape (*lead, length), and one over its sum, of shape `lead`, of rows of dtype `kind`.

    Args:
        reduce: `compute` for a workload and a choice.
    """
    # A row with NaN is NaN throughout, by its exponentials.
    maximum = reduce(source, lead, reduce_larger, hidden.larger, "maximum")
    powers = te.compute(
        int64s((*lead, length)),
        lambda *i: tirx.exp(source(*i) - maximum(*i[:-1])),
        name="exponential",
        attrs=ANCHOR.entry(ROWS),
    )
    total = reduce(lambda *index: powers[index], lead, te.sum, _add, "sum")
    scale = te.compute(
        int64s(lead) or [int64(1)],
        lambda *row: tirx.const(1, kind) / total(*(row if lead else ())),
        name="scale",
        attrs=ANCHOR.entry(ROWS),
    )
    return powers, scale


def lower_softmax(builder: relax.BlockBuilder, call: relax.Call, decide: Chooser, *, log: bool = False) -> relax.Expr:
    """Lowers softmax or log-softmax over the last axis."""
    shape = constant_shape(call.args[0])
    *lead, length = shape
    kind = accumulator(str(call.ty.dtype))
    decision = decide(Rows(math.prod(lead), length, kind, functions=1))
    reduce = partial(decision.compute, decide.target)

    def stages(data: te.Tensor) -> te.Tensor:

        def source(*index: Any) -> Scalar:
            return data[index].astype(kind)

        if log:
            maximum = reduce(source, lead, reduce_larger, hidden.larger, "maximum")
            total = reduce(lambda *index: tirx.exp(source(*index) - maximum(*index[:-1])), lead, te.sum, _add, "sum")
            return te.compute(
                int64s(shape),
                lambda *i: (source(*i) - maximum(*i[:-1]) - tirx.log(total(*i[:-1]))).astype(data.dtype),
                name="log_softmax",
            )
        powers, scale = softmax_stages(reduce, source, lead, length, kind)
        return te.compute(
            int64s(shape),
            lambda *i: (powers[i] * scale[i[:-1] or (int64(0),)]).astype(data.dtype),
            name="softmax",
        )

    name = "log_softmax" if log else "softmax"
    return builder.call_te(stages, call.args[0], primfunc_name_hint=name, primfunc_attrs=decision.marks())


def lower_normalization(
    builder: relax.BlockBuilder, call: relax.Call, decide: Chooser, *, centered: bool
) -> relax.Expr:
    """Lowers layer norm (`centered`) or RMS norm over trailing axes: the variance is that of the centred row.

    Args:
        centered: whether the mean is subtracted; `call` is (data, gamma, beta) then, else (data, weight).
    """
    shape = constant_shape(call.args[0])
    axes = sorted(int(axis) % len(shape) for axis in call.attrs.axes)
    lead, trailing = shape[: axes[0]], shape[axes[0] :]
    length = math.prod(trailing)
    epsilon = float(call.attrs.epsilon)
    kind = accumulator(str(call.ty.dtype))
    decision = decide(Rows(math.prod(lead), length, kind))
    reduce = partial(decision.compute, decide.target)

    def stages(data: te.Tensor, gamma: te.Tensor, beta: te.Tensor | None = None) -> te.Tensor:

        def source(*index: Any) -> Scalar:
            *row, position = index
            return data[(*row, *unflatten(position, trailing))].astype(kind)

        def mean_of(element: Element, name: str) -> Callable[..., Scalar]:
            total = reduce(element, lead, te.sum, _add, name)
            result = te.compute(
                int64s(lead) or [int64(1)],
                lambda *row: total(*(row if lead else ())) / tirx.const(length, kind),
                name=f"{name}_mean",
                attrs=ANCHOR.entry(ROWS),
            )
            return lambda *row: result[row or (int64(0),)]

        mean = mean_of(source, "sum") if centered else None

        def deviation(*index: Any) -> Scalar:
            return source(*index) - mean(*index[:-1]) if mean is not None else source(*index)

        variance = mean_of(lambda *index: deviation(*index) * deviation(*index), "square")
        scale = te.compute(
            int64s(lead) or [int64(1)],
            lambda *row: tirx.const(1, kind) / tirx.sqrt(variance(*(row if lead else ())) + tirx.const(epsilon, kind)),
            name="scale",
            attrs=ANCHOR.entry(ROWS),
        )

        def element(*index: Any) -> Scalar:
            row, inner = index[: len(lead)], index[len(lead) :]
            centred = data[index].astype(kind)
            centred = centred - mean(*row) if mean is not None else centred
            value = centred * scale[row or (int64(0),)] * gamma[inner].astype(kind)
            return (value + beta[inner].astype(kind) if beta is not None else value).astype(data.dtype)

        return te.compute(int64s(shape), element, name="normalized")

    return builder.call_te(
        stages,
        *call.args,
        primfunc_name_hint="layer_norm" if centered else "rms_norm",
        primfunc_attrs=decision.marks(),
    )


def decompose_normalization(builder: relax.BlockBuilder, call: relax.Call, *, centered: bool) -> relax.Expr:
    """Layer norm or RMS norm over any axes, in plain operators, of which each has its own kernel."""
    op, emit = relax.op, builder.emit
    dtype = str(call.ty.dtype)
    kind = accumulator(dtype)
    shape = constant_shape(call.args[0])
    axes = sorted(int(axis) % len(shape) for axis in call.attrs.axes)
    along = [extent if axis in axes else 1 for axis, extent in enumerate(shape)]
    data, *parameters = (each if str(each.ty.dtype) == kind else emit(op.astype(each, kind)) for each in call.args)
    gamma, *beta = (emit(op.reshape(parameter, along)) for parameter in parameters)
    if centered:
        data = emit(op.subtract(data, emit(op.mean(data, axes, keepdims=True))))
    variance = emit(op.mean(emit(op.multiply(data, data)), axes, keepdims=True))
    spread = emit(op.sqrt(emit(op.add(variance, relax.const(float(call.attrs.epsilon), kind)))))
    result = emit(op.multiply(emit(op.divide(data, spread)), gamma))
    result = emit(op.add(result, beta[0])) if beta else result
    return result if kind == dtype else op.astype(result, dtype)


def can_lower_normalization(call: relax.Call) -> bool:
    """Whether the normalized axes are the trailing ones."""
    rank = len(constant_shape(call.args[0]))
    axes = sorted(int(axis) % rank for axis in call.attrs.axes)
    return axes == list(range(rank - len(axes), rank))
