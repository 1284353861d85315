"""A PrimFunc's body on other buffers: of another shape, another dtype, or at another place."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import tvm
import tvm_ffi
from tvm import tirx
from tvm.ir import TensorLoad, TensorRegion

from ...ir_types import Buffer, Expr, Node, Stmt

# A buffer, which TVM's Python has no type for.


def _as_they_are(buffer: Buffer, indices: Sequence[Expr]) -> Sequence[Expr]:
    return indices


def _value(buffer: Buffer, value: Expr) -> Expr:
    return value


def with_buffers(
    body: Stmt,
    twins: Mapping[Buffer, Buffer],
    *,
    moved: Callable[[Buffer, Sequence[Expr]], Sequence[Expr]] = _as_they_are,
    stored: Callable[[Buffer, Expr], Expr] = _value,
    loaded: Callable[[Buffer, Expr], Expr] = _value,
    also: Sequence[tuple[type, Callable[[Node], Node]]] = (),
) -> Stmt:
    """The body that uses other buffers wherever it loads, stores, allocates, or says what a block reads and writes.

    Args:
        twins: for each buffer the one to use in its place.
        moved: from a buffer and indices in it to those in its twin.
        stored: from a buffer and a value to what is stored there; asked for every store.
        loaded: from a buffer and a load of its twin to what stands for the load.
        also: changes of other nodes, made in the same walk: their class and what becomes of one.
    """

    def store(node: Node) -> Node:
        twin = twins.get(node.buffer)
        if twin is None:
            value = stored(node.buffer, node.value)
            return node if value is node.value else tirx.BufferStore(node.buffer, value, node.indices)
        return tirx.BufferStore(twin, stored(twin, node.value), list(moved(node.buffer, node.indices)))

    def load(node: Node) -> Node:
        twin = twins.get(node.source)
        if twin is None:
            return node
        return loaded(node.source, tirx.BufferLoad(twin, list(moved(node.source, node.indices))))

    def region(node: Node) -> Node:
        twin = twins.get(node.source)
        if twin is None:
            return node
        starts = moved(node.source, [each.min for each in node.region])
        ranges = [
            tvm.ir.Range.from_min_extent(start, each.extent) for start, each in zip(starts, node.region, strict=True)
        ]
        return tirx.BufferRegion(twin, ranges)

    def alloc(node: Node) -> Node:
        twin = twins.get(node.buffer)
        return node if twin is None else tirx.AllocBuffer(twin, node.annotations)

    changes = [(tirx.BufferStore, store), (TensorLoad, load), (TensorRegion, region), (tirx.AllocBuffer, alloc)]
    return tvm_ffi.structural_map(body, [*changes, *also])
