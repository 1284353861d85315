"""Random numbers without a state: each is a hash of the seed and of the place where it stands.

A library computes the same whenever it is called, so what it draws is drawn when it is compiled: by the seed that the
model gives, or else by the node's name. The hash is two rounds of a 32-bit mixer (Wellons' lowbias32) over the place
and the seed.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Sequence

from tvm import te, tirx

from ...ir_types import Scalar
from .node import Node

_UINT = "uint32"


def seed_of(node: Node) -> int:
    """32 bits of the attribute `seed`, or of the name of a node that has none."""
    if "seed" in node.attributes:
        return zlib.crc32(repr(float(node.attributes["seed"].value)).encode())
    return zlib.crc32(node.name.encode())


def _mixed(value: Scalar) -> Scalar:
    for shift, factor in ((16, 0x7FEB352D), (15, 0x846CA68B)):
        value = (value ^ (value >> tirx.const(shift, _UINT))) * tirx.const(factor, _UINT)
    return value ^ (value >> tirx.const(16, _UINT))


def _bits(place: Scalar, seed: int, stream: int) -> Scalar:
    key = zlib.crc32(f"{seed} {stream}".encode())
    return _mixed(_mixed(place.astype(_UINT) ^ tirx.const(key, _UINT)) + tirx.const(seed & 0xFFFFFFFF, _UINT))


def unit(place: Scalar, seed: int, stream: int = 0) -> Scalar:
    """A float32 from 0 to 1, without 1."""
    return (_bits(place, seed, stream) >> tirx.const(8, _UINT)).astype("float32") * tirx.const(2.0**-24, "float32")


def uniform(shape: Sequence[int], low: float, high: float, seed: int, dtype: str) -> te.Tensor:
    """Evenly distributed from `low` to `high`."""

    def element(*i: Scalar) -> Scalar:
        drawn = tirx.const(low, "float32") + unit(_place(shape, i), seed) * tirx.const(high - low, "float32")
        return drawn.astype(dtype)

    return te.compute(tuple(shape), element, name="uniform")


def normal(shape: Sequence[int], mean: float, scale: float, seed: int, dtype: str) -> te.Tensor:
    """Normally distributed, by Box and Muller."""

    def element(*i: Scalar) -> Scalar:
        place = _place(shape, i)
        radius = tirx.sqrt(tirx.log(tirx.const(1.0, "float32") - unit(place, seed)) * tirx.const(-2.0, "float32"))
        drawn = radius * tirx.cos(unit(place, seed, 1) * tirx.const(2.0 * math.pi, "float32"))
        return (tirx.const(mean, "float32") + drawn * tirx.const(scale, "float32")).astype(dtype)

    return te.compute(tuple(shape), element, name="normal")


def _place(shape: Sequence[int], i: Sequence[Scalar]) -> Scalar:
    place: Scalar = tirx.const(0, "int64")
    for index, extent in zip(i, shape, strict=True):
        place = place * extent + index
    return place
