"""Kernels that go through what there is in order and keep some of it: how much they keep, data decides."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from tvm import tirx

from ...ir_types import Buffer, PrimFunc, Scalar, Stmt
from ...tensorir_statements import counted, int64, load, loop, sequence, store, tensor, variables
from .te_keys import key
from .tir_kernel import kernel


def _everything(buffer: Buffer) -> tuple[Buffer, Callable[..., Sequence[Scalar]]]:
    return buffer, lambda *point: [None] * len(buffer.shape)


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

    whole = [_everything(each) for each in (mask, places, count)]
    return kernel("true_positions", (1,), body, keeps=[number], reads=whole[:1], writes=whole[1:])


def first_of_equals(count: int, width: int, dtype: str) -> PrimFunc:
    """A PrimFunc from [count, width] to int64[count]: the first row that equals each."""
    x, first = tensor((count, width), dtype, "x"), tensor((count,), "int64", "first")
    best, order = variables(1, "int64", "best"), variables(1, "int32", "order")

    def body(i: Scalar) -> list[Stmt]:
        def visit(j: Scalar) -> list[Stmt]:
            equal = tirx.all(load(order, 0) == tirx.const(0, "int32"), j < load(best, 0))
            return [*_compared(x, j, i, width, dtype, order), _when(equal, [store(best, j, 0)])]

        return [store(best, i, 0), loop(count, visit), store(first, load(best, 0), i)]

    return kernel(
        "first_of_equals",
        (count,),
        body,
        keeps=[best, order],
        reads=[_everything(x)],
        writes=[(first, lambda i: (i,))],
    )


def _compared(x: Buffer, j: Scalar, i: Scalar, width: int, dtype: str, order: Buffer) -> list[Stmt]:
    """Sets `order` to -1, 0 or 1: whether row j comes before row i, equals it, or comes after."""

    def element(e: Scalar) -> list[Stmt]:
        left, right = key(load(x, j, e), dtype), key(load(x, i, e), dtype)
        sign = tirx.Select(left < right, tirx.const(-1, "int32"), tirx.const(0, "int32"))
        sign = tirx.Select(right < left, tirx.const(1, "int32"), sign)
        known = load(order, 0)
        return [store(order, tirx.Select(known == tirx.const(0, "int32"), sign, known), 0)]

    return [store(order, tirx.const(0, "int32"), 0), loop(width, element)]


def ranks_of_rows(count: int, width: int, dtype: str, *, by_value: bool) -> PrimFunc:
    """A PrimFunc from [count, width] and the first row that equals each (int64[count]) to int64[count] twice.

    The results are the rank of each row among the different ones, by value or by where they stand first, and how many
    equal it.
    """
    x, first = tensor((count, width), dtype, "x"), tensor((count,), "int64", "first")
    rank, equals = tensor((count,), "int64", "rank"), tensor((count,), "int64", "equals")
    before, same = variables(1, "int64", "before"), variables(1, "int64", "same")
    order = variables(1, "int32", "order")

    def body(i: Scalar) -> list[Stmt]:
        def visit(j: Scalar) -> list[Stmt]:
            ahead = load(order, 0) < tirx.const(0, "int32") if by_value else j < load(first, i)
            fresh = tirx.all(load(first, j) == j, ahead)
            return [
                *(_compared(x, j, i, width, dtype, order) if by_value else []),
                _when(fresh, [store(before, load(before, 0) + 1, 0)]),
                _when(load(first, j) == load(first, i), [store(same, load(same, 0) + 1, 0)]),
            ]

        return [
            store(before, int64(0), 0),
            store(same, int64(0), 0),
            loop(count, visit),
            store(rank, load(before, 0), i),
            store(equals, load(same, 0), i),
        ]

    return kernel(
        "ranks_of_rows",
        (count,),
        body,
        keeps=[before, same, order],
        reads=[_everything(x), _everything(first)],
        writes=[(rank, lambda i: (i,)), (equals, lambda i: (i,))],
    )


def different_rows(count: int) -> PrimFunc:
    """A PrimFunc from first, rank and equals (int64[count]) to the row of each rank, its equals, and how many ranks.

    The results are int64[count], int64[count] and int64[1].
    """
    first, rank, equals = (tensor((count,), "int64", name) for name in ("first", "rank", "equals"))
    places, counts = (tensor((count,), "int64", name) for name in ("places", "counts"))
    total, number = tensor((1,), "int64", "total"), variables(1, "int64", "number")

    def body(_: Scalar) -> list[Stmt]:
        def visit(i: Scalar) -> list[Stmt]:
            at = tirx.max(tirx.min(load(rank, i), int64(count - 1)), int64(0))
            kept = [
                store(places, i, at),
                store(counts, load(equals, i), at),
                store(number, load(number, 0) + 1, 0),
            ]
            return [_when(load(first, i) == i, kept)]

        return [
            loop(count, lambda i: [store(places, int64(0), i), store(counts, int64(0), i)]),
            store(number, int64(0), 0),
            loop(count, visit),
            store(total, load(number, 0), 0),
        ]

    whole = [_everything(each) for each in (first, rank, equals, places, counts, total)]
    return kernel("different_rows", (1,), body, keeps=[number], reads=whole[:3], writes=whole[3:])


def suppressed(batch: int, classes: int, boxes: int, room: int, *, centred: bool) -> PrimFunc:
    """Greedy suppression of boxes that overlap better ones.

    A PrimFunc of boxes [batch, boxes, 4], scores [batch, classes, boxes], the positions of scores from the best on
    (int64, of the same shape), and limits float32[2] (overlap, score) and int64[1] (how many of a class) to the boxes
    kept, int64[batch, classes, room], and their number, int64[batch, classes]. Corners may come in any order; `centred`
    boxes are a centre and a size.
    """
    corners, scores = (
        tensor((batch, boxes, 4), "float32", "boxes"),
        tensor((batch, classes, boxes), "float32", "scores"),
    )
    order = tensor((batch, classes, boxes), "int64", "order")
    limits, most = tensor((2,), "float32", "limits"), tensor((1,), "int64", "most")
    kept, numbers = tensor((batch, classes, room), "int64", "kept"), tensor((batch, classes), "int64", "numbers")
    number, free, counter = variables(1, "int64", "n"), variables(1, "int32", "free"), variables(1, "int64", "counter")
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
        def visit(t: Scalar) -> list[Stmt]:
            box = tirx.max(tirx.min(load(order, b, c, t), int64(boxes - 1)), int64(0))
            allowed = tirx.all(
                load(scores, b, c, box) > load(limits, 1),
                load(number, 0) < load(most, 0),
                load(number, 0) < int64(room),
            )
            taken = [store(kept, box, b, c, load(number, 0)), store(number, load(number, 0) + 1, 0)]

            def compare(k: Scalar) -> list[Stmt]:
                other = tirx.max(tirx.min(load(kept, b, c, k), int64(boxes - 1)), int64(0))
                return [_when(overlaps(b, box, other), [store(free, tirx.const(0, "int32"), 0)])]

            return [
                store(free, tirx.Select(allowed, tirx.const(1, "int32"), tirx.const(0, "int32")), 0),
                counted(
                    counter, 0, tirx.Select(load(free, 0) > tirx.const(0, "int32"), load(number, 0), int64(0)), compare
                ),
                _when(load(free, 0) > tirx.const(0, "int32"), taken),
            ]

        return [
            loop(room, lambda k: [store(kept, int64(0), b, c, k)]),
            store(number, int64(0), 0),
            loop(boxes, visit),
            store(numbers, load(number, 0), b, c),
        ]

    return kernel(
        "suppressed",
        (batch, classes),
        body,
        keeps=[number, free, counter],
        reads=[
            (corners, lambda b, c: (b, None, None)),
            (scores, lambda b, c: (b, c, None)),
            (order, lambda b, c: (b, c, None)),
            _everything(limits),
            _everything(most),
        ],
        writes=[(kept, lambda b, c: (b, c, None)), (numbers, lambda b, c: (b, c))],
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

    whole = [_everything(each) for each in (kept, numbers, rows, total)]
    return kernel("listed", (1,), body, keeps=[number], reads=whole[:2], writes=whole[2:])
