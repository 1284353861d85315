"""Rows of matrix products."""

from __future__ import annotations

import numpy as np
from draft import WIDTHS, Draft, Unfit
from rows import row


@row("MatMul")
def matmul(d: Draft, op: str) -> None:
    x = d.pick(fits=lambda a: a.ndim >= 1 and a.shape[-1] <= 600)
    shape = d.array(x).shape
    inner = shape[-1]
    batches = shape[:-2]
    if d.chance(0.3):  # two tensors that are there, or a new batched one
        form = d.one_of(("batched", "ones", "vector"))
        lead = batches if form == "batched" else tuple(1 for _ in batches) if form == "ones" else ()
        other = (*lead, inner, d.one_of(WIDTHS[:12])) if form != "vector" else (inner,)
        w = d.leaf(other, low=-1.0, high=1.0, constant=False)
    else:
        w = d.leaf((inner, _columns(d, inner)), low=-1.0, high=1.0, constant=d.chance(0.85))
    d.node(op, [x, w])


def _columns(d: Draft, inner: int) -> int:
    return int(d.one_of([width for width in WIDTHS if width * inner <= 40_000]))


@row("Gemm")
def gemm(d: Draft, op: str) -> None:
    x = d.pick(rank=2)
    flip_a, flip_b = d.one_of((None, None, 1)), d.one_of((None, 0, 1))
    shape = d.array(x).shape
    rows, inner = (shape[1], shape[0]) if flip_a else shape
    columns = _columns(d, inner)
    w = d.leaf((columns, inner) if flip_b else (inner, columns), low=-1.0, high=1.0, constant=d.chance(0.85))
    c = d.one_of((None, (columns,), (1, columns), (rows, 1), (), (rows, columns)))
    d.node(
        op,
        [x, w, *([] if c is None else [d.leaf(c)])],
        transA=flip_a,
        transB=flip_b,
        alpha=d.one_of((None, None, 0.5)),
        beta=d.one_of((None, None, 0.25)),
    )


@row("Einsum")
def einsum(d: Draft, op: str) -> None:
    equation, ranks = d.one_of(
        (
            ("bij,bjk->bik", (3, 3)),
            ("ij,jk->ik", (2, 2)),
            ("bhqd,bhkd->bhqk", (4, 4)),
            ("bij,kj->bik", (3, 2)),
            ("ij->ji", (2,)),
            ("bij->b", (3,)),
            ("i,j->ij", (1, 1)),
            ("bij,bij->bi", (3, 3)),
            ("bchw,bchk->bckw", (4, 4)),
            ("...ij,jk->...ik", (3, 2)),
        )
    )
    first = d.pick(rank=ranks[0], fits=lambda a: a.size <= 2000)
    terms = equation.split("->")[0].replace("...", "b").split(",")
    extents = dict(zip(terms[0], d.array(first).shape, strict=True))
    names = [first]
    for term in terms[1:]:
        shape = [extents.setdefault(letter, d.one_of((1, 3, 5, 8, 17))) for letter in term]
        if np.prod(shape) > 6000:
            raise Unfit
        names.append(d.leaf(shape, low=-1.0, high=1.0, constant=d.chance(0.4)))
    d.node(op, names, equation=equation)
