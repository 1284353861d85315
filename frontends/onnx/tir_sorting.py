"""The first of a row in order: selection by a heap (Williams, Algorithm 232, 1964), in the memory of the results."""

from __future__ import annotations

from tvm import tirx

from ...ir_types import PrimFunc, Scalar, Stmt
from ...tensorir_statements import int64, load, loop, sequence, store, tensor, variables
from .te_keys import key
from .tir_kernel import kernel


def top_k(outer: int, extent: int, inner: int, count: int, dtype: str, *, largest: bool) -> PrimFunc:
    """A PrimFunc from [outer, extent, inner] to [outer, count, inner] twice: what is best in the middle, and where.

    The best comes first, the first of equals before the others; positions are int64. NaN counts as larger than every
    number. What was kept so far is a heap whose root is the worst, which what is better replaces: most elements are
    compared once, and what is computed grows with extent + count * log(count) * log(extent / count).
    """
    x = tensor((outer, extent, inner), dtype, "x")
    values, positions = (
        tensor((outer, count, inner), dtype, "values"),
        tensor((outer, count, inner), "int64", "positions"),
    )
    value, place = variables(1, dtype, "value"), variables(1, "int64", "place")  # what sinks into the heap
    hole, child = variables(1, "int64", "hole"), variables(1, "int64", "child")

    def body(o: Scalar, i: Scalar) -> list[Stmt]:
        def is_better(one: Scalar, other: Scalar) -> Scalar:
            return key(one, dtype) > key(other, dtype) if largest else key(one, dtype) < key(other, dtype)

        def is_worse(at: Scalar, than: tuple[Scalar, Scalar]) -> Scalar:
            """Whether what is kept at a place comes behind a value at a position."""
            (mine, where), (other, position) = kept(at), than
            return tirx.any(is_better(other, mine), tirx.all(key(other, dtype) == key(mine, dtype), where > position))

        def kept(at: Scalar) -> tuple[Scalar, Scalar]:
            return load(values, o, at, i), load(positions, o, at, i)

        def keep(at: Scalar, one: Scalar, where: Scalar) -> list[Stmt]:
            return [store(values, one, o, at, i), store(positions, where, o, at, i)]

        def sink(end: Scalar) -> list[Stmt]:
            """Puts `value` where it belongs at or below the hole, in a heap that ends there."""
            below, down = load(child, 0), load(hole, 0)
            other = tirx.min(below + 1, end - 1)
            step = [
                store(child, tirx.Select(is_worse(other, kept(below)), other, below), 0),
                tirx.IfThenElse(
                    is_worse(below, (load(value, 0), load(place, 0))),
                    sequence([*keep(down, *kept(below)), store(hole, below, 0), store(child, below * 2 + 1, 0)]),
                    store(child, end, 0),
                ),
            ]
            return [
                store(child, down * 2 + 1, 0),
                tirx.While(below < end, sequence(step)),
                *keep(down, load(value, 0), load(place, 0)),
            ]

        def take(at: Scalar) -> list[Stmt]:
            one, where = kept(at)
            return [store(value, one, 0), store(place, where, 0)]

        def ordered(turn: Scalar) -> list[Stmt]:
            start = count // 2 - 1 - turn
            return [*take(start), store(hole, start, 0), *sink(int64(count))]

        def visit(turn: Scalar) -> list[Stmt]:
            at = turn + count
            new = load(x, o, at, i)
            found = [store(value, new, 0), store(place, at, 0), store(hole, int64(0), 0), *sink(int64(count))]
            return [tirx.IfThenElse(is_better(new, load(values, o, int64(0), i)), sequence(found), None)]

        def last(turn: Scalar) -> list[Stmt]:
            """The worst of what is left goes to its end."""
            end = count - 1 - turn
            return [*take(end), *keep(end, *kept(int64(0))), store(hole, int64(0), 0), *sink(end)]

        steps = (count // 2, ordered), (extent - count, visit), (count - 1, last)
        return [
            loop(count, lambda at: keep(at, load(x, o, at, i), at)),
            *(loop(turns, step) for turns, step in steps if turns),
        ]

    return kernel(
        "top_k",
        (outer, inner),
        body,
        keeps=[value, place, hole, child],
        reads=[(x, lambda o, i: (o, None, i))],
        writes=[(each, lambda o, i: (o, None, i)) for each in (values, positions)],
    )
