"""Sorting and selection by heaps in the memory of the results."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from tvm import tirx

from ...ir_types import Buffer, PrimFunc, Scalar, Stmt
from ...tensorir_heap import Entry, Heap, HeapVariables
from ...tensorir_kernel import everything, kernel
from ...tensorir_keys import compare_rows, key
from ...tensorir_statements import int64, load, loop, sequence, store, tensor, variables


def _flag(condition: Scalar) -> Scalar:
    return tirx.Select(condition, tirx.const(1, "int32"), tirx.const(0, "int32"))


def _sorted(heap: Heap, count: int) -> list[Stmt]:
    """Sorts the entries of a heap: the root goes to the end of what is left, again and again."""
    return _turns(count - 1, lambda turn: heap.take(count - 1 - turn))


def _turns(count: int, body: Callable[[Scalar], Sequence[Stmt]]) -> list[Stmt]:
    return [loop(count, body)] if count > 0 else []


def top_k(shape: Sequence[int], axis: int, count: int, dtype: str, *, largest: bool) -> PrimFunc:
    """A PrimFunc from a tensor to two with `count` elements along an axis: what is best there, and where (int64).

    The best comes first, the first of equals before the others. NaN counts as larger than every number. What was kept
    so far is a heap whose root is the worst, which what is better replaces: most elements are compared once, and what
    is computed grows with extent + count * log(count) * log(extent / count).
    """
    found = [*shape[:axis], count, *shape[axis + 1 :]]
    x, values, positions = (
        tensor(shape, dtype, "x"),
        tensor(found, dtype, "values"),
        tensor(found, "int64", "positions"),
    )

    def is_better(one: Scalar, other: Scalar) -> Scalar:
        return key(one, dtype) > key(other, dtype) if largest else key(one, dtype) < key(other, dtype)

    def compare(one: Entry, other: Entry, later: Buffer) -> list[Stmt]:
        (mine, where), (theirs, position) = one, other
        tie = tirx.all(key(mine, dtype) == key(theirs, dtype), where > position)
        return [store(later, _flag(tirx.any(is_better(theirs, mine), tie)), 0)]

    kept = (values, positions)
    keeps = HeapVariables(kept)

    def body(*point: Scalar) -> list[Stmt]:
        def line(at: Scalar) -> list[Scalar]:
            return [*point[:axis], at, *point[axis : len(shape) - 1]]

        def visit(turn: Scalar) -> list[Stmt]:
            at = turn + count
            new = load(x, *line(at))
            better = is_better(new, heap.at(int64(0))[0])
            return [tirx.IfThenElse(better, sequence(heap.replace(int64(0), (new, at), int64(count))), None)]

        heap = Heap(kept, line, compare, keeps)
        return [
            loop(count, lambda at: heap.put(at, (load(x, *line(at)), at))),
            *_turns(count // 2, lambda turn: heap.settle(turn, int64(count))),
            *_turns(shape[axis] - count, visit),
            *_sorted(heap, count),
        ]

    def along(*point: Scalar) -> list[Scalar | None]:
        return [*point[:axis], None, *point[axis : len(shape) - 1]]

    grid = [*shape[:axis], *shape[axis + 1 :]] or [1]
    return kernel("top_k", grid, body, keeps=keeps.all, reads=[(x, along)], writes=[(each, along) for each in kept])


def row_order(rows: int, columns: int, dtype: str) -> PrimFunc:
    """A PrimFunc from a matrix to the positions (int64[rows]) of its rows from the least on, equal ones in order."""
    x, order = tensor((rows, columns), dtype, "x"), tensor((rows,), "int64", "order")
    sign, keeps = variables(1, "int32", "sign"), HeapVariables((order,))

    def compare(one: Entry, other: Entry, later: Buffer) -> list[Stmt]:
        (mine,), (theirs,) = one, other
        tie = tirx.all(load(sign, 0) == tirx.const(0, "int32"), mine > theirs)
        after = tirx.any(load(sign, 0) > tirx.const(0, "int32"), tie)
        return [*compare_rows(x, mine, theirs, sign), store(later, _flag(after), 0)]

    def body(_: Scalar) -> list[Stmt]:
        heap = Heap((order,), lambda at: [at], compare, keeps)
        return [
            loop(rows, lambda at: heap.put(at, (at,))),
            *_turns(rows // 2, lambda turn: heap.settle(turn, int64(rows))),
            *_sorted(heap, rows),
        ]

    return kernel("row_order", (1,), body, keeps=[*keeps.all, sign], reads=[everything(x)], writes=[everything(order)])
