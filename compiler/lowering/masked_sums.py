"""Sums that nobody sees: whoever reads them puts something else in their place, behind the end of what is there.

    for t in 119:
        for r in 6:  sums[r] = 0
        for k in 384:  sums[r] += ...              if t * 6 % 31 < W or ...:  for k in 384:  sums[r] += ...
        for r in 6:
            out[t * 6 + r] = sums[r] if (t * 6 + r) % 31 < W else 0

A kernel that reads a neighbourhood needs zeros around an image; of a small image most tiles may hold nothing else.
"""

from __future__ import annotations

from collections.abc import Sequence

import tvm_ffi
from tvm import tirx
from tvm.ir import TensorLoad

from ...ir_types import Buffer, For, Node, Scalar, Stmt
from ...schedules.tensorir.rebuild import found
from .before_end import BeforeEnd, before_end


def only_where_seen(
    loop: Stmt, readers: Sequence[Stmt], around: Sequence[For], body: Stmt, masks: set[Buffer], results: set[Buffer]
) -> list[BeforeEnd]:
    """Without which nothing is seen of what a loop adds to sums; none where that cannot be told.

    Args:
        loop: as it stands in the kernel.
        readers: what follows it.
        around: loops around both.
        body: of the whole kernel.
        masks: sizes with which something is put in place of what is not there.
        results: what callers see.
    """
    if not isinstance(loop, tirx.For) or not around or not masks:
        return []
    stores = found(loop, tirx.BufferStore)
    sums = {store.buffer for store in stores}
    if sums & results or not all(map(adds, stores)):
        return []
    choices = [each for reader in readers for each in found(reader, tirx.Select)]
    choices = [each for each in choices if _loads(each.true_value, sums)]
    seen = sum(_loads(each.true_value, sums) for each in choices)
    if not choices or seen + _loads(loop, sums) != _loads(body, sums):
        return []
    inner = [each for reader in readers for each in found(reader, tirx.For)]
    first, *others = [_before(each.condition, masks) for each in choices]
    needed = []
    for mask, place in first.items():
        places = [place, *(other[mask] for other in others if mask in other)]
        if len(places) == len(choices):
            condition = before_end(places, around[-1], around[:-1], inner)
            if condition is not None:
                needed.append(condition)
    return needed


def adds(store: Stmt) -> bool:
    """Whether it changes an element, of which a mask leaves what it was."""
    return any(
        load.source.same_as(store.buffer) and tvm_ffi.structural_equal(load.indices, store.indices)
        for load in found(store.value, TensorLoad)
    )


def _before(condition: Scalar, masks: set[Buffer]) -> dict[Buffer, BeforeEnd]:
    """The conditions `place < mask` that must all hold, by the mask."""
    if isinstance(condition, tirx.And):
        return {**_before(condition.a, masks), **_before(condition.b, masks)}
    if not isinstance(condition, tirx.LT | tirx.GT):
        return {}
    place, size = (condition.a, condition.b) if isinstance(condition, tirx.LT) else (condition.b, condition.a)
    known = isinstance(size, TensorLoad) and size.source in masks
    return {size.source: BeforeEnd(place, 0, size)} if known else {}


def _loads(node: Node, buffers: set[Buffer]) -> int:
    return sum(load.source in buffers for load in found(node, TensorLoad))
