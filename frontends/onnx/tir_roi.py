"""Pooling over regions of images that are given when the model runs: as many samples a bin as its size asks for."""

from __future__ import annotations

from collections.abc import Sequence

from tvm import tirx

from ...ir_types import PrimFunc, Scalar, Stmt
from ...tensorir_kernel import kernel
from ...tensorir_statements import counted, int64, load, store, tensor, variables

_MOST_SAMPLES = 1 << 12  # along an axis of a bin: no image is larger


def roi_align(
    image: Sequence[int],
    rois: int,
    output: Sequence[int],
    *,
    dtype: str,
    index_dtype: str,
    scale: float,
    samples: int,
    half_pixel: bool,
    mean: bool,
) -> PrimFunc:
    """A PrimFunc of images [N, C, H, W], corners [rois, 4] and the image of each region [rois] to [rois, C, out...].

    Args:
        scale: from coordinates of the corners to pixels.
        samples: a bin and axis; 0: as many as the bin has pixels.
        half_pixel: whether a pixel's centre is half a pixel from its edge; else regions are at least a pixel wide.
        mean: of a bin's samples; else the largest of their weighted corners.
    """
    count, channels, height, width = image
    x, corners = tensor(image, dtype, "x"), tensor((rois, 4), dtype, "corners")
    which, y = tensor((rois,), index_dtype, "which"), tensor((rois, channels, *output), dtype, "y")
    # Of each axis (rows, columns): where a bin starts, how wide it is, the samples in it, and a sample's place.
    start, size = variables(2, dtype, "start"), variables(2, dtype, "size")
    place, best = variables(2, dtype, "place"), variables(1, dtype, "best")
    numbers, low = variables(2, "int64", "numbers"), variables(2, "int64", "low")
    extents, counter = (height, width), variables(2, "int64", "counter")

    def const(value: float) -> Scalar:
        return tirx.const(value, dtype)

    def body(r: Scalar, c: Scalar, row: Scalar, column: Scalar) -> list[Stmt]:
        statements = []
        for axis, bin_index in ((0, row), (1, column)):
            first = load(corners, r, 1 - axis) * const(scale) - const(0.5 if half_pixel else 0.0)
            last = load(corners, r, 3 - axis) * const(scale) - const(0.5 if half_pixel else 0.0)
            length = last - first if half_pixel else tirx.max(last - first, const(1.0))
            wide = load(size, axis)
            statements += [
                store(size, length / const(output[axis]), axis),
                store(start, first + bin_index.astype(dtype) * wide, axis),
            ]
            asked = tirx.ceil(tirx.max(tirx.min(wide, const(_MOST_SAMPLES)), const(0.0)))
            adaptive = tirx.Select(tirx.isnan(wide), const(0.0), asked).astype("int64")
            statements.append(store(numbers, int64(samples) if samples > 0 else adaptive, axis))
        statements.append(store(best, const(0.0), 0))
        batch = tirx.max(tirx.min(load(which, r).astype("int64"), int64(count - 1)), int64(0))

        def sample(i: Scalar, j: Scalar) -> list[Stmt]:
            inner = []
            for axis, step in ((0, i), (1, j)):
                inside_bin = (step.astype(dtype) + const(0.5)) * load(size, axis) / load(numbers, axis).astype(dtype)
                inner.append(store(place, load(start, axis) + inside_bin, axis))
            valid = tirx.all(
                *(
                    each
                    for axis, extent in enumerate(extents)
                    for each in (load(place, axis) >= const(-1.0), load(place, axis) <= const(extent))
                )
            )
            for axis, extent in enumerate(extents):
                kept = tirx.max(tirx.min(load(place, axis), const(extent - 1.0)), const(0.0))
                kept = tirx.Select(tirx.isnan(load(place, axis)), const(0.0), kept)
                inner.append(store(low, tirx.floor(kept).astype("int64"), axis))
            weights = []
            for axis, extent in enumerate(extents):
                near = tirx.max(tirx.min(load(place, axis), const(extent - 1.0)), const(0.0))
                fraction = near - load(low, axis).astype(dtype)
                weights.append((const(1.0) - fraction, fraction))
            parts = []
            for down in (0, 1):
                for right in (0, 1):
                    at = [
                        tirx.min(load(low, axis) + step, int64(extent - 1))
                        for axis, step, extent in ((0, down, height), (1, right, width))
                    ]
                    parts.append(weights[0][down] * weights[1][right] * load(x, batch, c, *at))
            first = tirx.all(i == int64(0), j == int64(0))
            if mean:
                total = parts[0] + parts[1] + parts[2] + parts[3]
                inner.append(store(best, load(best, 0) + tirx.if_then_else(valid, total, const(0.0)), 0))
            else:
                peak = tirx.max(tirx.max(parts[0], parts[1]), tirx.max(parts[2], parts[3]))
                peak = tirx.if_then_else(valid, peak, const(0.0))
                inner.append(store(best, tirx.Select(first, peak, tirx.max(load(best, 0), peak)), 0))
            return inner

        rows = counted(
            counter, 0, load(numbers, 0), lambda i: [counted(counter, 1, load(numbers, 1), lambda j: sample(i, j))]
        )
        divisor = tirx.max(load(numbers, 0) * load(numbers, 1), int64(1)).astype(dtype)
        result = load(best, 0) / divisor if mean else load(best, 0)
        return [*statements, rows, store(y, result, r, c, row, column)]

    return kernel(
        "roi_align",
        (rois, channels, *output),
        body,
        keeps=[start, size, place, best, numbers, low, counter],
        reads=[
            (x, lambda r, c, row, column: (None, c, None, None)),
            (corners, lambda r, c, row, column: (r, None)),
            (which, lambda r, c, row, column: (r,)),
        ],
        writes=[(y, lambda *point: point)],
    )


def max_roi_pool(image: Sequence[int], rois: int, output: Sequence[int], *, dtype: str, scale: float) -> PrimFunc:
    """A PrimFunc of images [N, C, H, W] and regions [rois, 5] (image, corners) to maxima of bins; 0 in empty ones."""
    count, channels, height, width = image
    x, regions = tensor(image, dtype, "x"), tensor((rois, 5), dtype, "regions")
    y = tensor((rois, channels, *output), dtype, "y")
    first, last, best = variables(2, "int64", "first"), variables(2, "int64", "last"), variables(1, dtype, "best")
    counter = variables(2, "int64", "counter")

    def rounded(r: Scalar, column: int) -> Scalar:
        value = load(regions, r, column) * tirx.const(scale, dtype)
        near = tirx.max(tirx.min(value, tirx.const(1 << 24, dtype)), tirx.const(-(1 << 24), dtype))
        safe = tirx.Select(tirx.isnan(value), tirx.const(0, dtype), near)
        # Halves away from zero, as C's round.
        magnitude = tirx.floor(tirx.abs(safe) + tirx.const(0.5, dtype))
        return tirx.Select(safe < tirx.const(0, dtype), -magnitude, magnitude).astype("int64")

    def body(r: Scalar, c: Scalar, row: Scalar, column: Scalar) -> list[Stmt]:
        statements = []
        for axis, (bins, index, extent) in enumerate(((output[0], row, height), (output[1], column, width))):
            begin, end = rounded(r, 2 - axis), rounded(r, 4 - axis)
            size = tirx.max(end - begin + 1, int64(1)).astype(dtype) / tirx.const(bins, dtype)
            low = tirx.floor(index.astype(dtype) * size).astype("int64") + begin
            high = tirx.ceil((index + 1).astype(dtype) * size).astype("int64") + begin
            statements += [
                store(first, tirx.max(tirx.min(low, int64(extent)), int64(0)), axis),
                store(last, tirx.max(tirx.min(high, int64(extent)), int64(0)), axis),
            ]
        nowhere = tirx.any(*(load(last, axis) <= load(first, axis) for axis in (0, 1)))
        batch = tirx.max(tirx.min(load(regions, r, 0).astype("int64"), int64(count - 1)), int64(0))
        lowest = tirx.Select(nowhere, tirx.const(0, dtype), tirx.min_value(dtype))

        def visit(i: Scalar, j: Scalar) -> list[Stmt]:
            value = load(x, batch, c, load(first, 0) + i, load(first, 1) + j)
            return [store(best, tirx.max(load(best, 0), value), 0)]

        span = [tirx.max(load(last, axis) - load(first, axis), int64(0)) for axis in (0, 1)]
        rows = counted(counter, 0, span[0], lambda i: [counted(counter, 1, span[1], lambda j: visit(i, j))])
        return [*statements, store(best, lowest, 0), rows, store(y, load(best, 0), r, c, row, column)]

    return kernel(
        "max_roi_pool",
        (rois, channels, *output),
        body,
        keeps=[first, last, best, counter],
        reads=[
            (x, lambda r, c, row, column: (None, c, None, None)),
            (regions, lambda r, c, row, column: (r, None)),
        ],
        writes=[(y, lambda *point: point)],
    )
