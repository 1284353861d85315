"""Conditions that are the same for all lanes of a vector are made independent of the lane.

Where a vector of 8 elements starts at a multiple of 8, and a border lies at one, all its elements are on the same side:
``224 <= i * 8 + lane`` is ``224 <= i * 8``. With the lane in it, TVM would take the vector apart.
"""

from __future__ import annotations

from typing import Any

import tvm
import tvm_ffi
from tvm import tirx

from ..schedules.rebuild import substituted, with_body


def make_conditions_uniform(function: Any) -> Any:
    """Rewrites comparisons inside vectorized loops where the border lies between two vectors."""
    return function.with_body(tvm_ffi.structural_map(function.body, (tirx.For, _uniform_in)))


def _uniform_in(loop: Any) -> Any:
    if loop.kind != tirx.ForKind.VECTORIZED:
        return loop
    lane, lanes = loop.loop_var, int(loop.extent)
    analyzer = tvm.sym.Analyzer()
    zero = tirx.IntImm(str(lane.ty.dtype), 0)

    def at_first_lane(expression: Any) -> Any:
        return substituted(expression, {lane: zero})

    def change(comparison: Any) -> Any:
        less, more = comparison.a, comparison.b
        if isinstance(comparison, (tirx.GE, tirx.GT)):
            less, more = more, less
        # `distance` + lane is at least 0, or is below 0: equally true without the lane at multiples of the lanes.
        closed = isinstance(comparison, (tirx.LE, tirx.GE))
        distance = more - less if closed else less - more
        if not isinstance(distance.ty, tvm.ir.PrimType) or not str(distance.ty.dtype).startswith("int"):
            return comparison
        start = analyzer.simplify(at_first_lane(distance))
        if not analyzer.can_prove_equal(distance, start + lane):
            return comparison
        multiple = analyzer.modular_set(start)
        if int(multiple.coeff) % lanes or int(multiple.base) % lanes:
            return comparison
        return at_first_lane(comparison)

    kinds = (tirx.LE, tirx.LT, tirx.GE, tirx.GT)
    body = tvm_ffi.structural_map(loop.body, [(kind, change) for kind in kinds])
    return with_body(loop, body)
