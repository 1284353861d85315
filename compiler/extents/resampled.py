"""Interpolations in a library for several sizes: tables that are for all of them, or are computed when it runs.

An axis that stays as it is for every size is not interpolated at all. Of one that never changes, and one that grows by
a whole number whatever its size, the table for the largest sizes begins with all others. Where a table depends on a
ratio of sizes (the corners aligned, an image of any size made one of a fixed size), it is a few operations on the sizes
of a call, the ones by which the importer computes tables (`frontends/onnx/interpolation.py`), in the same order.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import numpy as np
from tvm import relax

from ...ir_passes.core.constants import constant
from ...ir_passes.dialect.interpolation import Sampling, axes_of, interpolate, picked, sampled_of, tables_of
from ...ir_passes.extents.step import shape_of
from ...ir_types import Call, Expr
from ...sizes import Size, dimensions_of, in_c, value_of
from .seen import IN_MULTIPLES, differ, known_array
from .sized_constants import Array, begins
from .writer import Writer

_MOST_TAPS = 64  # of an axis: sums of them are written out
_NEARLY_HALF = 0.5 + 1e-6  # see `frontends/onnx/interpolation.py`


@dataclass(frozen=True)
class _Table:
    """The table of an axis, in one of the imports."""

    sampling: Sampling
    extent: int
    positions: Array
    weights: Array

    @property
    def size(self) -> int:
        """How many elements the result has."""
        return len(self.positions)

    @property
    def is_nearest(self) -> bool:
        """Whether an element is one of the operand's."""
        return bool(self.weights.shape[1] == 1)

    @property
    def changes_nothing(self) -> bool:
        """Whether each element is that of the operand."""
        if self.size != self.extent:
            return False
        own = np.where(self.positions == np.arange(self.size)[:, None], self.weights, 0)
        return bool(np.array_equal(own, self.weights) and (own.sum(1) == 1).all())


def resampled(calls: Sequence[Call], write: Writer, where: str) -> Expr:
    """What an interpolation is for all sizes.

    Args:
        calls: it in the import for the largest sizes, and in all others.

    Raises:
        UnsupportedError: by which weights it interpolates depends on sizes in another way.
    """
    hint, x = where.split("'")[1], calls[0].args[0]
    axes: list[int] = []
    tables: list[tuple[Expr, Expr]] = []
    for place, axis in enumerate(axes_of(calls[0])):
        seen = [_table(call, place) for call in calls]
        if all(each.changes_nothing for each in seen):
            continue
        large = seen[0]
        if not _is_for_all(seen):
            tables.append(_at_run_time(seen, str(x.ty.dtype), write, where))
        elif large.is_nearest:
            x = write.emit(picked(x, axis, large.positions[:, 0]), hint)
            continue
        else:
            used = large.weights.any(axis=0)
            tables.append((constant(large.positions[:, used].copy()), constant(large.weights[:, used].copy())))
        axes.append(axis)
    return interpolate(x, tables, axes) if axes else x


def _table(call: Call, place: int) -> _Table:
    x, *rest = call.args
    positions, weights = tables_of(rest)[place]
    extent = shape_of(x.ty)[axes_of(call)[place]]
    return _Table(sampled_of(call)[place], extent, known_array(positions), known_array(weights))


def _is_for_all(seen: Sequence[_Table]) -> bool:
    """Whether the table for the largest sizes is one for others: where an image ends, what is there last goes on."""
    large, *others = seen
    if any((each.extent, each.size) != (large.extent, large.size) for each in others):
        times = large.size // large.extent
        if not times or any(each.size != each.extent * times for each in seen):
            return False
    for each in others:
        last, count = min(large.extent, each.extent) - 1, min(large.size, each.size)
        mine, theirs = (np.minimum(one.positions[:count], last) for one in (large, each))
        if not begins(large.weights, each.weights, beyond=True) or not np.array_equal(mine, theirs):
            return False
    return True


# ---- tables that are computed when a library runs ----


def _single(value: float | np.floating[Any]) -> Expr:
    """A float32."""
    return constant(np.array(value, np.float32))


def _double(value: float) -> Expr:
    """A float64."""
    return constant(np.array(value, np.float64))


@dataclass(frozen=True)
class _Axis:
    """What a coordinate is computed from: float32 scalars."""

    extent: Expr
    size: Expr
    scale: Expr
    crop: tuple[float, float]


Emit = Callable[[Expr], Expr]


def _scaled(x: Expr, by: Expr, emit: Emit, before: float = 0.0, after: float = 0.0) -> Expr:
    """(x + before) / by - after."""
    moved = emit(relax.op.add(x, _single(before))) if before else x
    divided = emit(relax.op.divide(moved, by))
    return emit(relax.op.subtract(divided, _single(after))) if after else divided


def _half_pixel(x: Expr, axis: _Axis, emit: Emit) -> Expr:
    return _scaled(x, axis.scale, emit, 0.5, 0.5)


def _pytorch_half_pixel(x: Expr, axis: _Axis, emit: Emit) -> Expr:
    one, zero = _single(1), _single(0)
    return emit(relax.op.where(emit(relax.op.greater(axis.size, one)), _half_pixel(x, axis, emit), zero))


def _align_corners(x: Expr, axis: _Axis, emit: Emit) -> Expr:
    """Of one element, which is the first, the divisor is not 0."""
    one = _single(1)
    times = emit(relax.op.multiply(x, emit(relax.op.subtract(axis.extent, one))))
    return emit(relax.op.divide(times, emit(relax.op.maximum(emit(relax.op.subtract(axis.size, one)), one))))


def _asymmetric(x: Expr, axis: _Axis, emit: Emit) -> Expr:
    return _scaled(x, axis.scale, emit)


def _tf_half_pixel(x: Expr, axis: _Axis, emit: Emit) -> Expr:
    return _scaled(x, axis.scale, emit, 0.5)


def _crop(x: Expr, axis: _Axis, emit: Emit) -> Expr:
    """Within a region; of one element, its middle."""
    start, end = (np.float32(each) for each in axis.crop)
    one = _single(1)
    last = emit(relax.op.subtract(axis.extent, one))
    along = emit(relax.op.multiply(emit(relax.op.multiply(x, _single(end - start))), last))
    steps = emit(relax.op.maximum(emit(relax.op.subtract(axis.size, one)), one))
    many = emit(relax.op.add(emit(relax.op.multiply(_single(start), last)), emit(relax.op.divide(along, steps))))
    middle = emit(relax.op.multiply(_single(np.float32(0.5) * (start + end)), last))
    return emit(relax.op.where(emit(relax.op.greater(axis.size, one)), many, middle))


_COORDINATES: Mapping[str, Callable[[Expr, _Axis, Emit], Expr]] = MappingProxyType(
    {
        "half_pixel": _half_pixel,
        "pytorch_half_pixel": _pytorch_half_pixel,
        "align_corners": _align_corners,
        "asymmetric": _asymmetric,
        "tf_half_pixel_for_nn": _tf_half_pixel,
        "tf_crop_and_resize": _crop,
    }
)
# By the rounding of the nearest element: what is added, and the operator.
_NEAREST: Mapping[str, tuple[float, Callable[[Expr], Expr]]] = MappingProxyType(
    {
        "round_prefer_floor": (-0.5, relax.op.ceil),
        "round_prefer_ceil": (_NEARLY_HALF, relax.op.floor),
        "floor": (0.0, relax.op.floor),
        "ceil": (0.0, relax.op.ceil),
    }
)


def _at_run_time(seen: Sequence[_Table], dtype: str, write: Writer, where: str) -> tuple[Expr, Expr]:
    """Positions and weights of an axis by the sizes of a call."""
    large, hint = seen[0], where.split("'")[1]
    how = large.sampling
    extent, size = (write.sizes.affine([getattr(each, name) for each in seen]) for name in ("extent", "size"))
    scales = {each.sampling.scale for each in seen}
    ratios = all(each.sampling.scale == np.float32(each.size) / np.float32(each.extent) for each in seen)
    if extent is None or size is None or not (ratios or len(scales) == 1):
        why = "it resizes from or to a number that is no sum of sizes, or by a factor that depends on them otherwise"
        differ(where, why, IN_MULTIPLES)
    if how.coordinates not in _COORDINATES:
        differ(where, f"where its elements lie ('{how.coordinates}') depends on a size")
    taps = _most_taps(how, extent, size) if len(scales) > 1 else large.weights.shape[1]
    if taps > _MOST_TAPS:
        differ(where, f"an element may be made of {taps} of an axis, more than {_MOST_TAPS}, by the ratio of sizes")

    def emit(value: Expr) -> Expr:
        return write.emit(value, hint)

    def number(each: Size) -> Expr:
        if isinstance(each, int):
            return _single(each)
        return emit(relax.op.astype(write.size(in_c(each, "")), "float32"))

    end, length = number(extent), number(size)
    scale = emit(relax.op.divide(length, end)) if len(scales) > 1 else _single(how.scale)
    x = write.vector(np.arange(large.size, dtype=np.float32), size, hint)
    at = emit(relax.op.astype(_COORDINATES[how.coordinates](x, _Axis(end, length, scale, how.crop), emit), "float64"))
    at = emit(relax.op.expand_dims(at, 1))
    if large.is_nearest:
        add, rounded = _NEAREST[how.nearest]
        positions = emit(rounded(emit(relax.op.add(at, _double(add))) if add else at))
        weights = constant(np.ones((large.size, 1), dtype))
    else:
        positions, weights = _weighted(how, at, scale, taps, emit)
        if how.exclude_outside:
            weights = _inside_alone(positions, weights, end, emit)
        weights = emit(relax.op.astype(weights, dtype))
    last = emit(relax.op.subtract(emit(relax.op.astype(end, "float64")), _double(1)))
    inside = emit(relax.op.minimum(emit(relax.op.maximum(positions, _double(0))), last))
    return emit(relax.op.astype(inside, "int64")), weights


def _most_taps(how: Sampling, extent: Size, size: Size) -> int:
    """How many elements one is made of at most: more, the more an image shrinks, if that is to have no aliases."""
    reach = 1 if how.mode == "linear" else 2
    if not how.antialias:
        return 2 * reach
    # Both sizes grow with each dimension, or do not: so the least ratio is at a corner of the ranges.
    dimensions = list(dict.fromkeys([*dimensions_of(extent), *dimensions_of(size)]))
    corners = itertools.product(*((each.least, each.bound) for each in dimensions))
    names = [each.name for each in dimensions]
    pairs = [[value_of(each, dict(zip(names, corner, strict=True))) for each in (size, extent)] for corner in corners]
    ratios = [np.float32(new) / np.float32(old) for new, old in pairs if new > 0 and old > 0]
    return 2 * int(np.ceil(reach / min([1.0, *map(float, ratios)])))


def _weighted(how: Sampling, at: Expr, scale: Expr, taps: int, emit: Emit) -> tuple[Expr, Expr]:
    """Positions and weights of the neighbours on both sides, as `frontends/onnx/interpolation.py` has them.

    Where fewer are reached than there may be, the others have no weight.
    """

    def plus(one: Expr, other: Expr) -> Expr:
        return emit(relax.op.add(one, other))

    def times(one: Expr, other: Expr) -> Expr:
        return emit(relax.op.multiply(one, other))

    half = taps // 2
    offsets = constant(np.arange(-half + 1, half + 1, dtype=np.float64)[None])
    positions = plus(emit(relax.op.floor(at)), offsets)
    distance = emit(relax.op.abs(emit(relax.op.subtract(positions, at))))
    if how.antialias:
        shrink = emit(relax.op.minimum(emit(relax.op.astype(scale, "float64")), _double(1)))
        distance = times(distance, shrink)
    if how.mode == "linear":
        weights = emit(relax.op.maximum(_double(0), emit(relax.op.subtract(_double(1), distance))))
    else:
        a = how.cubic
        squared = times(distance, distance)
        near = plus(times(plus(times(distance, _double(a + 2)), _double(-(a + 3))), squared), _double(1))
        far = times(plus(times(plus(distance, _double(-5)), distance), _double(8)), _double(a))
        far = plus(times(far, distance), _double(-4 * a))
        beyond = emit(relax.op.where(emit(relax.op.less(distance, _double(2))), far, _double(0)))
        weights = emit(relax.op.where(emit(relax.op.less_equal(distance, _double(1))), near, beyond))
    return positions, emit(relax.op.divide(weights, emit(relax.op.sum(weights, 1, True))))


def _inside_alone(positions: Expr, weights: Expr, end: Expr, emit: Emit) -> Expr:
    """Weights of what lies inside, which are one together."""
    zero, one = _double(0), _double(1)
    after = emit(relax.op.greater_equal(positions, zero))
    before = emit(relax.op.less(positions, emit(relax.op.astype(end, "float64"))))
    left = emit(relax.op.where(emit(relax.op.logical_and(after, before)), weights, zero))
    total = emit(relax.op.sum(left, 1, True))
    some = emit(relax.op.where(emit(relax.op.equal(total, zero)), one, total))
    return emit(relax.op.divide(left, some))
