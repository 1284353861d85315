"""Pools over everything become reductions, and reductions of reductions become one."""

from __future__ import annotations

import math
from dataclasses import dataclass

import tvm
from tvm import relax

from ...ir_types import Call
from ..core.base import GraphPass, PassResult
from ..core.graph import Expr, Var
from ..core.match import axes_of, calls, made_by, only_use
from ..core.rewriter import Rewriter, rebuild, rewrite, shape_of

_MERGED = ("mean", "sum", "max", "min", "prod")


@dataclass(frozen=True)
class SimplifyReductions(GraphPass):
    """Write what reduces whole axes as a reduction over axes counted from 0, in ascending order.

    Average and maximum pools (adaptive ones too) whose window is the whole image become `mean` and `max` with kept
    dimensions; a reduction of a reduction of the same kind becomes one; a reduction over axes of length 1 alone
    becomes a reshape. Contract: the same function up to rounding.
    """

    def __call__(self, module: tvm.IRModule) -> PassResult:
        """Rewrite `main`."""
        return rewrite(module, _visit)


def _visit(rewriter: Rewriter, var: Var, value: Expr) -> Expr | None:
    if calls(value, *(f"nn.{kind}_pool{rank}d" for kind in ("avg", "max", "adaptive_avg") for rank in (1, 2, 3))):
        return _whole_pool(rewriter, var, value)
    return _reduction(rewriter, var, value) if calls(value, *_MERGED) else None


def _whole_pool(rewriter: Rewriter, var: Var, call: Call) -> Expr | None:
    shape, result = shape_of(call.args[0]), shape_of(call)
    if shape is None or result is None or not str(call.attrs.layout).startswith("NC"):
        return None
    if math.prod(result[2:]) != 1 or math.prod(shape[2:]) == 0:
        return None
    axes = list(range(2, len(shape)))
    name = call.op.name
    if "adaptive" not in name:
        attrs = call.attrs
        whole = [int(size) for size in attrs.pool_size] == list(shape[2:])
        if not whole or any(int(width) for width in attrs.padding) or any(int(step) != 1 for step in attrs.dilation):
            return None
    reduce = relax.op.max if "max_pool" in name else relax.op.mean
    return rewriter.emit(reduce(call.args[0], axes, True), var.name)


def _reduction(rewriter: Rewriter, var: Var, call: Call) -> Expr | None:
    operand = call.args[0]
    shape, result = shape_of(operand), shape_of(call)
    if shape is None or result is None:
        return None
    axes = axes_of(call, len(shape))
    if all(shape[axis] == 1 for axis in axes):
        return rewriter.emit(relax.op.reshape(operand, list(result)), var.name)
    keepdims = bool(call.attrs.keepdims)
    inner = made_by(rewriter, operand, call.op.name[6:])
    if inner is not None and only_use(rewriter, operand):
        source = inner.args[0]
        rank = source.ty.ndim
        inner_axes = axes_of(inner, rank)
        kept = list(range(rank)) if inner.attrs.keepdims else [axis for axis in range(rank) if axis not in inner_axes]
        both = sorted({*inner_axes, *(kept[axis] for axis in axes)})
        if keepdims == bool(inner.attrs.keepdims):
            return rewriter.emit(rebuild(call, [source], axis=both), rewriter.hint(var, call, source))
    if call.attrs.axis is None or [int(axis) for axis in call.attrs.axis] != list(axes):
        return rewriter.emit(rebuild(call, [operand], axis=list(axes)), var.name)
    return None
