"""Iterations over offsets of a filter that would multiply padding alone are left out.

    for dy:                       for dy:
        for dx:           ->          if the tile has a line of the image at dy:
            for channel:                  for dx: ...
                sums += ...

A schedule marks the loops (`INSIDE`) with the axis of the image that they move along. Where a tile reads the image
stands in its own loads: the first and the last pixel of the tile are those with the first and the last values of the
loops inside. Between the two lie all others, where they differ along this axis alone. Works on loops over buffers that
still have their axes.
"""

from __future__ import annotations

import tvm
import tvm_ffi
from tvm import tirx
from tvm.ir import TensorLoad

from ...annotations import INSIDE, LHS, operands, without
from ...ir_types import For, PrimFunc, Scalar
from ...schedules.tensorir.rebuild import found, mentions, substituted, with_body


def skip_padding(function: PrimFunc) -> PrimFunc:
    """The function with conditions in the loops that are marked."""

    def rewritten(loop: For) -> For:
        inside = INSIDE.of(loop)
        if inside is None:
            return loop
        condition = _meets_image(loop, *inside)
        return with_body(
            loop, tirx.IfThenElse(condition, loop.body, None), annotations=without(loop.annotations, INSIDE)
        )

    return function.with_body(tvm_ffi.structural_map(function.body, (tirx.For, rewritten), order="post"))


def _meets_image(loop: For, axis: int, before: int, extent: int) -> Scalar:
    """Whether any pixel that the body reads lies within the image along `axis`."""
    (value,) = operands(loop.body, LHS)[:1]
    (load,) = found(value, TensorLoad)
    place = list(load.indices[: axis + 1])
    inner = [each for each in found(loop.body, tirx.For) if mentions(load, [each.loop_var])]
    first, last = (
        [substituted(index, {each.loop_var: each.min + step * (each.extent - 1) for each in inner}) for index in place]
        for step in (0, 1)
    )
    analyzer = tvm.sym.Analyzer()
    apart = [tirx.NE(low, high) for low, high in zip(first[:-1], last[:-1], strict=True)]
    within = tirx.And(last[-1] >= before, first[-1] < before + extent)
    return analyzer.simplify(tirx.any(*apart, within))
