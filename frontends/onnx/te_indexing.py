"""TE computes for reads and writes by index.

Runtime indices count from the end if negative and are then clamped: a wrong index gives a wrong value, never a read or
a write outside the tensor.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType

from tvm import te, tirx

from ...ir_types import Scalar
from .dtypes import accumulator, highest, lowest


def _inside(index: Scalar, extent: Scalar) -> Scalar:
    """An index as a place in an axis."""
    place = index.astype("int64")
    place = tirx.Select(place < 0, place + extent, place)
    return tirx.max(tirx.min(place, extent - 1), tirx.const(0, "int64"))


def gather_elements(x: te.Tensor, indices: te.Tensor, axis: int) -> te.Tensor:
    """out[i] = x[i with indices[i] at `axis`]."""
    return te.compute(
        indices.shape,
        lambda *i: x(*i[:axis], _inside(indices(*i), x.shape[axis]), *i[axis + 1 :]),
        name="gather_elements",
    )


def gather_nd(x: te.Tensor, indices: te.Tensor, batch: int) -> te.Tensor:
    """out[b, i, j] = x[b, indices[b, i, :], j], b being `batch` dimensions."""
    depth = int(indices.shape[-1])
    outer = len(indices.shape) - 1

    def element(*i: Scalar) -> Scalar:
        places = [_inside(indices(*i[:outer], k), x.shape[batch + k]) for k in range(depth)]
        return x(*i[:batch], *places, *i[outer:])

    return te.compute((*indices.shape[:-1], *x.shape[batch + depth :]), element, name="gather_nd")


def choose_rows(data: te.Tensor, updates: te.Tensor, source: te.Tensor) -> te.Tensor:
    """Row r of [rows, inner] is updates[source[r]], or data[r] where source[r] is negative."""
    return te.compute(
        data.shape,
        lambda r, j: tirx.if_then_else(
            source(r) >= 0, updates(tirx.max(source(r), tirx.const(0, "int64")), j), data(r, j)
        ),
        name="choose_rows",
    )


# How an update meets what is there, and the value that changes nothing.
COMBINE: Mapping[str, tuple[Callable[[Scalar, Scalar], Scalar], Callable[[str], float | int]]] = MappingProxyType(
    {
        "none": (lambda old, new: new, lambda dtype: 0),
        "add": (lambda old, new: old + new, lambda dtype: 0),
        "mul": (lambda old, new: old * new, lambda dtype: 1),
        "max": (lambda old, new: tirx.max(old, new), lowest),
        "min": (lambda old, new: tirx.min(old, new), highest),
    }
)


def _scattered(
    data: te.Tensor,
    extents: Sequence[Scalar],
    reduction: str,
    hit: Callable[[tuple[Scalar, ...], list[Scalar]], Scalar],
    update: Callable[[tuple[Scalar, ...], list[Scalar]], Scalar],
) -> te.Tensor:
    """data with every update that hits an element combined into it, seen from the element's side.

    `extents` are those of a domain of updates; `hit` and `update` say for an element and an update whether they
    meet and what is written. Seen so there are no write conflicts: the loops over elements may run in parallel.
    """
    axes = [te.reduce_axis((0, extent), name=f"u{axis}") for axis, extent in enumerate(extents)]
    if reduction == "none":
        # The last update wins: find its number first.
        number = axes[0].var.astype("int64")
        for axis, extent in zip(axes[1:], extents[1:], strict=True):
            number = number * extent + axis
        missing = tirx.const(-1, "int64")
        last = te.compute(
            data.shape, lambda *i: te.max(tirx.Select(hit(i, axes), number, missing), axis=axes), name="last_update"
        )

        def replaced(*i: Scalar) -> Scalar:
            rest = tirx.max(last(*i), tirx.const(0, "int64"))
            place = []
            for extent in reversed(extents):
                place.append(tirx.indexmod(rest, extent))
                rest = tirx.indexdiv(rest, extent)
            return tirx.if_then_else(last(*i) >= 0, update(i, list(reversed(place))), data(*i))

        return te.compute(data.shape, replaced, name="scatter")
    combine, neutral = COMBINE[reduction]
    kind = accumulator(str(data.dtype)) if reduction in ("add", "mul") else str(data.dtype)
    empty = tirx.const(neutral(kind), kind)
    reducer = te.comm_reducer(combine, lambda dtype: tirx.const(neutral(str(dtype)), dtype), name=reduction)

    def widened(value: Scalar) -> Scalar:
        return value if kind == data.dtype else value.astype(kind)

    total = te.compute(
        data.shape,
        lambda *i: reducer(tirx.if_then_else(hit(i, axes), widened(update(i, axes)), empty), axis=axes),
        name="updates",
    )
    return te.compute(data.shape, lambda *i: combine(widened(data(*i)), total(*i)).astype(data.dtype), name="scatter")


def scatter_elements(data: te.Tensor, indices: te.Tensor, updates: te.Tensor, axis: int, reduction: str) -> te.Tensor:
    """data with updates[j] combined into data[j with indices[j] at `axis`], for every j."""
    others = [each for each in range(len(data.shape)) if each != axis]

    def position(i: tuple[Scalar, ...], u: list[Scalar]) -> list[Scalar]:
        place = list(i)
        place[axis] = u[0]
        # Elements beyond the updates' extents are hit by nothing, but must not be read.
        for each in others:
            place[each] = tirx.min(place[each], updates.shape[each] - 1)
        return place

    def hit(i: tuple[Scalar, ...], u: list[Scalar]) -> Scalar:
        within = [i[each] < updates.shape[each] for each in others]
        there = _inside(indices(*position(i, u)), data.shape[axis]) == i[axis]
        return tirx.all(*within, there)

    return _scattered(data, [updates.shape[axis]], reduction, hit, lambda i, u: updates(*position(i, u)))


def scatter_rows(
    data: te.Tensor, tuples: te.Tensor, updates: te.Tensor, extents: Sequence[int], reduction: str
) -> te.Tensor:
    """Rows of [rows, inner], numbered by index tuples over `extents`, combined with the rows of updates."""

    def hit(i: tuple[Scalar, ...], u: list[Scalar]) -> Scalar:
        row: Scalar = tirx.const(0, "int64")
        for k, extent in enumerate(extents):
            row = row * extent + _inside(tuples(u[0], k), extent)
        return row == i[0]

    return _scattered(data, [updates.shape[0]], reduction, hit, lambda i, u: updates(u[0], i[1]))


def one_hot(indices: te.Tensor, values: te.Tensor, depth: int, axis: int) -> te.Tensor:
    """values[1] at the indices along a new axis, values[0] elsewhere; indices outside [-depth, depth) hit nothing."""
    shape = [*indices.shape[:axis], depth, *indices.shape[axis:]]

    def element(*i: Scalar) -> Scalar:
        index = indices(*i[:axis], *i[axis + 1 :]).astype("int64")
        index = tirx.Select(index < 0, index + depth, index)
        return tirx.Select(index == i[axis], values(1), values(0))

    return te.compute(shape, element, name="one_hot")


def triangle(x: te.Tensor, shift: te.Tensor, upper: bool) -> te.Tensor:
    """The triangle of the last two dimensions whose boundary is moved by a runtime number of diagonals."""

    def element(*i: Scalar) -> Scalar:
        diagonal = (i[-1] - i[-2]).astype("int64")
        k = shift().astype("int64")
        keep = diagonal >= k if upper else diagonal <= k
        return tirx.if_then_else(keep, x(*i), tirx.const(0, x.dtype))

    return te.compute(x.shape, element, name="triangle")


def written_rows(cache: te.Tensor, update: te.Tensor, *starts: te.Tensor, axis: int, circular: bool) -> te.Tensor:
    """cache with the update's elements along an axis from starts[b] on, b being the first dimension; round its end."""
    extent, length = int(cache.shape[axis]), int(update.shape[axis])

    def element(*i: Scalar) -> Scalar:
        start = starts[0](i[0]).astype("int64") if starts else tirx.const(0, "int64")
        step = i[axis] - start
        step = tirx.floormod(step, extent) if circular else step
        safe = tirx.max(tirx.min(step, length - 1), tirx.const(0, "int64"))
        place = [safe if each == axis else index for each, index in enumerate(i)]
        return tirx.if_then_else(tirx.all(step >= 0, step < length), update(*place), cache(*i))

    return te.compute(cache.shape, element, name="written_rows")
