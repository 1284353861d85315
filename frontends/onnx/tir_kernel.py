"""Kernels written in TensorIR, statement by statement, where a TE compute would take longer than the algorithm does.

A kernel is one block: what it computes for each point of a grid, with loops and variables of its own inside. The grid's
points may be computed in any order, so the schedules vectorize it and spread it over cores like any other block.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from tvm import s_tir, tirx
from tvm.ir import Range

from ...annotations import WHOLE
from ...ir_types import Buffer, Node, PrimFunc, Scalar, Stmt

_DATA_PARALLEL = 0  # TensorIR's kind of an axis whose points may be computed in any order


def int64(value: int) -> Scalar:
    """An index."""
    return tirx.IntImm("int64", value)


def tensor(shape: Sequence[int], dtype: str, name: str) -> Buffer:
    """A parameter of a kernel."""
    return tirx.decl_buffer([int64(extent) for extent in shape], dtype, name, layout=None)  # as those of TE


def variables(count: int, dtype: str, name: str) -> Buffer:
    """So many numbers that a point of the grid keeps, in registers."""
    return tirx.decl_buffer([int64(count)], dtype, name, scope="local")


def load(buffer: Buffer, *place: Scalar) -> Scalar:
    """An element."""
    return tirx.BufferLoad(buffer, [int64(each) if isinstance(each, int) else each for each in place])


def store(buffer: Buffer, value: Scalar, *place: Scalar) -> Stmt:
    """Sets an element."""
    return tirx.BufferStore(buffer, value, [int64(each) if isinstance(each, int) else each for each in place])


def loop(extent: int, body: Callable[[Scalar], Sequence[Stmt]], *, vectorized: bool = False) -> Stmt:
    """The statements of `body(index)` for every index, one after the other or in the lanes of vectors."""
    kind = tirx.ForKind.VECTORIZED if vectorized else tirx.ForKind.SERIAL
    index = tirx.Var("lane" if vectorized else "step", "int64")
    return tirx.For(index, int64(0), int64(extent), kind, sequence(body(index)))


def counted(counter: Buffer, place: int, extent: Scalar, body: Callable[[Scalar], Sequence[Stmt]]) -> Stmt:
    """The statements of `body(index)` for every index below an extent that is known when the kernel runs.

    The index is counted in an element of `variables`: a loop of TensorIR has no extent that is read from memory.
    """
    index = load(counter, place)
    step = store(counter, index + 1, place)
    turns = tirx.While(index < extent, sequence([*body(index), step]))
    return sequence([store(counter, int64(0), place), turns])


def sequence(statements: Sequence[Stmt]) -> Stmt:
    """Statements as one."""
    return statements[0] if len(statements) == 1 else tirx.SeqStmt(list(statements))


def kernel(
    name: str,
    grid: Sequence[int],
    body: Callable[..., Sequence[Stmt]],
    *,
    keeps: Sequence[Buffer],
    reads: Sequence[tuple[Buffer, Callable[..., Sequence[Scalar]]]],
    writes: Sequence[tuple[Buffer, Callable[..., Sequence[Scalar]]]],
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

    def region(buffer: Buffer, of: Callable[..., Sequence[Scalar]]) -> Node:
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
