"""Rows of reductions, positions of extrema, running sums and the largest k."""

from __future__ import annotations

import numpy as np
from draft import Draft, Unfit
from rows import row
from rows_elementwise import numbers


@row(
    "ReduceL1", "ReduceL2", "ReduceLogSum", "ReduceLogSumExp", "ReduceMax", "ReduceMean", "ReduceMin", "ReduceProd",
    "ReduceSum", "ReduceSumSquare",
)  # fmt: skip
def reduction(d: Draft, op: str) -> None:
    dtypes = numbers(d)
    if op in ("ReduceLogSum", "ReduceLogSumExp", "ReduceL2"):
        dtypes = (d.dtype,)
    elif op in ("ReduceMax", "ReduceMin") and d.opset >= 20 and d.chance(0.1):
        dtypes = ("bool",)
    x = d.within(0.01, 50.0) if op == "ReduceLogSum" else d.pick(dtypes, fits=lambda a: a.ndim > 0)
    rank = d.rank(x)
    if rank == 0:
        raise Unfit
    axes = [axis - rank if d.chance(0.3) else axis for axis in d.some(range(rank))]
    if op == "ReduceProd" and np.prod([d.array(x).shape[axis] for axis in axes]) > 24:
        raise Unfit
    keep = d.one_of((None, 0, 0, 1))
    by_input = d.opset >= (13 if op == "ReduceSum" else 18)
    if d.chance(0.1):
        noop = 1 if by_input and d.chance(0.3) else None
        d.node(op, [x], keepdims=keep, noop_with_empty_axes=noop)
    elif by_input:
        d.node(op, [x, d.parameter(axes)], keepdims=keep)
    else:
        d.node(op, [x], axes=axes, keepdims=keep)


@row("ArgMax", "ArgMin")
def position(d: Draft, op: str) -> None:
    x = d.pick((d.dtype,) if d.chance(0.8) else ("int32", "int8", "uint8"), fits=lambda a: a.ndim > 0)
    last = d.one_of((None, None, 1)) if d.opset >= 12 else None
    d.node(op, [x], axis=d.axis(d.rank(x)), keepdims=d.one_of((None, 0, 1)), select_last_index=last)


@row("CumSum")
def running_sum(d: Draft, op: str) -> None:
    x = d.pick(numbers(d), fits=lambda a: a.ndim > 0)
    axis = d.parameter(d.axis(d.rank(x)), d.one_of(("int64", "int32")))
    d.node(op, [x, axis], exclusive=d.one_of((None, 0, 1)), reverse=d.one_of((None, 0, 1)))


@row("TopK")
def top_k(d: Draft, op: str) -> None:
    x = d.pick((d.dtype,) if d.chance(0.85) else ("int64", "int32"), fits=lambda a: a.ndim > 0)
    axis = d.axis(d.rank(x))
    k = d.between(1, d.array(x).shape[axis])
    largest = d.one_of((None, 0, 1)) if d.opset >= 11 else None
    d.node_outputs(op, [x, d.parameter([k])], 2, axis=axis, largest=largest)
