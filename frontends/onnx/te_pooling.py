"""TE computes for pooling that Relax lacks: integers, dilated averages, unpooling."""

from __future__ import annotations

from collections.abc import Sequence

from tvm import te, tirx

from ...ir_types import Scalar
from .dtypes import lowest
from .windows import Window


def padded(x: te.Tensor, window: Window, value: float | int) -> te.Tensor:
    """x surrounded by a value, so that every window lies inside."""
    rank = len(window.kernel)
    begins, ends = window.padding[:rank], window.padding[rank:]
    if not any(window.padding):
        return x
    shape = [*x.shape[:2], *(x.shape[2 + a] + begins[a] + ends[a] for a in range(rank))]

    def element(*index: Scalar) -> Scalar:
        places = [index[2 + a] - begins[a] for a in range(rank)]
        inside = [condition for a in range(rank) for condition in (places[a] >= 0, places[a] < x.shape[2 + a])]
        return tirx.if_then_else(tirx.all(*inside), x(*index[:2], *places), tirx.const(value, x.dtype))

    return te.compute(shape, element, name="padded")


def _taps(window: Window) -> list[Scalar]:
    return [te.reduce_axis((0, extent), name=f"k{axis}") for axis, extent in enumerate(window.kernel)]


def _places(window: Window, index: Sequence[Scalar], taps: Sequence[Scalar]) -> list[Scalar]:
    """Where in the padded input a tap of a window lies."""
    return [index[2 + a] * window.strides[a] + taps[a] * window.dilations[a] for a in range(len(window.kernel))]


def max_pool(x: te.Tensor, window: Window) -> te.Tensor:
    """Maximum of [N, C, spatial...] over windows, any dtype."""
    wide, taps = padded(x, window, lowest(str(x.dtype))), _taps(window)
    maximum = te.comm_reducer(
        lambda a, b: tirx.max(a, b), lambda dtype: tirx.const(lowest(str(dtype)), dtype), name="maximum"
    )
    return te.compute(
        (*x.shape[:2], *window.output),
        lambda *i: maximum(wide(*i[:2], *_places(window, i, taps)), axis=taps),
        name="max_pool",
    )


def sum_pool(x: te.Tensor, window: Window) -> te.Tensor:
    """Sum of [N, C, spatial...] over windows."""
    wide, taps = padded(x, window, 0), _taps(window)
    return te.compute(
        (*x.shape[:2], *window.output),
        lambda *i: te.sum(wide(*i[:2], *_places(window, i, taps)), axis=taps),
        name="sum_pool",
    )


def max_unpool(x: te.Tensor, indices: te.Tensor, inferred: Sequence[int], output: Sequence[int]) -> te.Tensor:
    """Each value at its index in the flattened tensor of shape `inferred`, embedded in `output`; zero elsewhere."""
    rank = len(x.shape) - 2
    taps = [te.reduce_axis((0, extent), name=f"k{axis}") for axis, extent in enumerate(x.shape[2:])]

    def element(*i: Scalar) -> Scalar:
        flat = i[0] * inferred[1] + i[1]
        for axis in range(2, 2 + rank):
            flat = flat * inferred[axis] + i[axis]
        hit = indices(*i[:2], *taps) == flat.astype(indices.dtype)
        inside = tirx.all(*(i[axis] < inferred[axis] for axis in range(2, 2 + rank)))
        return te.sum(tirx.if_then_else(tirx.all(inside, hit), x(*i[:2], *taps), tirx.const(0, x.dtype)), axis=taps)

    return te.compute(tuple(output), element, name="max_unpool")
