"""How operators along axes take and make storage orders: the axes are renumbered."""

from __future__ import annotations

from typing import Any

from tvm import relax

from ...ir_types import Call
from ...slices import integers
from ..core.graph import Var
from ..core.permutation import apply, channels_last, drop_axes, identity, inverse
from ..core.rewriter import rebuild, shape_of
from .layout_rule import opaque
from .layout_state import LayoutState, Stored
from .layouts import LAYOUTS


def reduction(state: LayoutState, var: Var, call: Call) -> Stored:
    """The axes are renumbered; the result is stored as what is left of the operand's order."""
    operand = call.args[0]
    order, rank = state.order(operand), operand.ty.ndim
    axis = call.attrs.axis
    axes = [int(a) % rank for a in _as_list(axis)] if axis is not None else list(range(rank))
    if order == identity(rank):
        return opaque(state, var, call)
    position = inverse(order)
    new_axes: Any = sorted(position[a] for a in axes)
    if not hasattr(axis, "__len__"):  # argmax takes one axis
        if axis is None:
            return opaque(state, var, call)
        new_axes = new_axes[0]
    expr = state.emit(rebuild(call, [state.stored(operand).expr], axis=new_axes), var.name)
    return Stored(expr, order if call.attrs.keepdims else drop_axes(order, axes))


def _as_list(value: Any) -> list[int]:
    return [int(item) for item in value] if hasattr(value, "__len__") else [int(value)]


def one_axis(state: LayoutState, var: Var, call: Call) -> Stored:
    """Operators along one axis (`axis`) whose result has the operand's axes; other operands keep the model's order."""
    operand = call.args[0]
    order, rank = state.order(operand), operand.ty.ndim
    if order == identity(rank) or call.attrs.axis is None or hasattr(call.attrs.axis, "__len__"):
        return opaque(state, var, call)
    others = [state.get(arg, identity(arg.ty.ndim), var.name) for arg in call.args[1:]]
    axis = inverse(order)[int(call.attrs.axis) % rank]
    expr = state.emit(rebuild(call, [state.stored(operand).expr, *others], axis=axis), var.name)
    return Stored(expr, tuple(order for _ in var.ty.fields) if isinstance(var.ty, relax.TupleType) else order)


def rows(state: LayoutState, var: Var, call: Call) -> Stored:
    """Softmax: along its axis, unless that would leave a last axis for one in the middle."""
    operand = call.args[0]
    order, rank = state.order(operand), operand.ty.ndim
    if int(call.attrs.axis) % rank == rank - 1 and order[-1] != rank - 1:
        return opaque(state, var, call)
    return one_axis(state, var, call)


def layer_norm(state: LayoutState, var: Var, call: Call) -> Stored:
    """Kept in the operand's order when the normalised axes stay last, and in theirs."""
    operand = call.args[0]
    order, rank = state.order(operand), operand.ty.ndim
    axes = sorted(int(axis) % rank for axis in call.attrs.axes)
    if order == identity(rank) or list(order[rank - len(axes) :]) != axes:
        return opaque(state, var, call)
    new_axes = list(range(rank - len(axes), rank))
    args = [state.stored(operand).expr, *call.args[1:]]
    if any(isinstance(arg, relax.Var) for arg in call.args[1:]):
        return opaque(state, var, call)
    return Stored(state.emit(rebuild(call, args, axes=new_axes), var.name), order)


def group_norm(state: LayoutState, var: Var, call: Call) -> Stored:
    """Kept channels-last when the image is; any other order goes back to the model's."""
    operand = call.args[0]
    rank = operand.ty.ndim
    order = channels_last(rank)
    if state.order(operand) != order or int(call.attrs.channel_axis) % rank != 1:
        return opaque(state, var, call)
    others = [state.get(arg, identity(arg.ty.ndim), var.name) for arg in call.args[1:]]
    axes = list(range(1, rank - 1))
    new = rebuild(call, [state.stored(operand).expr, *others], channel_axis=rank - 1, axes=axes)
    return Stored(state.emit(new, var.name), order)


def concat(state: LayoutState, var: Var, call: Call) -> Stored:
    """All parts follow the order of the largest."""
    parts = call.args[0]
    if not isinstance(parts, relax.Tuple):
        return opaque(state, var, call)
    rank = var.ty.ndim
    order = state.largest_order(list(parts.fields), rank)
    if order == identity(rank) or call.attrs.axis is None:
        return opaque(state, var, call)
    fields = [state.get(field, order, var.name) for field in parts.fields]
    axis = inverse(order)[int(call.attrs.axis) % rank]
    return Stored(state.emit(rebuild(call, [relax.Tuple(fields)], axis=axis), var.name), order)


def strided_slice(state: LayoutState, var: Var, call: Call) -> Stored:
    """The axes are renumbered."""
    operand, axes, *bounds = call.args
    order, rank = state.order(operand), operand.ty.ndim
    known = integers(axes)
    if order == identity(rank) or known is None:
        return opaque(state, var, call)
    position = inverse(order)
    new_axes = relax.Tuple([relax.prim_value(position[axis % rank]) for axis in known])
    expr = state.emit(rebuild(call, [state.stored(operand).expr, new_axes, *bounds]), var.name)
    return Stored(expr, order)


def take(state: LayoutState, var: Var, call: Call) -> Stored:
    """Indices of rank 1 replace the axis, an index of rank 0 removes it."""
    operand, indices = call.args
    order, rank = state.order(operand), operand.ty.ndim
    index_rank = indices.ty.ndim if isinstance(indices.ty, relax.TensorType) else 0
    if order == identity(rank) or call.attrs.axis is None or index_rank > 1:
        return opaque(state, var, call)
    axis = int(call.attrs.axis) % rank
    index = state.get(indices, identity(index_rank), var.name) if index_rank else indices
    expr = state.emit(rebuild(call, [state.stored(operand).expr, index], axis=inverse(order)[axis]), var.name)
    return Stored(expr, order if index_rank else drop_axes(order, [axis]))


def pad(state: LayoutState, var: Var, call: Call) -> Stored:
    """The widths, a pair an axis, are reordered."""
    operand = call.args[0]
    order, rank = state.order(operand), operand.ty.ndim
    if order == identity(rank):
        return opaque(state, var, call)
    widths = list(call.attrs.pad_width)
    reordered = [widths[2 * axis + side] for axis in order for side in (0, 1)]
    others = [state.get(arg, identity(arg.ty.ndim), var.name) for arg in call.args[1:]]
    return Stored(
        state.emit(rebuild(call, [state.stored(operand).expr, *others], pad_width=reordered), var.name), order
    )


def resize(state: LayoutState, var: Var, call: Call) -> Stored:
    """Kept channels-last when the image is; any other order goes back to the model's."""
    operand = call.args[0]
    layout, new_layout = LAYOUTS[operand.ty.ndim - 2]
    order = channels_last(operand.ty.ndim)
    if state.order(operand) != order or str(call.attrs.layout) != layout:
        return opaque(state, var, call)
    args = [state.stored(operand).expr, *call.args[1:]]
    return Stored(state.emit(rebuild(call, args, layout=new_layout), var.name), order)


def broadcast_to(state: LayoutState, var: Var, call: Call) -> Stored:
    """The shape is reordered."""
    operand = call.args[0]
    rank, shape = operand.ty.ndim, shape_of(var)
    order = state.order(operand)
    if shape is None or rank != len(shape) or order == identity(rank):
        return opaque(state, var, call)
    return Stored(
        state.emit(relax.op.broadcast_to(state.stored(operand).expr, list(apply(order, shape))), var.name), order
    )


def tile(state: LayoutState, var: Var, call: Call) -> Stored:
    """The repeats are reordered."""
    operand = call.args[0]
    order, rank = state.order(operand), operand.ty.ndim
    repeats = [int(repeat) for repeat in call.attrs.repeats]
    if order == identity(rank) or len(repeats) != rank:
        return opaque(state, var, call)
    expr = rebuild(call, [state.stored(operand).expr], repeats=list(apply(order, repeats)))
    return Stored(state.emit(expr, var.name), order)
