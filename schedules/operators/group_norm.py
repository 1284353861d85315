"""Group and instance normalisation: channels last by their template, channels first as rows."""

from __future__ import annotations

import math

import numpy as np
from tvm import relax, te

from ...dtypes import numpy_dtype
from ..templates.group_norm import Groups
from ..templates.template import Chooser
from ..tensorir.expressions import accumulator, constant_shape
from .convolution import new_constant


def lower_group_norm(builder: relax.BlockBuilder, call: relax.Call, decide: Chooser) -> relax.Expr:
    """Lowers `relax.nn.group_norm` of data (N, *space, C) or (N, C, *space)."""
    shape = constant_shape(call.args[0])
    if int(call.attrs.channel_axis) % len(shape) != len(shape) - 1:
        return _by_rows(builder, call)
    workload = Groups(
        images=shape[0],
        pixels=math.prod(shape[1:-1]),
        channels=shape[-1],
        groups=int(call.attrs.num_groups),
        dtype=accumulator(str(call.ty.dtype)),
    )
    decision = decide(workload)

    def compute(data: te.Tensor, gamma: te.Tensor, beta: te.Tensor) -> te.Tensor:
        return decision.compute(decide.target, data, gamma, beta, epsilon=float(call.attrs.epsilon))

    return builder.call_te(compute, *call.args, primfunc_name_hint="group_norm", primfunc_attrs=decision.marks())


def _by_rows(builder: relax.BlockBuilder, call: relax.Call) -> relax.Expr:
    """A group of (N, C, *space) is a row; its scale and its shift change along it, and come after."""
    op, emit = relax.op, builder.emit
    data, gamma, beta = call.args
    shape, dtype = constant_shape(data), str(call.ty.dtype)
    kind = accumulator(dtype)
    groups = int(call.attrs.num_groups)
    length = math.prod(shape[1:]) // groups
    wide = data if dtype == kind else emit(op.astype(data, kind))
    rows = emit(op.reshape(wide, (shape[0], groups, length)))
    ones, zeros = (new_constant(make(length, numpy_dtype(kind))) for make in (np.ones, np.zeros))
    normal = emit(op.nn.layer_norm(rows, ones, zeros, axes=[2], epsilon=float(call.attrs.epsilon)))
    image = emit(op.reshape(normal, shape))
    along = (shape[1], *[1] * (len(shape) - 2))
    scale, shift = (
        emit(op.reshape(each if dtype == kind else emit(op.astype(each, kind)), along)) for each in (gamma, beta)
    )
    result = op.add(emit(op.multiply(image, scale)), shift)
    return result if dtype == kind else op.astype(emit(result), dtype)


def takes_group_norm(call: relax.Call) -> bool:
    """Whether channels come last or right after the batch, and everything but them and the batch is normalised."""
    shape = constant_shape(call.args[0])
    rank, channel = len(shape), int(call.attrs.channel_axis) % len(shape)
    axes = sorted(int(axis) % rank for axis in call.attrs.axes)
    return 0 not in shape and channel in (1, rank - 1) and axes == [a for a in range(1, rank) if a != channel]
