"""Kernels that keep elements where they are along what varies: a batch that they only go through.

Of a kernel that the importer made of compute definitions nothing is known but its statements. Where each of them reads
a tensor, along the axes that vary, at one index of its own result, element by element, what is there of the result is
what is there of the tensor.
"""

from __future__ import annotations

from collections.abc import Sequence

import tvm_ffi
from tvm import s_tir, tirx
from tvm.ir import TensorLoad

from ...ir_types import Block, Buffer, Node, PrimFunc, Scalar
from .digits import Axis, Extents, bound_of, varies, whole


def kept(function: PrimFunc, operands: Sequence[Extents]) -> list[Extents] | None:
    """The extents of a kernel's results; None where it does anything else along an axis that varies.

    Args:
        function: a kernel: operands first, then results.
        operands: their extents.
    """
    buffers = list(function.params)
    known: dict[Buffer, Extents] = dict(zip(buffers, operands, strict=False))
    seen = 0
    for block in _found(function.body, s_tir.SBlock)[1:]:
        stores = _found(block, tirx.BufferStore)
        seen += len(stores)
        if len(_found(block.body, s_tir.SBlock)) or not _follow(block, stores, known):
            return None
    if seen < len(_found(function.body, tirx.BufferStore)):  # some stand in no block
        return None
    results = [known.get(buffer) for buffer in buffers[len(operands) :]]
    return None if None in results else [each for each in results if each is not None]


def _follow(block: Block, stores: Sequence[Node], known: dict[Buffer, Extents]) -> bool:
    """Notes what a block writes; false where that does not lie where it is read. What is its own goes no further."""
    own = list(block.alloc_buffers)
    spatial = [each.var for each in block.iter_vars if int(each.iter_type) == tirx.IterVar.DataPar]
    axes: dict[Scalar, Axis] = {}
    for load in _found(block, TensorLoad):
        if _is_one_of(load.source, own):
            continue
        for index, axis in zip(load.indices, known.get(load.source, ()), strict=False):
            if varies(axis) and (not _is_one_of(index, spatial) or axes.setdefault(index, axis) != axis):
                return False
    for store in stores:
        if _is_one_of(store.buffer, own):
            continue
        found = [axes.get(index, ()) if isinstance(index, tirx.Var) else () for index in store.indices]
        bounds = [int(extent) for extent in store.buffer.shape]
        ends = tuple(axis or whole([bound])[0] for axis, bound in zip(found, bounds, strict=True))
        if sum(map(bool, found)) != len(axes) or [bound_of(axis) for axis in ends] != bounds:
            return False
        if known.setdefault(store.buffer, ends) != ends:
            return False
    return True


def _found(node: Node, kind: type) -> list[Node]:
    """All of a kind in a statement, the outer ones first."""
    nodes: list[Node] = []
    tvm_ffi.structural_walk(node, (kind, nodes.append), order="pre")
    return nodes


def _is_one_of(index: Scalar, variables: Sequence[Scalar]) -> bool:
    return any(index.same_as(each) for each in variables)


def literals(function: PrimFunc) -> list[object]:
    """The numbers in a kernel's blocks, in order: of statements, conditions, sums and loops, but not of shapes.

    Kernels for several sizes that have the same ones compute the same of what is there.
    """
    found: list[object] = []

    def of_shape(buffer: Buffer) -> None:
        """What was just found stands in its shape."""
        inside: list[object] = []
        tvm_ffi.structural_walk(buffer, ((tirx.IntImm, tirx.FloatImm), inside.append))
        del found[len(found) - len(inside) :]

    def note(number: Scalar) -> None:
        found.append(number.value)

    for block in _found(function.body, s_tir.SBlock)[1:]:
        summed = [each.dom for each in block.iter_vars if int(each.iter_type) != tirx.IterVar.DataPar]
        for each in (*summed, block.init, block.body):
            if each is not None:
                tvm_ffi.structural_walk(each, [((tirx.IntImm, tirx.FloatImm), note), (tirx.Buffer, of_shape)])
    return found
