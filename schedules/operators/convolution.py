"""Convolutions, channels-last: as contractions, by Winograd's algorithm, or as depthwise windows."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import tvm
from tvm import relax, te

from ...annotations import STAGE
from ...ir_types import Scalar
from ...targets.target import Target
from ..templates import dot_product, window, winograd
from ..templates.contraction import Workload
from ..templates.microkernel import Microkernel
from ..templates.microkernels import microkernel
from ..templates.sparsity import sparsity_of
from ..templates.taps import Filter
from ..templates.template import Chooser, Decision
from ..templates.window_choice import Windows
from ..templates.winograd_choice import tiling_of
from ..templates.winograd_transform import transformed_weights
from ..tensorir.expressions import constant_shape, flatten, int64s, unflatten
from ..tensorir.operands import operand_dtypes, uncast, unpadded
from ..tensorir.padding import padded, within
from .convolution_operand import Geometry, pixels_of, windows_of


def pad(data: te.Tensor, padding: Sequence[int], value: float = 0.0) -> te.Tensor:
    """The data (N, *space, C) with `value` around it; the data itself when there is no padding.

    Args:
        padding: all the leading pads, then all the trailing pads, of the spatial axes.
    """
    rank = len(padding) // 2
    if not any(padding):
        return data
    before, after = (0, *padding[:rank], 0), (0, *padding[rank:], 0)
    extents = constant_shape(data)
    shape = [first + extent + last for first, extent, last in zip(before, extents, after, strict=True)]
    return padded(lambda *at: data[at], extents, shape, before, str(data.dtype), STAGE.entry("pad"), "padded", value)


def geometry_of(call: relax.Call) -> Geometry:
    """The sizes of a channels-last `relax.nn.conv1d`, `conv2d` or `conv3d`."""
    attributes = call.attrs
    return Geometry(
        data=constant_shape(call.args[0]),
        weights=constant_shape(call.args[1]),
        strides=tuple(int(value) for value in attributes.strides),
        padding=tuple(int(value) for value in attributes.padding),
        dilation=tuple(int(value) for value in attributes.dilation),
        groups=int(attributes.groups),
    )


def lower_convolution(builder: relax.BlockBuilder, call: relax.Call, decide: Chooser) -> relax.Expr:
    """Lowers a channels-last convolution to a `call_tir`, its weights packed."""
    geometry = geometry_of(call)
    if geometry.is_depthwise:
        return _lower_depthwise(builder, call, geometry, decide)
    source, geometry = _unpadded(builder, call.args[0], geometry)
    decision = decide(workload_of(call, geometry))
    lower = _lower_winograd if decision.template.compute is winograd.compute else _lower_contraction
    return lower(builder, call, source, geometry, decision, decide.target)


def _unpadded(builder: relax.BlockBuilder, data: relax.Expr, geometry: Geometry) -> tuple[relax.Expr, Geometry]:
    """The data before it was padded along its space, and the geometry with that padding; or both as they are."""
    source, widths, fill = unpadded(builder, data)
    if not widths or any(geometry.padding) or any((*widths[:2], *widths[-2:])):
        return data, geometry
    before, after = widths[2:-2:2], widths[3:-2:2]
    return source, replace(geometry, data=constant_shape(source), padding=(*before, *after), fill=fill)


def workload_of(call: relax.Call, geometry: Geometry | None = None) -> Workload:
    """The contraction that a convolution is: a group is a batch, a pixel a row, an output channel a column."""
    geometry = geometry or geometry_of(call)
    weights = relax_constant(call.args[1])
    images, *space, channels = geometry.output
    dtypes = operand_dtypes(call)
    return Workload(
        batch=geometry.groups,
        rows=images * math.prod(space),
        columns=channels // geometry.groups,
        k=geometry.weights[1:],
        **dtypes,
        image_line=0 if geometry.is_pointwise else space[-1],
        runs=_longer_runs(geometry, dtypes["lhs"]),
        filter=Filter(
            images,
            tuple(space),
            geometry.kernel,
            geometry.strides,
            geometry.dilation,
            weights is not None,
            _image(geometry, weights),
        ),
        sparsity=None if weights is None else sparsity_of(_by_group(weights, geometry.groups)),
    )


def _by_group(weights: Any, groups: int) -> Any:
    """Weights (O, *kernel, C // groups) as (groups, output channels of a group, *kernel, C // groups)."""
    return weights.reshape(groups, -1, *weights.shape[1:])


def _padding_adds_nothing(weights: Any, geometry: Geometry) -> bool:
    """Whether there is padding, and products with it are zero: with known weights, none of them infinite or NaN."""
    return weights is not None and not geometry.fill and any(geometry.padding) and bool(np.isfinite(weights).all())


def _image(geometry: Geometry, weights: Any) -> tuple[tuple[int, int], ...]:
    """Where padding ends and the image begins, if products with padding are zero."""
    if not _padding_adds_nothing(weights, geometry):
        return ()
    return tuple(zip(geometry.padding, geometry.data[1:-1], strict=False))


def _lower_contraction(
    builder: relax.BlockBuilder,
    call: relax.Call,
    data: relax.Expr,
    geometry: Geometry,
    decision: Decision[Any, Any],
    target: Target,
) -> relax.Expr:
    multiply: Microkernel = decision.compute(target)
    asked, workload = decision.workload, multiply.workload
    *offsets, run = workload.k
    windows = workload.copies_windows
    joined = len(offsets) < len(
        geometry.kernel
    )  # the innermost axis of the kernel, or all of them, are part of the run
    depth = asked.k[-1]
    channels = run // geometry.kernel[-1] if joined else run  # of a group, with zeros
    per_group = workload.columns
    pixels = geometry.output[:-1]
    operands = [uncast(builder, each) if multiply.casts_operands else each for each in (data, call.args[1])]
    source, constant = operands[0], relax_constant(operands[1])
    if constant is not None:
        matrix = constant.reshape(workload.batch, per_group, *geometry.kernel, depth)
        if windows:
            matrix = matrix.reshape(workload.batch, per_group, -1)
            matrix = np.pad(matrix, [(0, 0), (0, 0), (0, run - matrix.shape[-1])])
        elif channels > depth:
            matrix = np.pad(matrix, [(0, 0)] * (matrix.ndim - 1) + [(0, channels - depth)])
        given = multiply.pack_constant(matrix.reshape(workload.batch, per_group, *workload.k))
        operands = [source, *(new_constant(each) for each in given)]

    def split(k: Sequence[Any]) -> tuple[list[Any], Any]:
        """Offsets in the kernel, and the channel of the group, of an index of k."""
        *leading, inner = k
        if windows:
            *leading, inner = unflatten(inner, geometry.weights[1:])
            return leading, inner
        return ([*leading, inner // channels], inner % channels) if joined else (leading, inner)

    def compute(data: te.Tensor, *weights: te.Tensor) -> te.Tensor:
        lhs = None if windows else pixels_of(data, geometry, multiply, channels)
        copied = windows_of(data, geometry, multiply, run) if windows else None

        def left(group: Any, row: Any, *k: Any) -> Scalar:
            return lhs(group, row, *split(k)) if lhs is not None else copied(row, *k)  # type: ignore[misc]

        def right(group: Any, column: Any, *k: Any) -> Scalar:
            at, channel = split(k)
            if windows:
                value = weights[0][(group * per_group + column, *at, channel)]
                return within(value, k[0], math.prod(geometry.weights[1:]), run)
            return within(weights[0][(group * per_group + column, *at, channel)], channel, depth, channels)

        packed = weights if constant is not None else (multiply.pack_at_run_time(right),)
        product = multiply.compute(left, *packed)

        # Groups are an axis of their own until the last stage: the schedule follows one channel axis of one group.
        def grouped(*index: Any) -> Scalar:
            *pixel, group, channel = index
            return product(group, flatten(pixel, pixels), channel).astype(str(call.ty.dtype))

        result = te.compute(int64s((*pixels, workload.batch, per_group)), grouped, name="grouped")
        return te.compute(
            int64s(geometry.output),
            lambda *index: result[(*index[:-1], index[-1] // per_group, index[-1] % per_group)],
            name="convolution",
        )

    return builder.call_te(compute, *operands, primfunc_name_hint="conv", primfunc_attrs=decision.marks())


def _longer_runs(geometry: Geometry, dtype: str) -> tuple[tuple[int, ...], ...]:
    """Extents of k with zeros after the channels, and with the kernel's last axis joined to them, where they lie so."""
    if geometry.groups > 1:
        return ()
    *outer, channels = geometry.weights[1:]
    runs = [(*outer, *longer) for longer in dot_product.padded_runs(channels, dtype)]
    if geometry.kernel[-1] > 1 and geometry.dilation[-1] == 1:
        filled = sorted({channels, math.ceil(channels / 2) * 2, math.ceil(channels / 4) * 4})
        runs += [(*outer[:-1], outer[-1] * each) for each in filled]
    if len(geometry.kernel) > 1 and math.prod(geometry.kernel) > 1:  # windows that are longer than what they hold
        runs += dot_product.padded_windows(math.prod(geometry.weights[1:]), dtype)
    return tuple(runs)


def _lower_winograd(
    builder: relax.BlockBuilder,
    call: relax.Call,
    data: relax.Expr,
    geometry: Geometry,
    decision: Decision[Any, Any],
    target: Target,
) -> relax.Expr:
    tiling = tiling_of(decision.workload, decision.choice.outputs)
    operands = [uncast(builder, each) if tiling.accumulator == "int32" else each for each in (data, call.args[1])]
    weights, product = transformed_weights(relax_constant(operands[1]), tiling.axes), tiling.contraction(1)
    matrices = weights.reshape(product.batch, product.columns, *product.k)
    (values,) = microkernel(product, decision.choice.tile_for(product), target).pack_constant(matrices)
    packed = new_constant(values)
    # The last row and column of tiles may reach past the data and its padding.
    space = geometry.data[1:-1]
    before = geometry.padding[: len(space)]
    reach = zip(tiling.reach[-len(space) :], before, space, strict=True)
    after = [extent - first - size for extent, first, size in reach]

    def compute(data: te.Tensor, packed: te.Tensor) -> te.Tensor:
        return decision.compute(target, pad(data, (*before, *after), geometry.fill), packed)

    return builder.call_te(compute, operands[0], packed, primfunc_name_hint="conv", primfunc_attrs=decision.marks())


def _lower_depthwise(builder: relax.BlockBuilder, call: relax.Call, geometry: Geometry, decide: Chooser) -> relax.Expr:
    windows = Windows(geometry.output, geometry.kernel, geometry.strides, geometry.dilation, weighted=True)
    decision = decide(replace(windows, accumulator=operand_dtypes(call)["accumulator"]))
    weights = call.args[1]
    constant = relax_constant(weights)
    order = (*range(1, len(geometry.weights)), 0)
    if constant is not None:  # (C, *kernel, 1) -> (*kernel, C): channels innermost, as in the data
        weights = new_constant(np.ascontiguousarray(constant.transpose(order)[..., 0, :]))

    copies = window.copies_padding(windows, decide.target) and _padding_adds_nothing(constant, geometry)

    def compute(data: te.Tensor, weights: te.Tensor) -> te.Tensor:
        def weight(*index: Any) -> Scalar:
            *offsets, channel = index
            return weights[(*offsets, channel)] if constant is not None else weights[(channel, *offsets, 0)]

        sums = window.weighted_sum(
            pad(data, geometry.padding) if copies else data,
            geometry.kernel,
            geometry.strides,
            geometry.dilation,
            tuple(0 for _ in geometry.padding) if copies else geometry.padding,
            geometry.output,
            weight,
            operand_dtypes(call)["accumulator"],
        )
        if sums.dtype == call.ty.dtype:
            return sums
        return te.compute(
            int64s(geometry.output), lambda *index: sums[index].astype(str(call.ty.dtype)), name="rounded"
        )

    return builder.call_te(
        compute, call.args[0], weights, primfunc_name_hint="depthwise", primfunc_attrs=decision.marks()
    )


def relax_constant(expression: relax.Expr) -> Any:
    """The numpy array of a Relax constant, or None."""
    return expression.value.numpy() if type(expression).__name__ == "GenericConst" else None


def new_constant(array: Any) -> relax.Expr:
    """A Relax constant of the array's own dtype: `relax.const` would narrow 64 bits to 32."""
    return relax.const(tvm.runtime.tensor(array))
