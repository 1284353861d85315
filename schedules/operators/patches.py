"""Patches of images: cut out where a turn of a loop says, and with the border of the image put back."""

from __future__ import annotations

from typing import Any

from tvm import relax, te, tirx

from ...ir_passes.dialect.patches import INSIDE, PATCH, Patches, Span, has_channels_first, patches_of, value_of
from ...ir_types import Scalar
from ..tensorir.expressions import constant_shape, int64, int64s

OPERATORS = (PATCH, INSIDE)


def lower_patches(builder: relax.BlockBuilder, call: relax.Call) -> relax.Expr:
    """Lowers one of `OPERATORS`."""
    places = patches_of(call)
    is_patch = str(call.op.name) == PATCH
    shape, dtype = constant_shape(call), str(call.ty.dtype)
    value = tirx.const(int(value_of(call)) if "int" in dtype else value_of(call), dtype)

    def compute(data: te.Tensor, turn: te.Tensor) -> te.Tensor:
        def element(image: Any, row: Any, column: Any, channel: Any) -> Scalar:
            begins = _begins(turn[()], places)
            at = [begin + position for begin, position in zip(begins, (row, column), strict=True)]
            limits = [
                limit for each, span in zip(at, places.spans, strict=True) for limit in _limits(each, span, places)
            ]
            if not is_patch:
                own = data[image, row, column, channel]
                return tirx.Select(tirx.all(*limits), own, value) if limits else own
            own = data[(image, channel, *at) if has_channels_first(call) else (image, *at, channel)]
            return tirx.if_then_else(tirx.all(*limits), own, value) if limits else own

        return te.compute(int64s(shape), element, name="patch" if is_patch else "inside")

    return builder.call_te(compute, *call.args, primfunc_name_hint="patch" if is_patch else "inside")


def _begins(turn: Scalar, places: Patches) -> list[Scalar]:
    """Where the patch of a turn begins in the image."""
    row = turn if places.across == 1 else tirx.truncdiv(turn, int64(places.across))
    column = int64(0) if places.across == 1 else tirx.truncmod(turn, int64(places.across))
    return [
        place * int64(span.step) + int64(span.first) for place, span in zip((row, column), places.spans, strict=True)
    ]


def _limits(at: Scalar, span: Span, places: Patches) -> list[Scalar]:
    """What holds of a position inside of the image."""
    return [] if span.is_whole else [at >= int64(0), at < int64(span.extent)]
