"""Positions of extrema: along an axis, and in the windows of a pool.

An extremum and its position are kept in variables while elements are read one after the other, so each is read once and
compared once, floats as integers (`tensorir_keys.py`). NaN is beyond every number, at the end that is looked for; -0.0
equals 0.0.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial

from tvm import tirx

from ...ir_types import PrimFunc, Scalar, Stmt
from ...tensorir_kernel import kernel
from ...tensorir_keys import key, key_dtype
from ...tensorir_statements import load, loop, store, tensor, variables
from .dtypes import is_float, lowest
from .node import Expr, Node, dtype_of, shape_of
from .windows import Window

_LANES = 32  # of a row at a time: enough registers for their latencies, on every target
_FEWEST_LANES = 4
_MOST_NARROW = 1 << 31


def _compared(dtype: str) -> str:
    """The dtype that elements are compared in."""
    return "int8" if dtype == "bool" else key_dtype(dtype) if is_float(dtype) else dtype


def _comparable(value: Scalar, dtype: str, *, largest: bool) -> Scalar:
    """What of floats is compared: integers, of which one comparison tells all, and the larger is better."""
    if not is_float(dtype):
        return _as(value, _compared(dtype))
    return key(value if largest else value * tirx.const(-1, dtype), dtype)


def _as(value: Scalar, dtype: str) -> Scalar:
    return value if str(value.ty.dtype) == dtype else value.astype(dtype)


def _position_dtype(elements: int) -> str:
    return "int32" if elements < _MOST_NARROW else "int64"


def position_along_axis(outer: int, extent: int, inner: int, dtype: str, *, largest: bool, last: bool) -> PrimFunc:
    """A PrimFunc from [outer, extent, inner] to [outer, inner] (int64): where in the middle the extremum stands.

    Args:
        last: the last of equals, not the first.
    """
    x, y = tensor((outer, extent, inner), dtype, "x"), tensor((outer, inner), "int64", "y")
    kind, position = _compared(dtype), _position_dtype(extent)
    width = 1
    if inner == 1:  # partial results for as many lanes, joined at the end
        width = max((lanes for lanes in (_LANES, 16, 8, _FEWEST_LANES) if 2 * lanes <= extent), default=1)
    best, place = variables(width, kind, "best"), variables(width, position, "place")

    def keep(lane: Scalar, take: Scalar, value: Scalar, at: Scalar) -> list[Stmt]:
        # The position first: the decision reads the best so far.
        return [
            store(place, tirx.Select(take, at, load(place, lane)), lane),
            store(best, tirx.Select(take, value, load(best, lane)), lane),
        ]

    def body(o: Scalar, i: Scalar) -> list[Stmt]:
        def element(at: Scalar) -> Scalar:
            return _comparable(load(x, o, at, i), dtype, largest=largest)

        def better(new: Scalar, old: Scalar, or_equal: bool) -> Scalar:
            less, more = (old, new) if largest or is_float(dtype) else (new, old)
            return less <= more if or_equal else less < more

        def later(lane: Scalar, at: Scalar) -> list[Stmt]:
            value, old = element(at), load(best, lane)
            return keep(lane, better(value, old, last), value, _as(at, position))

        def further(step: Scalar, lane: Scalar) -> list[Stmt]:
            return later(lane, (step + 1) * width + lane)

        def rest(at: int, lane: Scalar) -> list[Stmt]:
            return later(lane, lane + at)

        def join(half: int, lane: Scalar) -> list[Stmt]:
            value, at = load(best, lane + half), load(place, lane + half)
            old = load(place, lane)
            tie = tirx.all(value == load(best, lane), at > old if last else at < old)
            return keep(lane, tirx.any(better(value, load(best, lane), False), tie), value, at)

        def lanes(count: int, of: Callable[[Scalar], Sequence[Stmt]]) -> Stmt:
            return loop(count, of, vectorized=True) if count > 1 else tirx.SeqStmt(list(of(tirx.IntImm("int64", 0))))

        def start(lane: Scalar) -> list[Stmt]:
            return [store(best, element(lane), lane), store(place, _as(lane, position), lane)]

        statements = [lanes(width, start)]
        rounds = extent // width
        if rounds > 1:
            statements.append(loop(rounds - 1, lambda step: [lanes(width, partial(further, step))]))
        at, half = rounds * width, width
        while half > 1:
            half //= 2
            if extent - at >= half:
                statements.append(lanes(half, partial(rest, at)))
                at += half
        half = width
        while half > 1:
            half //= 2
            statements.append(lanes(half, partial(join, half)))
        return [*statements, store(y, _as(load(place, 0), "int64"), o, i)]

    return kernel(
        "position",
        (outer, inner),
        body,
        keeps=[best, place],
        reads=[(x, lambda o, i: (o, None, i))],
        writes=[(y, lambda o, i: (o, i))],
    )


def position_of_extremum(node: Node, x: Expr, axis: int, *, largest: bool, last: bool, keepdims: bool) -> Expr:
    """Where along an axis, which is not empty, the largest or smallest element stands."""
    shape = shape_of(x)
    flat = (math.prod(shape[:axis]), shape[axis], math.prod(shape[axis + 1 :]))
    kernel = position_along_axis(*flat, dtype_of(x), largest=largest, last=last)
    rest = (*shape[:axis], *[1] * keepdims, *shape[axis + 1 :])
    return node.reshape(node.emit_kernel(kernel, node.reshape(x, flat)), rest)


def max_pool_with_indices(
    planes: int, window: Window, extents: Sequence[int], dtype: str, *, column_major: bool
) -> PrimFunc:
    """Maxima over windows, and the index of each in the flattened input [planes, extents...] (int64; first of equals).

    A PrimFunc from [planes, padded extents...] to two tensors [planes, output...]. With `column_major` the spatial part
    of the index counts the first dimension fastest; which of equals is first does not depend on it. NaN is the maximum
    where there is one. Where a window holds padding alone, the value is the least of the dtype, and the index 0.
    """
    rank = len(window.kernel)
    ends = window.padding[rank:]
    padded = [extent + window.begins[a] + ends[a] for a, extent in enumerate(extents)]
    x = tensor((planes, *padded), dtype, "x")
    results = (planes, *window.output)
    values, indices = tensor(results, dtype, "maxima"), tensor(results, "int64", "indices")
    kind, position = _compared(dtype), _position_dtype(planes * math.prod(extents))
    best, place = variables(1, kind, "best"), variables(1, position, "place")
    # Where keys are compared, which no number has the least of, the maximum itself is kept beside them.
    most = variables(1, dtype, "most") if is_float(dtype) else best
    row_major = [math.prod(extents[a + 1 :]) for a in range(rank)]
    nowhere = tirx.const(-1, position)

    def body(plane: Scalar, *point: Scalar) -> list[Stmt]:
        def tap(*taps: Scalar) -> list[Stmt]:
            at = [point[a] * window.strides[a] + taps[a] * window.dilations[a] for a in range(rank)]
            source = [at[a] - window.begins[a] for a in range(rank)]
            inside = [
                condition
                for a in range(rank)
                if window.begins[a] or ends[a]
                for condition in (source[a] >= 0, source[a] < extents[a])
            ]
            value = load(x, plane, *at)
            new, old = _comparable(value, dtype, largest=True), load(best, 0)
            flat = plane * math.prod(extents) + sum(source[a] * row_major[a] for a in range(rank))
            take = old < new if is_float(dtype) else tirx.any(load(place, 0) < 0, old < new)
            take = tirx.all(*inside, take) if inside else take
            kept = [store(most, tirx.Select(take, value, load(most, 0)), 0)] if is_float(dtype) else []
            return [
                store(place, tirx.Select(take, _as(flat, position), load(place, 0)), 0),
                *kept,
                store(best, tirx.Select(take, new, old), 0),
            ]

        def nest(taps: tuple[Scalar, ...]) -> Sequence[Stmt]:
            axis = len(taps)
            return tap(*taps) if axis == rank else [loop(window.kernel[axis], lambda k: nest((*taps, k)))]

        found = load(place, 0)
        flat = tirx.Select(found < 0, tirx.const(0, position), found)
        if column_major:
            inner = tirx.floormod(flat, math.prod(extents))
            places = [tirx.floormod(tirx.floordiv(inner, row_major[a]), extents[a]) for a in range(rank)]
            flat = flat - inner + sum(places[a] * math.prod(extents[:a]) for a in range(rank))
        least = [store(best, tirx.min_value(kind), 0)] if is_float(dtype) else []
        return [
            store(most, tirx.const(lowest(dtype), str(most.dtype)), 0),
            *least,
            store(place, nowhere, 0),
            *nest(()),
            store(values, _as(load(most, 0), dtype), plane, *point),
            store(indices, _as(flat, "int64"), plane, *point),
        ]

    def itself(*point: Scalar) -> Sequence[Scalar]:
        return point

    return kernel(
        "max_pool_with_indices",
        results,
        body,
        keeps=[best, place, *([most] if is_float(dtype) else [])],
        reads=[(x, lambda plane, *point: (plane, *[None] * rank))],
        writes=[(values, itself), (indices, itself)],
    )
