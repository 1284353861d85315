"""Our own Relax operators for images that are computed patch by patch: an image is cut, and its border is put back.

    relax.tilewright.patch(x, turn)     the patch of an image that a turn of a loop reads
    relax.tilewright.inside(x, turn)    a patch in which what lies outside of the image is a value

Patch number `turn`, a scalar of int64, stands in row turn / across and column turn % across of a grid. Along each of
the two axes of an image it begins at step * place + first, is `size` long, and the image is `extent` long: what a patch
reads before or behind the image is the attribute `value`. Patches are (1, rows, columns, channels); images, too, or
with channels first where the attribute `channels_first` says so.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import tvm
from tvm import relax, tirx
from tvm.ir import Op

from ...ir_types import Call, Expr, Node, Type
from .registration import register

PATCH = "relax.tilewright.patch"
INSIDE = "relax.tilewright.inside"


@dataclass(frozen=True)
class Span:
    """Where patches lie along an axis of an image: the one at `place` at [step * place + first, ... + size)."""

    step: int
    first: int
    size: int
    extent: int

    @property
    def is_whole(self) -> bool:
        """Whether there is one patch alone: the axis of the image itself."""
        return self.first == 0 and self.size == self.extent

    def is_inside(self, places: int) -> bool:
        """Whether no one of so many patches reaches outside of the image."""
        return self.first >= 0 and self.step * (places - 1) + self.first + self.size <= self.extent


@dataclass(frozen=True)
class Patches:
    """Where the patches of an image lie: their rows, their columns, and how many stand side by side."""

    rows: Span
    columns: Span
    across: int

    @property
    def spans(self) -> tuple[Span, Span]:
        """Along both axes."""
        return self.rows, self.columns


def patch(x: Expr, turn: Expr, places: Patches, value: float, *, channels_first: bool = False) -> Expr:
    """The patch of an image, with `value` around the image."""
    return _call(PATCH, x, turn, places, value, channels_first)


def inside(x: Expr, turn: Expr, places: Patches, value: float) -> Expr:
    """A patch, with `value` where it is outside of the image."""
    return _call(INSIDE, x, turn, places, value, channels_first=False)


def patches_of(call: Call) -> Patches:
    """Where the patches of a call lie."""
    rows, columns = (Span(*(int(each) for each in call.attrs[name])) for name in ("rows", "columns"))
    return Patches(rows, columns, int(call.attrs["across"]))


def value_of(call: Call) -> float:
    """What is outside of the image."""
    return float(call.attrs["value"])


def has_channels_first(call: Call) -> bool:
    """Whether the image of a `patch` is (1, channels, rows, columns)."""
    return bool(int(call.attrs["channels_first"]))


def _call(name: str, x: Expr, turn: Expr, places: Patches, value: float, channels_first: bool) -> Expr:
    attributes = tvm.ir.make_node(
        "ir.DictAttrs",
        rows=_numbers(places.rows),
        columns=_numbers(places.columns),
        across=tirx.IntImm("int64", places.across),
        value=tirx.FloatImm("float64", float(value)),
        channels_first=tirx.IntImm("int64", int(channels_first)),
    )
    return tvm.ir.Call(Op.get(name), [x, turn], attributes)


def _numbers(span: Span) -> Sequence[Expr]:
    return [tirx.IntImm("int64", each) for each in (span.step, span.first, span.size, span.extent)]


def _infer_patch(call: Call, context: Node) -> Type:
    x, places = call.args[0], patches_of(call)
    channels = x.ty.shape[1 if has_channels_first(call) else 3]
    return relax.TensorType([1, places.rows.size, places.columns.size, channels], str(x.ty.dtype))


def _infer_inside(call: Call, context: Node) -> Type:
    return relax.TensorType(call.args[0].ty.shape, str(call.args[0].ty.dtype))


register(PATCH, __doc__, _infer_patch)
register(INSIDE, __doc__, _infer_inside)
