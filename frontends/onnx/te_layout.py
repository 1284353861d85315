"""TE computes that move elements in ways Relax lacks."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType

from tvm import te, tirx, topi

from ...ir_types import Scalar


def _reflected(place: Scalar, extent: int) -> Scalar:
    """The mirror at both ends, without repeating the edge: a zigzag with period 2 * (extent - 1)."""
    if extent == 1:
        return place * 0
    period = 2 * (extent - 1)
    phase = tirx.floormod(place, period)
    return tirx.Select(phase < extent, phase, period - phase)


def _clamped(place: Scalar, extent: int) -> Scalar:
    return tirx.max(tirx.min(place, extent - 1), 0)


def _wrapped(place: Scalar, extent: int) -> Scalar:
    return tirx.floormod(place, extent)


# Where an element outside the input comes from; `constant` has no such place.
PAD_MODES: Mapping[str, Callable[[Scalar, int], Scalar] | None] = MappingProxyType(
    {"constant": None, "reflect": _reflected, "edge": _clamped, "wrap": _wrapped}
)
# What negative widths cut away does not come back: the rest alone goes round.
CUTS_FIRST = frozenset({"wrap"})


def pad(x: te.Tensor, begins: Sequence[int], shape: Sequence[int], mode: str, fill: Scalar) -> te.Tensor:
    """x inside a larger (or, with negative begins, smaller) tensor of `shape`, the rest filled as `mode` says.

    `fill` is a number, or a tensor of rank 0.
    """
    value = fill() if isinstance(fill, te.Tensor) else tirx.const(fill, x.dtype)
    extents = [int(extent) for extent in x.shape]
    source_of = PAD_MODES[mode]
    changed = [begin != 0 or extent != new for begin, extent, new in zip(begins, extents, shape, strict=True)]

    def element(*i: Scalar) -> Scalar:
        places = [index - begin for index, begin in zip(i, begins, strict=True)]
        if source_of is not None:
            sources = [
                source_of(place, extent) if moved else place
                for place, extent, moved in zip(places, extents, changed, strict=True)
            ]
            return x(*sources)
        inside = [
            condition
            for place, extent, moved in zip(places, extents, changed, strict=True)
            if moved
            for condition in (place >= 0, place < extent)
        ]
        return tirx.if_then_else(tirx.all(*inside), x(*places), value)

    return te.compute(tuple(shape), element, name="pad", tag=topi.tag.INJECTIVE)


def shifted(x: te.Tensor, begins: Sequence[int], shape: Sequence[int], mode: str, fill: Scalar) -> te.Tensor:
    """`pad` where an axis is as long as before and has other elements: rules look at extents and at names."""
    return pad(x, begins, shape, mode, fill)


def reverse_sequence(x: te.Tensor, lengths: te.Tensor, *, time_axis: int, batch_axis: int) -> te.Tensor:
    """The first lengths[b] elements along the time axis reversed, for each b of the batch axis."""

    def element(*i: Scalar) -> Scalar:
        step = i[time_axis]
        length = lengths(i[batch_axis]).astype(step.ty.dtype if hasattr(step, "ty") else step.dtype)
        source = tirx.Select(step < length, length - 1 - step, step)
        place = list(i)
        place[time_axis] = tirx.max(tirx.min(source, x.shape[time_axis] - 1), 0)
        return x(*place)

    return te.compute(x.shape, element, name="reverse_sequence")
