"""Rows of quantized operators. They read tensors of their own: a float that is a little off may be another integer."""

from __future__ import annotations

from typing import Any

import numpy as np
from draft import CHANNELS, WIDTHS, Draft, Unfit
from rows import row


def _integers(d: Draft, shape: tuple[int, ...], dtype: str, constant: bool | None = None) -> str:
    limits = np.iinfo(dtype)
    return d.leaf(shape, dtype, low=limits.min, high=limits.max, constant=constant)


def _scale(d: Draft, *shape: int) -> str:
    return d.parameter(d.rng.uniform(0.01, 0.1, shape), "float32")


def _zero(d: Draft, dtype: str, *shape: int, always: int | None = None) -> str:
    limits = np.iinfo(dtype)
    drawn = d.rng.integers(limits.min, limits.max, shape, endpoint=True)
    return d.parameter(drawn if always is None else np.full(shape, always), dtype)


def _along(d: Draft, shape: tuple[int, ...]) -> tuple[tuple[int, ...], dict[str, Any]]:
    """The shape of scales, and the axis that they are along."""
    if d.opset < 13 or not shape or d.chance(0.5):
        return (), {}
    axis = d.axis(len(shape))
    return (shape[axis],), {"axis": axis}


@row("QuantizeLinear")
def quantize(d: Draft, op: str) -> None:
    shape, dtype = d.shape(), d.one_of(("int8", "uint8"))
    given, axis = _along(d, shape)
    x = d.leaf(shape, "float32", low=-6.0, high=6.0, constant=False)
    d.node(op, [x, _scale(d, *given), _zero(d, dtype, *given)], **axis)


@row("DequantizeLinear")
def dequantize(d: Draft, op: str) -> None:
    shape, dtype = d.shape(), d.one_of(("int8", "uint8", "int32"))
    given, axis = _along(d, shape)
    x = d.leaf(shape, "int32") if dtype == "int32" else _integers(d, shape, dtype)
    zero = [] if dtype == "int32" else [_zero(d, dtype, *given)]
    d.node(op, [x, _scale(d, *given), *zero], **axis)


@row("DynamicQuantizeLinear")
def dynamic(d: Draft, op: str) -> None:
    if d.opset < 11:
        raise Unfit
    x = d.leaf(d.shape(), "float32", low=d.one_of((-3.0, 0.0)), high=5.0, constant=False)
    d.node_outputs(op, [x], 3)


@row("MatMulInteger", "QLinearMatMul")
def product(d: Draft, op: str) -> None:
    rows, depth, columns = d.one_of(WIDTHS[:12]), d.one_of(WIDTHS[:14]), d.one_of(WIDTHS[:14])
    lead = d.one_of(((), (), (2,)))
    signs = d.one_of((("uint8", "int8"), ("uint8", "uint8"), ("int8", "int8")))
    x = _integers(d, (*lead, rows, depth), signs[0], constant=False)
    w = _integers(d, (depth, columns), signs[1], constant=d.chance(0.85))
    zeros = [_zero(d, signs[0]), _zero(d, signs[1], always=d.one_of((0, 3)))]
    if op == "MatMulInteger":
        d.node(op, [x, w, *zeros])
        return
    result = d.parameter(np.sqrt(depth) * 4, "float32")
    d.node(op, [x, _scale(d), zeros[0], w, _scale(d), zeros[1], result, _zero(d, signs[0])])


@row("ConvInteger", "QLinearConv")
def convolution(d: Draft, op: str) -> None:
    channels, extents = d.one_of(CHANNELS), (d.between(3, 9), d.between(3, 9))
    groups = d.one_of([k for k in (1, 1, 2, channels) if channels % k == 0]) if op == "QLinearConv" else 1
    outputs = groups * d.one_of((1, 3, 8)) if groups < channels or groups == 1 else groups
    kernel = [d.one_of((1, 2, 3)) for _ in extents]
    attributes: dict[str, Any] = {"kernel_shape": kernel, "group": groups if groups > 1 else None}
    if d.chance(0.6):
        attributes["pads"] = [d.between(0, k - 1) for k in (*kernel, *kernel)]
    if d.chance(0.4):
        attributes["strides"] = [d.between(1, 2) for _ in kernel]
    kind = d.one_of(("uint8", "int8")) if op == "QLinearConv" else "uint8"
    x = _integers(d, (d.one_of((1, 2)), channels, *extents), kind, constant=False)
    w = _integers(d, (outputs, channels // groups, *kernel), "int8" if op == "QLinearConv" else "uint8", constant=True)
    if op == "ConvInteger":
        d.node(op, [x, w, _zero(d, kind), _zero(d, "uint8", always=d.one_of((0, 128)))], **attributes)
        return
    bias = [d.leaf((outputs,), "int32", low=-3000, high=3000, constant=True)] if d.chance(0.5) else []
    result = d.parameter(np.sqrt(channels // groups * np.prod(kernel)) * 4, "float32")
    scales = _scale(d, *d.one_of(((), (outputs,))))
    shape = d.values[scales].shape
    zeros = [_zero(d, kind), _zero(d, "int8", *shape, always=0)]
    d.node(op, [x, _scale(d), zeros[0], w, scales, zeros[1], result, _zero(d, kind), *bias], **attributes)
