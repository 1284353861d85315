"""TensorIR that is written statement by statement: parameters, loads, stores, loops."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any

from tvm import tirx
from tvm.ir import Range

from .ir_types import Buffer, Node, Scalar, Stmt


def int64(value: int) -> Scalar:
    """An index."""
    return tirx.IntImm("int64", value)


def tensor(shape: Sequence[int], dtype: str, name: str) -> Buffer:
    """A parameter of a kernel, or memory that it works in."""
    return tirx.decl_buffer([int64(extent) for extent in shape], dtype, name, layout=None)  # as those of TE


def variables(count: int, dtype: str, name: str, *, scope: str = "local") -> Buffer:
    """So many numbers that are kept in registers, or in memory of another scope."""
    return tirx.decl_buffer([int64(count)], dtype, name, scope=scope)


def load(buffer: Buffer, *place: Scalar) -> Scalar:
    """An element."""
    return tirx.BufferLoad(buffer, [int64(each) if isinstance(each, int) else each for each in place])


def store(buffer: Buffer, value: Scalar, *place: Scalar) -> Stmt:
    """Sets an element."""
    return tirx.BufferStore(buffer, value, [int64(each) if isinstance(each, int) else each for each in place])


def broadcast_place(own: Sequence[int], shape: Sequence[int], place: Sequence[Scalar]) -> list[Scalar]:
    """Where a tensor that broadcasts to `shape` has the element for a place in it."""
    leading = len(shape) - len(own)
    axes = zip(own, shape[leading:], place[leading:], strict=True)
    return [at if extent == whole else int64(0) for extent, whole, at in axes]


def loop(
    extent: int,
    body: Callable[[Scalar], Sequence[Stmt]],
    *,
    vectorized: bool = False,
    unrolled: bool = False,
    parallel: bool = False,
    marks: Mapping[str, Any] = MappingProxyType({}),
) -> Stmt:
    """The statements of `body(index)` for every index: one after the other, in the lanes of vectors, or by threads.

    Args:
        marks: annotations of the loop.
    """
    kind = tirx.ForKind.VECTORIZED if vectorized else tirx.ForKind.UNROLLED if unrolled else tirx.ForKind.SERIAL
    kind = tirx.ForKind.PARALLEL if parallel else kind
    index = tirx.Var("lane" if vectorized else "step", "int64")
    return tirx.For(index, int64(0), int64(extent), kind, sequence(body(index)), None, dict(marks))


def places(extent: int, tag: str, body: Callable[[Scalar], Sequence[Stmt]]) -> Stmt:
    """The statements of `body(place)` for every place along an axis of a grid: ``blockIdx.x``, ``threadIdx.y``."""
    place = tirx.Var(tag.replace(".", "_"), "int64")
    axis = tirx.IterVar(None, place, tirx.IterVar.ThreadIndex, tag)
    kind = tirx.ForKind.THREAD_BINDING
    return tirx.For(place, int64(0), int64(extent), kind, sequence(body(place)), axis)


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


def flattened(body: Stmt) -> list[Stmt]:
    """What a body does, one after the other: sequences within sequences are taken apart."""
    return [inner for each in body.seq for inner in flattened(each)] if isinstance(body, tirx.SeqStmt) else [body]


def whole(buffer: Buffer) -> Node:
    """All of a buffer, as blocks say what they read and write."""
    return tirx.BufferRegion(buffer, [Range.from_min_extent(int64(0), extent) for extent in buffer.shape])
