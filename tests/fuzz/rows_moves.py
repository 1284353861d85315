"""Rows of operators that only move elements, name shapes or make tensors from sizes."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from draft import Draft, Unfit
from onnx import numpy_helper
from rows import row


def anything(d: Draft) -> tuple[str, ...]:
    """Mostly the graph's floats."""
    return (d.dtype,) if d.chance(0.8) else ("int64", "bool", "int32")


@row("Shape", "Size")
def shape(d: Draft, op: str) -> None:
    x = d.pick(anything(d))
    if op == "Size" or d.opset < 15:
        d.node(op, [x])
    else:
        d.node(op, [x], start=d.one_of((None, 1, -1)), end=d.one_of((None, -1)))


@row("Reshape")
def reshape(d: Draft, op: str) -> None:
    x = d.pick(anything(d))
    new = list(_regrouped(d, d.array(x).shape))
    if new and d.chance(0.5):
        new[d.between(0, len(new) - 1)] = -1
    d.node(op, [x, d.parameter(new)])


def _regrouped(d: Draft, old: tuple[int, ...]) -> tuple[int, ...]:
    """The same number of elements in another shape."""
    if d.chance(0.15):
        return (math.prod(old),)
    if d.chance(0.4) and len(old) >= 2:  # two neighbours become one
        at = d.between(0, len(old) - 2)
        return (*old[:at], old[at] * old[at + 1], *old[at + 2 :])
    if old and d.chance(0.6):  # one becomes two
        at = d.between(0, len(old) - 1)
        divisors = [k for k in range(1, old[at] + 1) if old[at] % k == 0]
        part = d.one_of(divisors)
        return (*old[:at], part, old[at] // part, *old[at + 1 :])
    factors = [f for extent in old for f in _factors(extent)]
    d.rng.shuffle(factors)
    new = [1] * d.between(1, 4)
    for factor in factors:
        new[d.between(0, len(new) - 1)] *= factor
    return tuple(new)


def _factors(number: int) -> list[int]:
    found = []
    for k in (2, 3, 5, 7, 11, 13, 17, 31):
        while number % k == 0:
            found.append(k)
            number //= k
    return [*found, number] if number > 1 else found


@row("Flatten")
def flatten(d: Draft, op: str) -> None:
    x = d.pick(anything(d))
    d.node(op, [x], axis=d.between(0, d.rank(x)))


@row("Squeeze")
def squeeze(d: Draft, op: str) -> None:
    x = d.pick(anything(d), fits=lambda a: 1 in a.shape)
    ones = [i for i, extent in enumerate(d.array(x).shape) if extent == 1]
    _with_axes(d, op, x, None if d.chance(0.2) else d.some(ones))


@row("Unsqueeze")
def unsqueeze(d: Draft, op: str) -> None:
    x = d.pick(anything(d), fits=lambda a: a.ndim <= 4)
    count = d.between(1, 2)
    _with_axes(d, op, x, d.some(range(d.rank(x) + count), count)[:count])


def _with_axes(d: Draft, op: str, x: str, axes: list[int] | None) -> None:
    if d.opset < 13:
        d.node(op, [x], axes=axes)
    else:
        d.node(op, [x] if axes is None else [x, d.parameter(axes)])


@row("Transpose")
def transpose(d: Draft, op: str) -> None:
    x = d.pick(anything(d))
    order = [int(each) for each in d.rng.permutation(d.rank(x))]
    if d.rank(x) == 4 and d.chance(0.4):
        order = d.one_of(([0, 2, 3, 1], [0, 3, 1, 2], [0, 1, 3, 2], [0, 2, 1, 3]))
    d.node(op, [x], perm=order if order and d.chance(0.9) else None)


@row("Concat")
def concat(d: Draft, op: str) -> None:
    first = d.pick(anything(d), fits=lambda a: a.ndim > 0)
    array = d.array(first)
    axis = d.axis(array.ndim)

    def fits(other: np.ndarray[Any, Any]) -> bool:
        return other.ndim == array.ndim and all(
            a == b for i, (a, b) in enumerate(zip(other.shape, array.shape, strict=True)) if i != axis % array.ndim
        )

    def new() -> str:
        extents = list(array.shape)
        extents[axis] = d.between(1, 9)
        return d.leaf(extents, array.dtype.name)

    parts = [first, *(d.pick(array.dtype.name, fits=fits, otherwise=new, reuse=0.7) for _ in range(d.between(1, 3)))]
    d.rng.shuffle(parts)
    d.node(op, parts, axis=axis)


@row("Split")
def split(d: Draft, op: str) -> None:
    x = d.pick(anything(d), fits=lambda a: a.ndim > 0 and max(a.shape) > 1)
    extents = d.array(x).shape
    axis = d.one_of([i for i, extent in enumerate(extents) if extent > 1])
    count = d.between(2, min(4, extents[axis]))
    cuts = sorted(int(cut) for cut in d.rng.choice(range(1, extents[axis]), count - 1, replace=False))
    sizes = [b - a for a, b in zip([0, *cuts], [*cuts, extents[axis]], strict=True)]
    even = extents[axis] % count == 0 and d.chance(0.5)
    if d.opset < 13:
        d.node_outputs(op, [x], count, axis=axis, split=None if even else sizes)
    elif even:
        d.node_outputs(op, [x], count, axis=axis, **({"num_outputs": count} if d.opset >= 18 else {}))
    else:
        d.node_outputs(op, [x, d.parameter(sizes)], count, axis=axis)


@row("Expand")
def expand(d: Draft, op: str) -> None:
    x = d.pick(anything(d), fits=lambda a: a.ndim <= 4 and a.size <= 600)
    shape = [extent if extent > 1 or d.chance(0.4) else d.between(2, 5) for extent in d.array(x).shape]
    new = [*(d.between(1, 4) for _ in range(d.between(0, 2))), *shape]
    d.node(op, [x, d.parameter([1 if d.chance(0.2) else extent for extent in new])])


@row("Tile")
def tile(d: Draft, op: str) -> None:
    x = d.pick(anything(d), fits=lambda a: a.ndim > 0 and a.size <= 1200)
    d.node(op, [x, d.parameter([d.one_of((1, 1, 2, 3)) for _ in range(d.rank(x))])])


@row("DepthToSpace")
def depth_to_space(d: Draft, op: str) -> None:
    block = d.between(2, 3)
    x = d.pick(
        rank=4,
        fits=lambda a: a.shape[1] % block**2 == 0,
        otherwise=lambda: d.leaf((d.between(1, 3), block**2 * d.between(1, 5), d.between(1, 6), d.between(1, 6))),
    )
    d.node(op, [x], blocksize=block, mode=d.one_of((None, "DCR", "CRD")) if d.opset >= 11 else None)


@row("SpaceToDepth")
def space_to_depth(d: Draft, op: str) -> None:
    block = d.between(2, 3)
    x = d.pick(
        rank=4,
        fits=lambda a: a.shape[2] % block == 0 and a.shape[3] % block == 0,
        otherwise=lambda: d.leaf((d.between(1, 3), d.between(1, 17), block * d.between(1, 4), block * d.between(1, 4))),
    )
    d.node(op, [x], blocksize=block)


@row("Pad")
def pad(d: Draft, op: str) -> None:
    mode = d.one_of(("constant", "constant", "reflect", "edge", *(("wrap",) if d.opset >= 19 else ())))
    x = d.pick(fits=lambda a: 0 < a.ndim <= 4)
    extents = d.array(x).shape
    axes = range(len(extents))
    most = [min(extent - 1, 3) if mode in ("reflect", "wrap") else 3 for extent in extents]
    widths = [[d.between(0, most[i]) if d.chance(0.6) else 0 for i in axes] for _ in range(2)]
    if mode == "constant" and d.chance(0.15):
        cut = d.one_of(axes)
        widths[0][cut] = -d.between(0, extents[cut] // 3)
    fill = d.one_of((None, 0.0, 1.5, -2.0))
    if d.opset < 11:
        d.node(op, [x], mode=mode, pads=[*widths[0], *widths[1]], value=fill)
        return
    inputs = [x, d.parameter([*widths[0], *widths[1]])]
    if fill is not None and mode == "constant":
        inputs.append(d.parameter(fill, d.dtype))
    d.node(op, inputs, mode=mode if d.chance(0.8) or mode != "constant" else None)


@row("ReverseSequence")
def reverse_sequence(d: Draft, op: str) -> None:
    x = d.pick(fits=lambda a: a.ndim >= 2)
    time, batch = d.one_of(((0, 1), (1, 0)))
    extents = d.array(x).shape
    lengths = d.rng.integers(1, extents[time] + 1, extents[batch])
    name = d._input(lengths) if d.chance(0.5) else d.constant(lengths)
    d.node(op, [x, name], time_axis=time, batch_axis=batch)


@row("Constant")
def constant(d: Draft, op: str) -> None:
    array = d.array(d.leaf(d.shape(), d.one_of((d.dtype, "int64")), constant=True))
    d.node(op, [], value=numpy_helper.from_array(array))


@row("ConstantOfShape")
def constant_of_shape(d: Draft, op: str) -> None:
    value = numpy_helper.from_array(np.asarray([d.one_of((0, 1, 2.5))], d.one_of((d.dtype, "int64"))))
    d.node(op, [d.parameter(d.shape())], value=value)


@row("EyeLike")
def eye_like(d: Draft, op: str) -> None:
    d.node(op, [d.pick(rank=2)], k=d.one_of((None, 0, 1, -2)))


@row("Range")
def number_range(d: Draft, op: str) -> None:
    dtype = d.one_of(("int64", "int32", "float32"))
    start, step = d.between(-5, 5), d.one_of((1, 2, -1, 3))
    limit = start + step * d.between(1, 40)
    d.node(op, [d.parameter(each, dtype) for each in (start, limit, step)])


@row("Trilu")
def triangle(d: Draft, op: str) -> None:
    x = d.pick(anything(d)[:1], fits=lambda a: a.ndim >= 2)
    k = [d.parameter(d.between(-3, 3)) if d.chance(0.7) else d.leaf((), "int64", low=-3, high=3)]
    d.node(op, [x, *(k if d.chance(0.7) else [])], upper=d.one_of((None, 0, 1)))


@row("Resize")
def resize(d: Draft, op: str) -> None:
    if d.dtype == "float64":
        raise Unfit
    x = d.pick(rank=4, fits=lambda a: a.size < 1500)
    extents = d.array(x).shape
    if d.opset < 11:
        d.node(op, [x, d.parameter([1.0, 1.0, 2.0, 2.0], "float32")], mode=d.one_of(("nearest", "linear")))
        return
    mode = d.one_of(("nearest", "linear", "linear", "cubic"))
    attributes: dict[str, Any] = {"mode": mode}
    attributes["coordinate_transformation_mode"] = d.one_of(
        ("half_pixel", "asymmetric", "align_corners", "pytorch_half_pixel")
    )
    if mode == "nearest":
        attributes["nearest_mode"] = d.one_of(("floor", "ceil", "round_prefer_floor", "round_prefer_ceil"))
    empty = d.parameter([], "float32")
    if d.chance(0.6):
        # Factors that floats hold exactly: others are decided by the last bit.
        factors = [d.one_of((1.0, 2.0, 0.5, 1.5, 3.0, 4.0)) for _ in range(2)]
        if any(int(extent * factor) < 1 for extent, factor in zip(extents[2:], factors, strict=True)):
            raise Unfit
        inputs = [x, empty, d.parameter([1.0, 1.0, *factors], "float32")]
    else:
        sizes = [d.one_of((extent, 2 * extent, 3 * extent, d.between(1, 12))) for extent in extents[2:]]
        if mode == "nearest":
            sizes = [extent * d.between(1, 3) for extent in extents[2:]]
        inputs = [x, empty, empty, d.parameter([*extents[:2], *sizes])]
    d.node(op, inputs, **attributes)
