"""TE computes that read images between their pixels: at points that other tensors name when the model runs.

Coordinates are brought near the image before they become indices, and indices into it before anything is read: any
float, NaN included, is a safe one.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType

from tvm import te, tirx

from ...annotations import SHARED, STAGE
from ...ir_types import Scalar

_CUBIC = -0.75
_NEAR = 4  # pixels beyond the image where no tap of a window reaches it any more


def _nearest(fraction: Scalar) -> list[Scalar]:
    return [tirx.const(1, fraction.ty.dtype)]


def _linear(fraction: Scalar) -> list[Scalar]:
    return [1 - fraction, fraction]


def _cubic(fraction: Scalar) -> list[Scalar]:
    """Keys' weights of the pixels at -1, 0, 1 and 2."""

    def near(t: Scalar) -> Scalar:
        return ((_CUBIC + 2) * t - (_CUBIC + 3)) * t * t + 1

    def far(t: Scalar) -> Scalar:
        return ((_CUBIC * t - 5 * _CUBIC) * t + 8 * _CUBIC) * t - 4 * _CUBIC

    return [far(fraction + 1), near(fraction), near(1 - fraction), far(2 - fraction)]


# The first of a mode's taps, seen from the pixel before the point, and their weights.
_TAPS: Mapping[str, tuple[int, Callable[[Scalar], list[Scalar]]]] = MappingProxyType(
    {"nearest": (0, _nearest), "linear": (0, _linear), "cubic": (-1, _cubic)}
)


def _clamped(index: Scalar, extent: int) -> Scalar:
    return tirx.max(tirx.min(index, extent - 1), 0)


def _mirrored(index: Scalar, extent: int, align_corners: bool) -> Scalar:
    """An index mirrored at the centres of the outer pixels, or at their outer edges."""
    if extent == 1:
        return index * 0
    period = 2 * (extent - 1) if align_corners else 2 * extent
    phase = tirx.floormod(index, period)
    return tirx.Select(phase < extent, phase, (period if align_corners else period - 1) - phase)


def _mirrored_point(point: Scalar, extent: int, align_corners: bool) -> Scalar:
    low, high = (0.0, extent - 1.0) if align_corners else (-0.5, extent - 0.5)
    if high == low:
        return tirx.const(low, point.ty.dtype)
    distance = tirx.abs(point - low)
    turns = tirx.floor(distance / (high - low))
    rest = distance - turns * (high - low)
    odd = turns - 2 * tirx.floor(turns / 2) > 0.5
    mirrored = tirx.Select(odd, high - rest, low + rest)
    return tirx.Select(tirx.all(point >= low, point <= high), point, mirrored)


def grid_sample(
    x: te.Tensor, grid: te.Tensor, *, mode: str, padding: str, align_corners: bool, dtype: str
) -> te.Tensor:
    """[N, C, in...] at the points of [N, out..., D], whose coordinates run from -1 to 1, the last axis first.

    Args:
        mode: nearest, linear or cubic.
        padding: what is outside: zeros, border or reflection.
        align_corners: whether -1 and 1 are the centres of the outer pixels, not their edges.
        dtype: what is computed in.
    """
    extents = [int(extent) for extent in x.shape[2:]]
    rank = len(extents)
    spans = [math.prod(extents[axis + 1 :]) for axis in range(rank)]  # pixels from one place of an axis to the next
    index_dtype = "int32" if math.prod(extents) < 1 << 31 else "int64"
    first, weigh = _TAPS[mode]
    count = len(weigh(tirx.const(0, dtype)))

    def shared(element: Callable[..., Scalar], name: str) -> te.Tensor:
        """What all channels read is computed once; nor have expressions names for what they contain several times."""
        return te.compute(grid.shape[:-1], element, name=name, attrs=STAGE.entry(SHARED))

    def point_of(axis: int) -> te.Tensor:
        extent = extents[axis]

        def element(*i: Scalar) -> Scalar:
            given = grid(*i, rank - 1 - axis).astype(dtype)
            given = tirx.Select(tirx.isnan(given), tirx.const(-1.0, dtype), given)
            point = (given + 1) / 2 * (extent - 1) if align_corners else ((given + 1) * extent - 1) / 2
            if mode == "nearest":
                point = tirx.nearbyint(point)
            if padding == "border" and mode != "cubic":  # cubic windows reach beyond the border, pixel by pixel
                low, high = (0.0, extent - 1.0) if align_corners else (-0.5, extent - 0.5)
                outside = tirx.any(point < low, point > high)
                point = tirx.Select(outside, tirx.max(tirx.min(point, extent - 1.0), 0.0), point)
            elif padding == "reflection":
                point = _mirrored_point(point, extent, align_corners)
            return tirx.max(tirx.min(point, float(extent + _NEAR)), float(-_NEAR))

        return shared(element, f"point_{axis}")

    def index_of(axis: int, tap: int, *i: Scalar) -> Scalar:
        return tirx.floor(points[axis](*i)).astype(index_dtype) + (first + tap)

    def offset_of(axis: int, tap: int) -> te.Tensor:
        """Pixels from the first one to the place in the image where the tap reads."""
        extent = extents[axis]

        def element(*i: Scalar) -> Scalar:
            index = index_of(axis, tap, *i)
            mirrors = padding == "reflection"
            return (_mirrored(index, extent, align_corners) if mirrors else _clamped(index, extent)) * spans[axis]

        return shared(element, f"offset_{axis}_{tap}")

    def inside_of(axis: int, tap: int) -> te.Tensor:
        def element(*i: Scalar) -> Scalar:
            index = index_of(axis, tap, *i)
            return tirx.all(index >= 0, index < extents[axis]).astype(index_dtype)

        return shared(element, f"inside_{axis}_{tap}")

    def weight_of(axis: int, tap: int) -> te.Tensor:
        def element(*i: Scalar) -> Scalar:
            point = points[axis](*i)
            return weigh(point - tirx.floor(point))[tap]

        return shared(element, f"weight_{axis}_{tap}")

    def of_taps(tensor: Callable[[int, int], te.Tensor]) -> list[list[te.Tensor]]:
        return [[tensor(axis, tap) for tap in range(count)] for axis in range(rank)]

    points = [point_of(axis) for axis in range(rank)]
    offsets = of_taps(offset_of)
    insides = of_taps(inside_of) if padding == "zeros" else []
    weights = of_taps(weight_of) if count > 1 else []

    def pixel(n: Scalar, c: Scalar, taps: Sequence[int], *i: Scalar) -> Scalar:
        offset = sum(offsets[axis][tap](n, *i) for axis, tap in enumerate(taps))
        places = [tirx.floormod(tirx.floordiv(offset, span), size) for span, size in zip(spans, extents, strict=True)]
        value = x(n, c, tirx.floordiv(offset, spans[0]), *places[1:]).astype(dtype)
        if not insides:
            return value
        inside = [insides[axis][tap](n, *i) != 0 for axis, tap in enumerate(taps)]
        return tirx.Select(tirx.all(*inside), value, tirx.const(0, dtype))

    def element(n: Scalar, c: Scalar, *i: Scalar) -> Scalar:
        terms = []
        for taps in itertools.product(range(count), repeat=rank):
            value = pixel(n, c, taps, *i)
            factors = [weights[axis][tap](n, *i) for axis, tap in enumerate(taps)] if weights else []
            terms.append(math.prod(factors[1:], start=factors[0]) * value if factors else value)
        return sum(terms[1:], start=terms[0]).astype(x.dtype)

    return te.compute((*x.shape[:2], *grid.shape[1:-1]), element, name="grid_sample")


def deformed_windows(
    x: te.Tensor,
    offset: te.Tensor,
    *mask: te.Tensor,
    kernel: Sequence[int],
    strides: Sequence[int],
    dilations: Sequence[int],
    begins: Sequence[int],
    offset_groups: int,
    dtype: str,
) -> te.Tensor:
    """What a convolution's windows read when each of their points is moved: [N, C, taps, outputs].

    A PyTorch-style deformable convolution: `offset` is [N, groups * taps * 2, out...], `mask` [N, groups * taps,
    out...]; what lies outside is zero, and between pixels is interpolated.
    """
    height, width = (int(extent) for extent in x.shape[2:])
    rows, columns = (int(extent) for extent in offset.shape[2:])
    taps = kernel[0] * kernel[1]
    per_group = int(x.shape[1]) // offset_groups
    extents = (height, width)

    def point(n: Scalar, g: Scalar, tap: Scalar, axis: Scalar, o: Scalar) -> Scalar:
        i, j = tirx.indexdiv(o, columns), tirx.indexmod(o, columns)
        moved = offset(n, (g * taps + tap) * 2 + axis, i, j).astype(dtype)
        bases = (
            i * strides[0] - begins[0] + tirx.indexdiv(tap, kernel[1]) * dilations[0],
            j * strides[1] - begins[1] + tirx.indexmod(tap, kernel[1]) * dilations[1],
        )
        base = tirx.Select(axis == 0, bases[0], bases[1]).astype(dtype)
        limit = tirx.Select(axis == 0, float(height + _NEAR), float(width + _NEAR))
        moved = tirx.Select(tirx.isnan(moved), tirx.const(0, dtype), moved)
        return tirx.max(tirx.min(base + moved, limit.astype(dtype)), tirx.const(-_NEAR, dtype))

    points = te.compute((x.shape[0], offset_groups, taps, 2, rows * columns), point, name="points")

    def element(n: Scalar, c: Scalar, tap: Scalar, o: Scalar) -> Scalar:
        g = tirx.indexdiv(c, per_group)
        at = [points(n, g, tap, axis, o) for axis in (0, 1)]
        before = [tirx.floor(each) for each in at]
        weights = [_linear(each - low) for each, low in zip(at, before, strict=True)]
        total = tirx.const(0, dtype)
        for down, right in itertools.product((0, 1), (0, 1)):
            place = [low.astype("int64") + step for low, step in zip(before, (down, right), strict=True)]
            inside = [each for i, extent in zip(place, extents, strict=True) for each in (i >= 0, i < extent)]
            safe = [_clamped(i, extent) for i, extent in zip(place, extents, strict=True)]
            value = tirx.if_then_else(tirx.all(*inside), x(n, c, *safe).astype(dtype), tirx.const(0, dtype))
            total = total + weights[0][down] * weights[1][right] * value
        if mask:
            i, j = tirx.indexdiv(o, columns), tirx.indexmod(o, columns)
            total = total * mask[0](n, g * taps + tap, i, j).astype(dtype)
        return total

    return te.compute((*x.shape[:2], taps, rows * columns), element, name="deformed_windows")
