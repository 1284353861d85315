"""The kernel that writes rows behind others, statement by statement.

for (all that is outside of the rows)
    for row of so many as there are                known when it runs
        state[.., begin + row, ..] = new[.., row, ..]           vectors of the last axis

Where each text has as many rows as it has, `begin` is a vector, and it is the one of the text.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from tvm import s_tir, tirx

from ...annotations import OWN_END, WHOLE
from ...ir_types import PrimFunc, Scalar, Stmt
from ...tensorir_statements import counted, int64, load, loop, sequence, store, tensor, variables, whole

_MOST_LANES = 16


def rows_kernel(state: Sequence[int], new: Sequence[int], axis: int, dtype: str, texts: Sequence[int] = ()) -> PrimFunc:
    """The PrimFunc of (state, new, begin, count, result): of the result it writes the new rows, and reads no state.

    Args:
        texts: the shape of `begin`: none, or as many as the first axis has.
    """
    before, rows = tensor(state, dtype, "state"), tensor(new, dtype, "new")
    begin, count = tensor(texts, "int64", "begin"), tensor((), "int64", "count")
    result = tensor(state, dtype, "result")
    counter = variables(1, "int64", "counter")
    outer, inner = list(new[:axis]), list(new[axis + 1 :])
    lanes = math.gcd(inner[-1], _MOST_LANES) if inner else 1

    def row(place: Sequence[Scalar], index: Scalar) -> list[Stmt]:
        def element(inside: Scalar) -> list[Stmt]:
            at = _places(inside, inner)
            return [
                store(result, load(rows, *place, index, *at), *place, load(begin, *place[: len(texts)]) + index, *at)
            ]

        if lanes == 1:
            return [loop(math.prod(inner), element)]
        return [
            loop(
                math.prod(inner) // lanes,
                lambda vector: [loop(lanes, lambda lane: element(vector * lanes + lane), vectorized=True)],
            )
        ]

    def part(index: Scalar) -> list[Stmt]:
        place = _places(index, outer)
        return [counted(counter, 0, load(count), lambda each: row(place, each))]

    body = sequence([loop(math.prod(outer), part)])
    reads = [whole(each) for each in (rows, begin, count)]  # of the state none: its rows are those of the result
    block = s_tir.SBlock([], reads, [whole(result)], "append", body, alloc_buffers=[counter])
    root = s_tir.SBlock([], [], [], "root", s_tir.SBlockRealize([], True, block))
    attributes = {"tirx.noalias": True, "s_tir": True, **WHOLE.entry(), **OWN_END.entry()}
    return tirx.PrimFunc([before, rows, begin, count, result], s_tir.SBlockRealize([], True, root)).with_attr(
        attributes
    )


def _places(index: Scalar, extents: Sequence[int]) -> list[Scalar]:
    """An index of all elements as one of each axis."""
    places: list[Scalar] = []
    for extent in reversed(extents):
        places.append(index % extent if extent > 1 else int64(0))
        index = index // extent
    return places[::-1]
