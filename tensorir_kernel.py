"""Kernels written in TensorIR, statement by statement, where a TE compute would take longer than the algorithm does.

A kernel is one block: what it computes for each point of a grid, with loops and variables of its own inside. The grid's
points may be computed in any order, so the schedules vectorize it and spread it over cores like any other block.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from tvm import s_tir, tirx
from tvm.ir import Range

from .annotations import WHOLE
from .ir_types import Buffer, Node, PrimFunc, Scalar, Stmt
from .tensorir_statements import int64, sequence

_DATA_PARALLEL = 0  # TensorIR's kind of an axis whose points may be computed in any order


def everything(buffer: Buffer) -> tuple[Buffer, Callable[..., Sequence[Scalar | None]]]:
    """A parameter of which a point reads or writes all."""
    return buffer, lambda *point: [None] * len(buffer.shape)


def kernel(
    name: str,
    grid: Sequence[int],
    body: Callable[..., Sequence[Stmt]],
    *,
    keeps: Sequence[Buffer],
    reads: Sequence[tuple[Buffer, Callable[..., Sequence[Scalar | None]]]],
    writes: Sequence[tuple[Buffer, Callable[..., Sequence[Scalar | None]]]],
) -> PrimFunc:
    """The PrimFunc of one block.

    Args:
        grid: the extents of its points.
        body: what is done at a point, given by its index in each dimension.
        keeps: buffers of `variables`.
        reads: parameters, and of each what a point reads: per dimension an index, or None for all of it.
        writes: the same of what it writes; the parameters in this order, `reads` first, are the function's.
    """
    point = [tirx.Var(f"p{axis}", "int64") for axis in range(len(grid))]

    def region(buffer: Buffer, of: Callable[..., Sequence[Scalar | None]]) -> Node:
        places = zip(of(*point), buffer.shape, strict=True)
        ranges = [
            Range.from_min_extent(int64(0), extent) if at is None else Range.from_min_extent(at, int64(1))
            for at, extent in places
        ]
        return tirx.BufferRegion(buffer, ranges)

    axes = [
        tirx.IterVar(Range.from_min_extent(int64(0), int64(extent)), variable, _DATA_PARALLEL)
        for variable, extent in zip(point, grid, strict=True)
    ]
    regions = [[region(*each) for each in kind] for kind in (reads, writes)]
    block = s_tir.SBlock(axes, *regions, name, sequence(body(*point)), alloc_buffers=list(keeps))
    outside = [tirx.Var(f"i{axis}", "int64") for axis in range(len(grid))]
    nest: Stmt = s_tir.SBlockRealize(outside, True, block)
    for variable, extent in reversed(list(zip(outside, grid, strict=True))):
        nest = tirx.For(variable, int64(0), int64(extent), tirx.ForKind.SERIAL, nest)
    root = s_tir.SBlockRealize([], True, s_tir.SBlock([], [], [], "root", nest))
    parameters = [buffer for buffer, _ in (*reads, *writes)]
    attributes = {"tirx.noalias": True, "s_tir": True, "global_symbol": name, **WHOLE.entry()}
    return tirx.PrimFunc(parameters, root).with_attr(attributes)
