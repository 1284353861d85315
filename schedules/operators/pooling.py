"""Pooling and reductions over space, channels-last, as windows."""

from __future__ import annotations

from typing import Any

from tvm import relax, te, tirx

from ...ir_types import Scalar
from ..templates import window
from ..templates.template import Chooser
from ..templates.window_choice import Windows
from ..tensorir.expressions import accumulator, constant_shape, int64, int64s, reduce_max
from .convolution import pad


def _attributes(call: relax.Call) -> tuple[list[int], list[int], list[int], list[int], tuple[int, ...]]:
    attributes = call.attrs
    pool_size = [int(value) for value in attributes.pool_size]
    return (
        pool_size,
        [int(value) for value in attributes.strides],
        [int(value) for value in attributes.dilation],
        [int(value) for value in attributes.padding],
        constant_shape(call),
    )


def _trailing(
    shape: tuple[int, ...],
    output: tuple[int, ...],
    kernel: list[int],
    strides: list[int],
    dilation: list[int],
    before: list[int],
) -> list[int]:
    """Trailing pads that the windows really reach: ceil_mode may ask for more than was given, or for less."""
    reached = [
        (out - 1) * stride + (size - 1) * step + 1
        for out, stride, size, step in zip(output[1:-1], strides, kernel, dilation, strict=True)
    ]
    return [max(0, reach - extent - first) for reach, extent, first in zip(reached, shape[1:-1], before, strict=True)]


def lower_max_pool(builder: relax.BlockBuilder, call: relax.Call, decide: Chooser) -> relax.Expr:
    """Lowers a channels-last max pool."""
    kernel, strides, dilation, padding, output = _attributes(call)
    decision = decide(Windows(output, tuple(kernel), tuple(strides), tuple(dilation)))
    shape = constant_shape(call.args[0])
    before = padding[: len(kernel)]
    after = _trailing(shape, output, kernel, strides, dilation, before)
    clamps = all(
        step == 1 and max(first, last) < size
        for step, size, first, last in zip(dilation, kernel, before, after, strict=True)
    )

    def compute(data: te.Tensor) -> te.Tensor:
        if clamps:
            # A window with padding also holds the nearest element inside, so clamping the index changes no maximum.
            def source(image: Any, *rest: Any) -> Scalar:
                *at, channel = rest
                inside = []
                for index, extent, first, last in zip(at, shape[1:-1], before, after, strict=True):
                    position = tirx.max(index - first, int64(0)) if first else index
                    inside.append(tirx.min(position, int64(extent - 1)) if last else position)
                return data[(image, *inside, channel)]
        else:
            padded = pad(
                data,
                [*before, *after],
                float("-inf") if "float" in str(data.dtype) else float(tirx.min_value(data.dtype).value),
            )

            def source(image: Any, *rest: Any) -> Scalar:
                return padded[(image, *rest)]

        return window.pool(source, kernel, strides, dilation, output, reduce_max)

    return builder.call_te(compute, call.args[0], primfunc_name_hint="max_pool", primfunc_attrs=decision.marks())


def lower_average_pool(builder: relax.BlockBuilder, call: relax.Call, decide: Chooser) -> relax.Expr:
    """Lowers a channels-last average pool; `count_include_pad` counts given padding, never ceil_mode's overhang."""
    kernel, strides, dilation, padding, output = _attributes(call)
    decision = decide(Windows(output, tuple(kernel), tuple(strides), tuple(dilation)))
    shape = constant_shape(call.args[0])
    rank = len(kernel)
    before, given_after = padding[:rank], padding[rank:]
    after = _trailing(shape, output, kernel, strides, dilation, before)
    include_padding = bool(call.attrs.count_include_pad)

    def compute(data: te.Tensor) -> te.Tensor:
        kind = accumulator(str(data.dtype))
        padded = pad(data, [*before, *after])
        total = window.pool(lambda *index: padded[index].astype(kind), kernel, strides, dilation, output, te.sum)

        def element(image: Any, *rest: Any) -> Scalar:
            *at, channel = rest
            count: Any = int64(1)
            for axis, index in enumerate(at):
                start = index * strides[axis] - before[axis]
                extent = shape[1 + axis]
                if include_padding:
                    start, extent = start + before[axis], extent + before[axis] + given_after[axis]
                overhang = before[axis] or after[axis] if not include_padding else after[axis] > given_after[axis]
                inside = window.offsets_in(extent, start, kernel[axis], dilation[axis])
                count = count * (tirx.max(inside, int64(1)) if overhang else kernel[axis])
            return (total[(image, *at, channel)] / count.astype(kind)).astype(data.dtype)

        return te.compute(int64s(output), element, name="mean")

    return builder.call_te(compute, call.args[0], primfunc_name_hint="average_pool", primfunc_attrs=decision.marks())
