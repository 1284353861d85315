"""Vectors gathered from nearby places -> a few whole vectors that are loaded, and one shuffle.

TVM loads a vector whose elements do not stand side by side one by one. Where they stand at constant distances from
each other (every second element, two planes in turn, a repetition, a reversal), whole vectors hold them all:

    x[ramp(16 * i, 2, 8)]   ->   shuffle(x[ramp(16 * i, 1, 8)], x[ramp(16 * i + 7, 1, 8)]; 0, 2, 4, 6, 9, 11, 13, 15)

No vector reaches beyond the first and the last of the elements asked for, so none leaves the tensor.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import tvm
import tvm_ffi
from tvm import tirx
from tvm.ir import TensorLoad

from ...ir_types import Analyzer, Load, PrimFunc, Scalar

_FEWEST_LANES = 4  # below that, elements are as good as vectors
_MOST_LOADS = 4
# Stored as integers from a later pass on, which does not look into shuffles.
_LEGALIZED_LATER = ("bfloat16",)
_OPERATORS = (tirx.Add, tirx.Sub, tirx.Mul, tirx.FloorDiv, tirx.FloorMod, tirx.Min, tirx.Max)


@dataclass(frozen=True)
class Cover:
    """Whole vectors that hold all elements of a vector.

    Attributes:
        width: lanes of each.
        starts: where each begins, counted from the first element asked for.
        picks: for each element its lane in the vectors, one after the other.
    """

    width: int
    starts: tuple[int, ...]
    picks: tuple[int, ...]


def cover(offsets: Sequence[int]) -> Cover | None:
    """The fewest, then the shortest vectors between the least and the greatest offset that hold all; None if many."""
    lanes = len(offsets)
    best: Cover | None = None
    width = 1 << (lanes - 1).bit_length()
    while width > 1:
        found = _cover(offsets, width)
        if found is not None and (best is None or len(found.starts) <= len(best.starts)):
            best = found
        width //= 2
    return best if best is not None and len(best.starts) <= min(_MOST_LOADS, lanes // 2) else None


def _cover(offsets: Sequence[int], width: int) -> Cover | None:
    first, last = min(offsets), max(offsets)
    if last - first + 1 < width:
        return None
    starts: list[int] = []
    lane_of: dict[int, int] = {}
    for offset in sorted(set(offsets)):
        if offset in lane_of:
            continue
        start = min(offset, last - width + 1)
        for lane in range(width):
            lane_of.setdefault(start + lane, len(starts) * width + lane)
        starts.append(start)
    return Cover(width, tuple(starts), tuple(lane_of[offset] for offset in offsets))


def load_whole_vectors(function: PrimFunc) -> PrimFunc:
    """Rewrites the loads of a function whose loops are vectorized."""
    analyzer = tvm.sym.Analyzer()
    return function.with_body(
        tvm_ffi.structural_map(function.body, (TensorLoad, lambda load: _whole(load, analyzer)), order="post")
    )


def _whole(load: Load, analyzer: Analyzer) -> Scalar:
    if len(load.indices) != 1 or getattr(load, "predicate", None) is not None:
        return load
    if str(load.source.dtype) in _LEGALIZED_LATER:
        return load
    (index,) = load.indices
    dtype, _, lanes = str(index.ty.dtype).partition("x")
    if not lanes or int(lanes) < _FEWEST_LANES or isinstance(index, tirx.Broadcast) or not dtype.startswith("int"):
        return load
    if isinstance(index, tirx.Ramp) and isinstance(index.stride, tirx.IntImm) and int(index.stride) == 1:
        return load
    first = _lane(index, 0)
    offsets = [] if first is None else _offsets(index, first, int(lanes), analyzer)
    plan = cover(offsets) if offsets else None
    if plan is None:
        return load
    first = analyzer.simplify(first)
    one = tirx.IntImm(dtype, 1)
    vectors = [
        tirx.BufferLoad(load.source, [tirx.Ramp(first + tirx.IntImm(dtype, start), one, plan.width)])
        for start in plan.starts
    ]
    # TVM's shuffles give no more lanes than they take.
    vectors *= -(-int(lanes) // (len(vectors) * plan.width))
    return tirx.Shuffle(vectors, [tirx.IntImm("int32", pick) for pick in plan.picks])


def _offsets(index: Scalar, first: Scalar, lanes: int, analyzer: Analyzer) -> list[int]:
    """How far from its first element each of a vector stands; empty if that is not constant."""
    offsets: list[int] = []
    for lane in range(lanes):
        distance = analyzer.simplify(_lane(index, lane) - first)
        if not isinstance(distance, tirx.IntImm):
            return []
        offsets.append(int(distance))
    return offsets


def _lane(index: Scalar, lane: int) -> Scalar:
    """One lane of a vector of indices; None if it is not a sum, product, quotient or remainder of ramps."""
    if isinstance(index, tirx.Ramp):
        return index.base + index.stride * lane
    if isinstance(index, tirx.Broadcast):
        return index.value
    if isinstance(index, tirx.Cast):
        value = _lane(index.value, lane)
        return None if value is None else value.astype(str(index.ty.dtype).partition("x")[0])
    if not isinstance(index, _OPERATORS):
        return None
    sides = [_lane(side, lane) for side in (index.a, index.b)]
    return None if any(side is None for side in sides) else type(index)(*sides)
