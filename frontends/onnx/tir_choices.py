"""Kernels that go through what there is in order and keep some of it: how much they keep, data decides."""

from __future__ import annotations

from collections.abc import Sequence

from tvm import tirx

from ...ir_types import Buffer, PrimFunc, Scalar, Stmt
from ...tensorir_heap import Entry, Heap, HeapVariables
from ...tensorir_kernel import everything, kernel
from ...tensorir_keys import compare_rows, key
from ...tensorir_statements import counted, int64, load, loop, sequence, store, tensor, variables


def _when(condition: Scalar, statements: Sequence[Stmt]) -> Stmt:
    return tirx.IfThenElse(condition, sequence(list(statements)), None)


def true_positions(extent: int, room: int) -> PrimFunc:
    """A PrimFunc from a mask (uint8[extent]) to the positions where it is set, int64[room], and their number, int64[1].

    `room` is at least `extent`; what is left of it is 0.
    """
    mask = tensor((extent,), "uint8", "mask")
    places, count = tensor((room,), "int64", "places"), tensor((1,), "int64", "count")
    number = variables(1, "int64", "number")

    def body(_: Scalar) -> list[Stmt]:
        def visit(i: Scalar) -> list[Stmt]:
            found = [store(places, i, load(number, 0)), store(number, load(number, 0) + 1, 0)]
            return [_when(load(mask, i) != tirx.const(0, "uint8"), found)]

        return [
            loop(room, lambda i: [store(places, int64(0), i)]),
            store(number, int64(0), 0),
            loop(extent, visit),
            store(count, load(number, 0), 0),
        ]

    whole = [everything(each) for each in (mask, places, count)]
    return kernel("true_positions", (1,), body, keeps=[number], reads=whole[:1], writes=whole[1:])


def different_rows(count: int, width: int, dtype: str, *, by_value: bool) -> PrimFunc:
    """A PrimFunc from rows [count, width] and their order (int64[count]) to those that differ.

    The results are: of each row the number of the different one that it equals (int64[count]), where each different one
    stands first and how many equal it (int64[count] each; what is left of them is 0), and how many differ (int64[1]).
    They are numbered by value, or by where they stand first.
    """
    x, order = tensor((count, width), dtype, "x"), tensor((count,), "int64", "order")
    which, places, counts = (tensor((count,), "int64", name) for name in ("which", "places", "counts"))
    total, number = tensor((1,), "int64", "total"), variables(1, "int64", "number")
    sign, first = variables(1, "int32", "sign"), variables(1, "int64", "first")

    def body(_: Scalar) -> list[Stmt]:
        def find(k: Scalar) -> list[Stmt]:
            """Of each row the first that equals it: equal rows are in order."""
            row = load(order, k)
            differs = load(sign, 0) != tirx.const(0, "int32")
            return [
                *compare_rows(x, load(first, 0), row, sign),
                _when(differs, [store(first, row, 0)]),
                store(which, load(first, 0), row),
            ]

        def visit(k: Scalar) -> list[Stmt]:
            row, new = load(order, k) if by_value else k, load(number, 0)
            same = load(which, load(which, row))  # of the first of them the number
            again = [store(counts, load(counts, same) + 1, same), store(which, same, row)]
            fresh = [
                store(places, row, new),
                store(counts, int64(1), new),
                store(which, new, row),
                store(number, new + 1, 0),
            ]
            return [tirx.IfThenElse(load(which, row) == row, sequence(fresh), sequence(again))]

        return [
            loop(count, lambda i: [store(places, int64(0), i), store(counts, int64(0), i)]),
            store(first, load(order, 0), 0),
            loop(count, find),
            store(number, int64(0), 0),
            loop(count, visit),
            store(total, load(number, 0), 0),
        ]

    whole = [everything(each) for each in (x, order, which, places, counts, total)]
    return kernel("different_rows", (1,), body, keeps=[number, sign, first], reads=whole[:2], writes=whole[2:])


def suppressed(batch: int, classes: int, boxes: int, room: int, *, centred: bool, limited: bool) -> PrimFunc:
    """Greedy suppression of boxes that overlap better ones.

    A PrimFunc of boxes [batch, boxes, 4], scores [batch, classes, boxes], and limits float32[2] (overlap, score) and
    int64[1] (how many of a class) to the boxes kept, int64[batch, classes, room], their number, int64[batch, classes],
    and memory that it works in, int64[batch, classes, boxes]. Corners may come in any order; `centred` boxes are a
    centre and a size.

    Boxes of enough score (all of them unless it is `limited`) are a heap, from which the best comes out while there may
    be more: what is not asked for is not sorted.
    """
    corners, scores = (
        tensor((batch, boxes, 4), "float32", "boxes"),
        tensor((batch, classes, boxes), "float32", "scores"),
    )
    order = tensor((batch, classes, boxes), "int64", "order")
    limits, most = tensor((2,), "float32", "limits"), tensor((1,), "int64", "most")
    kept, numbers = tensor((batch, classes, room), "int64", "kept"), tensor((batch, classes), "int64", "numbers")
    number, free, counter = variables(1, "int64", "n"), variables(1, "int32", "free"), variables(1, "int64", "counter")
    left, keeps = variables(1, "int64", "left"), HeapVariables((order,))
    zero = tirx.const(0.0, "float32")

    def edges(b: Scalar, box: Scalar, axis: int) -> tuple[Scalar, Scalar]:
        first, second = load(corners, b, box, axis), load(corners, b, box, axis + 2)
        if centred:
            return first - second / tirx.const(2.0, "float32"), first + second / tirx.const(2.0, "float32")
        return tirx.min(first, second), tirx.max(first, second)

    def overlaps(b: Scalar, one: Scalar, other: Scalar) -> Scalar:
        inner = mine = theirs = tirx.const(1.0, "float32")
        conditions = []
        for axis in (0, 1):
            low, high = edges(b, one, axis)
            other_low, other_high = edges(b, other, axis)
            length = tirx.min(high, other_high) - tirx.max(low, other_low)
            conditions.append(tirx.min(high, other_high) > tirx.max(low, other_low))
            inner = length if axis == 0 else inner * length
            mine = high - low if axis == 0 else mine * (high - low)
            theirs = other_high - other_low if axis == 0 else theirs * (other_high - other_low)
        union = mine + theirs - inner
        conditions += [inner > zero, mine > zero, theirs > zero, union > zero]
        return tirx.all(*conditions, inner / union > load(limits, 0))

    def body(b: Scalar, c: Scalar) -> list[Stmt]:
        def compare(one: Entry, other: Entry, later: Buffer) -> list[Stmt]:
            (mine,), (theirs,) = one, other
            score, best = (key(load(scores, b, c, box), "float32") for box in (mine, theirs))
            better = tirx.any(score > best, tirx.all(score == best, mine < theirs))
            return [store(later, tirx.Select(better, tirx.const(1, "int32"), tirx.const(0, "int32")), 0)]

        heap = Heap((order,), lambda at: [b, c, at], compare, keeps)
        is_free = load(free, 0) > tirx.const(0, "int32")

        def enter(box: Scalar) -> list[Stmt]:
            entered = [*heap.put(load(left, 0), (box,)), store(left, load(left, 0) + 1, 0)]
            enough = [_when(load(scores, b, c, box) > load(limits, 1), entered)] if limited else entered
            return [store(order, int64(0), b, c, box), *enough]

        def visit() -> list[Stmt]:
            box = load(order, b, c, load(left, 0))

            def overlap(k: Scalar) -> list[Stmt]:
                return [_when(overlaps(b, box, load(kept, b, c, k)), [store(free, tirx.const(0, "int32"), 0)])]

            taken = [store(kept, box, b, c, load(number, 0)), store(number, load(number, 0) + 1, 0)]
            return [
                store(left, load(left, 0) - 1, 0),
                *heap.take(load(left, 0)),
                store(free, tirx.const(1, "int32"), 0),
                counted(counter, 0, load(number, 0), overlap),
                _when(is_free, taken),
            ]

        goes_on = tirx.all(load(left, 0) > 0, load(number, 0) < load(most, 0), load(number, 0) < int64(room))
        return [
            loop(room, lambda k: [store(kept, int64(0), b, c, k)]),
            store(number, int64(0), 0),
            store(left, int64(0), 0),
            loop(boxes, enter),
            counted(counter, 0, load(left, 0) // 2, lambda turn: heap.settle(turn, load(left, 0))),
            tirx.While(goes_on, sequence(visit())),
            store(numbers, load(number, 0), b, c),
        ]

    return kernel(
        "suppressed",
        (batch, classes),
        body,
        keeps=[number, free, counter, left, *keeps.all],
        reads=[
            (corners, lambda b, c: (b, None, None)),
            (scores, lambda b, c: (b, c, None)),
            everything(limits),
            everything(most),
        ],
        writes=[
            (kept, lambda b, c: (b, c, None)),
            (numbers, lambda b, c: (b, c)),
            (order, lambda b, c: (b, c, None)),
        ],
    )


def listed(batch: int, classes: int, room: int) -> PrimFunc:
    """A PrimFunc from `suppressed`'s results to rows of batch, class, box (int64[all, 3]), and how many."""
    kept, numbers = tensor((batch, classes, room), "int64", "kept"), tensor((batch, classes), "int64", "numbers")
    rows, total = tensor((batch * classes * room, 3), "int64", "rows"), tensor((1,), "int64", "total")
    number = variables(1, "int64", "number")

    def body(_: Scalar) -> list[Stmt]:
        def visit(b: Scalar, c: Scalar, k: Scalar) -> list[Stmt]:
            at = load(number, 0)
            row = [store(rows, value, at, place) for place, value in enumerate((b, c, load(kept, b, c, k)))]
            return [_when(k < load(numbers, b, c), [*row, store(number, at + 1, 0)])]

        return [
            loop(batch * classes * room, lambda r: [loop(3, lambda e: [store(rows, int64(0), r, e)])]),
            store(number, int64(0), 0),
            loop(batch, lambda b: [loop(classes, lambda c: [loop(room, lambda k: visit(b, c, k))])]),
            store(total, load(number, 0), 0),
        ]

    whole = [everything(each) for each in (kept, numbers, rows, total)]
    return kernel("listed", (1,), body, keeps=[number], reads=whole[:2], writes=whole[2:])
