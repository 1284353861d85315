"""How each operator takes and makes storage orders: the table that channels_last walks with.

A rule gets the state, the old binding's variable and its call (in terms of old variables), emits the call anew and
says how its result is stored.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import tvm
from tvm import relax

from ..core.constants import array_of, constant
from ..core.graph import Expr, Var
from ..core.permutation import (
    Permutation,
    apply,
    channels_last,
    drop_axes,
    identity,
    inverse,
    long_axes,
    reshape_groups,
    through_reshape,
)
from ..core.rewriter import rebuild, shape_of
from ..operators.elementwise import ELEMENTWISE, UNARY
from .layout_state import LayoutState, Stored

Rule = Callable[[LayoutState, Var, Any], Stored]

# operator: (data layout, kernel layout) as in ONNX -> (data layout, kernel layout) channels-last
CONVOLUTIONS = {
    "relax.nn.conv1d": (("NCW", "OIW"), ("NWC", "OWI")),
    "relax.nn.conv2d": (("NCHW", "OIHW"), ("NHWC", "OHWI")),
    "relax.nn.conv3d": (("NCDHW", "OIDHW"), ("NDHWC", "ODHWI")),
}
_LAYOUTS = {1: ("NCW", "NWC"), 2: ("NCHW", "NHWC"), 3: ("NCDHW", "NDHWC")}
POOLS = {
    f"relax.nn.{kind}_pool{rank}d": _LAYOUTS[rank] for kind in ("max", "avg", "adaptive_avg") for rank in (1, 2, 3)
}


def opaque(state: LayoutState, var: Var, value: Any) -> Stored:
    """Operators without a rule: operands and results in the model's order."""
    if isinstance(value, relax.TupleGetItem):
        stored = state.stored(value.tuple_value)
        item = relax.TupleGetItem(stored.expr, value.index)
        orders = stored.order
        if orders[value.index] != identity(len(orders[value.index])):
            return Stored(state.emit(item, var.name), orders[value.index])
    expr = state.keep(var, value)
    return Stored(expr, state.stored(var).order)


def convolution(state: LayoutState, var: Var, call: Any) -> Stored:
    """Data and result channels-last, the kernel with its input channels last."""
    (data_layout, kernel_layout), (new_data, new_kernel) = CONVOLUTIONS[call.op.name]
    if (str(call.attrs.data_layout), str(call.attrs.kernel_layout)) != (data_layout, kernel_layout):
        return opaque(state, var, call)
    order = channels_last(len(data_layout))
    args = [state.get(arg, order, var.name) for arg in call.args]
    new = rebuild(call, args, data_layout=new_data, kernel_layout=new_kernel, out_layout=new_data)
    return Stored(state.emit(new, var.name), order)


def pool(state: LayoutState, var: Var, call: Any) -> Stored:
    """Data and result channels-last."""
    layout, new_layout = POOLS[call.op.name]
    if str(call.attrs.layout) != layout:
        return opaque(state, var, call)
    order = channels_last(len(layout))
    data = state.get(call.args[0], order, var.name)
    return Stored(state.emit(rebuild(call, [data], layout=new_layout, out_layout=new_layout), var.name), order)


def elementwise(state: LayoutState, var: Var, call: Any) -> Stored:
    """Every operand follows the order of the largest one."""
    operands = list(call.args)
    rank = var.ty.ndim
    if call.op.name in UNARY and state.stored(operands[0]).gather is not None:
        stored = state.stored(operands[0])
        new = rebuild(call, [stored.expr, *operands[1:]])
        return Stored(state.emit(new, var.name), stored.order, stored.gather)
    tensors = [arg for arg in operands if isinstance(arg.ty, relax.TensorType)]
    order = state.largest_order(tensors, rank)
    if order == identity(rank):
        return opaque(state, var, call)
    args = [_aligned(state, arg, order, var.name) for arg in operands]
    return Stored(state.emit(rebuild(call, args), var.name), order)


def _aligned(state: LayoutState, operand: Expr, order: Permutation, hint: str) -> Expr:
    """An operand of an element-wise operator whose result is stored in `order`, so that it broadcasts as before."""
    if not isinstance(operand.ty, relax.TensorType) or operand.ty.ndim == 0:
        return operand
    rank, shape = len(order), shape_of(operand)
    array = array_of(operand)
    if array is not None:
        array = array.reshape((1,) * (rank - array.ndim) + array.shape).transpose(order)
        while array.ndim > 0 and array.shape[0] == 1:  # [1, 1, 1, C] is a row of C
            array = array[0]
        return constant(array)
    if len(shape or ()) == rank:
        return state.get(operand, order, hint)
    if shape is None:
        raise NotImplementedError("element-wise operators on tensors of unknown shape are not re-laid")
    full = (1,) * (rank - len(shape)) + shape
    model_order = state.get(operand, identity(len(shape)), hint)
    if long_axes(order, full) == long_axes(identity(rank), full):
        return state.emit(relax.op.reshape(model_order, list(apply(order, full))), hint)
    widened = state.emit(relax.op.reshape(model_order, list(full)), hint)
    return state.emit(relax.op.permute_dims(widened, list(order)), hint)


def permute(state: LayoutState, var: Var, call: Any) -> Stored:
    """Nothing happens: the result is the operand's bytes under other axis names."""
    operand = call.args[0]
    rank = operand.ty.ndim
    axes = call.attrs.axes
    axes = tuple(range(rank))[::-1] if axes is None else tuple(int(axis) % rank for axis in axes)
    if array_of(operand) is not None:
        return opaque(state, var, call)
    position = inverse(axes)
    order = tuple(position[axis] for axis in state.order(operand))
    return Stored(state.stored(operand).expr, order)


def reshape(state: LayoutState, var: Var, call: Any) -> Stored:
    """The operand's bytes are left alone if they can be; otherwise it is transposed to what the result should be."""
    operand = call.args[0]
    old, new = shape_of(operand), shape_of(var)
    if old is None or new is None or array_of(operand) is not None:
        return opaque(state, var, call)
    order = through_reshape(state.order(operand), old, new)
    source = state.stored(operand).expr
    if order is None and state.permute_classifier:
        scrambled = _flatten_for_classifier(state, var, operand, old, new)
        if scrambled is not None:
            return scrambled
    if order is None:
        order = identity(len(new))
        wanted = channels_last(len(new))
        source_order = through_reshape(wanted, new, old)
        if source_order is None or not state.wants_channels_last(var, _is_spatial):
            source_order = identity(len(old))
        else:
            order = wanted
        source = state.get(operand, source_order, var.name)
    elif order == identity(len(new)) and state.order(operand) == identity(len(old)):
        return opaque(state, var, call)
    return Stored(state.emit(relax.op.reshape(source, list(apply(order, new))), var.name), order)


def _is_spatial(value: Any) -> bool | None:
    if not isinstance(value, tvm.ir.Call) or not hasattr(value.op, "name"):
        return False
    name = value.op.name
    if name in CONVOLUTIONS or name in POOLS:
        return True
    return None if name in ELEMENTWISE or name == "relax.concat" else False


def _flatten_for_classifier(
    state: LayoutState, var: Var, operand: Expr, old: tuple[int, ...], new: tuple[int, ...]
) -> Stored | None:
    """(N, C, H, W) -> (N, C*H*W), read only by products with constant matrices, whose rows can be permuted instead."""
    groups = reshape_groups(old, new)
    if len(new) != 2 or not groups or groups[-1][1] != (1,) or not _feeds_constant_products(state, var):
        return None
    stored = long_axes(state.order(operand), old)
    merged = groups[-1][0]
    rows = sum(len(before) for before, _ in groups[:-1])
    if sorted(stored[rows:]) != sorted(merged) or list(stored[:rows]) != sorted(stored[:rows]):
        return None
    features = np.arange(new[1]).reshape([old[axis] for axis in merged])
    gather = features.transpose([merged.index(axis) for axis in stored[rows:]]).reshape(-1)
    flat = state.emit(relax.op.reshape(state.stored(operand).expr, list(new)), var.name)
    return Stored(flat, identity(2), gather)


def _feeds_constant_products(state: LayoutState, var: Var) -> bool:
    """Whether all that reads `var`, perhaps through element-wise functions of it alone, multiplies it by constants."""
    if var in state.output_vars or not state.users[var]:
        return False
    for user, value in state.users[var]:
        name = value.op.name if isinstance(value, tvm.ir.Call) and hasattr(value.op, "name") else ""
        if name == "relax.matmul":
            left, right = value.args
            if not left.same_as(var) or array_of(right) is None or right.ty.ndim != 2:
                return False
        elif name not in UNARY or not _feeds_constant_products(state, user):
            return False
    return True


def matmul(state: LayoutState, var: Var, call: Any) -> Stored:
    """Rows may stand in any order when the right operand is one matrix; otherwise the model's order."""
    left, right = call.args
    stored = state.stored(left)
    if stored.gather is not None:
        weights = array_of(right)
        if weights is None:
            raise NotImplementedError("a gathered operand reached a product with a matrix that is not constant")
        return Stored(state.emit(rebuild(call, [stored.expr, constant(weights[stored.gather])]), var.name), identity(2))
    order = state.order(left)
    rank = len(order)
    if right.ty.ndim != 2 or rank < 3 or order[-1] != rank - 1 or order == identity(rank):
        return opaque(state, var, call)
    args = [stored.expr, state.get(right, identity(2), var.name)]
    return Stored(state.emit(rebuild(call, args), var.name), order)


def reduction(state: LayoutState, var: Var, call: Any) -> Stored:
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


def one_axis(state: LayoutState, var: Var, call: Any) -> Stored:
    """Operators along one axis (`axis`) whose result has the operand's axes; other operands keep the model's order."""
    operand = call.args[0]
    order, rank = state.order(operand), operand.ty.ndim
    if order == identity(rank) or call.attrs.axis is None or hasattr(call.attrs.axis, "__len__"):
        return opaque(state, var, call)
    others = [state.get(arg, identity(arg.ty.ndim), var.name) for arg in call.args[1:]]
    axis = inverse(order)[int(call.attrs.axis) % rank]
    expr = state.emit(rebuild(call, [state.stored(operand).expr, *others], axis=axis), var.name)
    return Stored(expr, tuple(order for _ in var.ty.fields) if isinstance(var.ty, relax.TupleType) else order)


def rows(state: LayoutState, var: Var, call: Any) -> Stored:
    """Softmax: along its axis, unless that would leave a last axis for one in the middle."""
    operand = call.args[0]
    order, rank = state.order(operand), operand.ty.ndim
    if int(call.attrs.axis) % rank == rank - 1 and order[-1] != rank - 1:
        return opaque(state, var, call)
    return one_axis(state, var, call)


def layer_norm(state: LayoutState, var: Var, call: Any) -> Stored:
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


def channel_norm(state: LayoutState, var: Var, call: Any) -> Stored:
    """Instance and group normalisation: the axes are renumbered."""
    operand = call.args[0]
    order, rank = state.order(operand), operand.ty.ndim
    if order == identity(rank):
        return opaque(state, var, call)
    position = inverse(order)
    others = [state.get(arg, identity(arg.ty.ndim), var.name) for arg in call.args[1:]]
    changed = {
        "channel_axis": position[int(call.attrs.channel_axis) % rank],
        "axes": sorted(position[int(axis) % rank] for axis in call.attrs.axes),
    }
    return Stored(state.emit(rebuild(call, [state.stored(operand).expr, *others], **changed), var.name), order)


def concat(state: LayoutState, var: Var, call: Any) -> Stored:
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


def strided_slice(state: LayoutState, var: Var, call: Any) -> Stored:
    """The axes are renumbered."""
    operand, axes, *bounds = call.args
    order, rank = state.order(operand), operand.ty.ndim
    if order == identity(rank) or not isinstance(axes, relax.Tuple):
        return opaque(state, var, call)
    position = inverse(order)
    new_axes = relax.Tuple([relax.prim_value(position[int(_int(axis)) % rank]) for axis in axes.fields])
    expr = state.emit(rebuild(call, [state.stored(operand).expr, new_axes, *bounds]), var.name)
    return Stored(expr, order)


def _int(expr: Any) -> int:
    return int(getattr(expr, "value", expr))


def take(state: LayoutState, var: Var, call: Any) -> Stored:
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


def pad(state: LayoutState, var: Var, call: Any) -> Stored:
    """The widths, a pair an axis, are reordered."""
    operand = call.args[0]
    order, rank = state.order(operand), operand.ty.ndim
    if order == identity(rank):
        return opaque(state, var, call)
    widths = list(call.attrs.pad_width)
    reordered = [widths[2 * axis + side] for axis in order for side in (0, 1)]
    others = list(call.args[1:])
    return Stored(
        state.emit(rebuild(call, [state.stored(operand).expr, *others], pad_width=reordered), var.name), order
    )


def resize(state: LayoutState, var: Var, call: Any) -> Stored:
    """Kept channels-last when the image is; any other order goes back to the model's."""
    operand = call.args[0]
    layout, new_layout = _LAYOUTS[operand.ty.ndim - 2]
    order = channels_last(operand.ty.ndim)
    if state.order(operand) != order or str(call.attrs.layout) != layout:
        return opaque(state, var, call)
    args = [state.stored(operand).expr, *call.args[1:]]
    return Stored(state.emit(rebuild(call, args, layout=new_layout), var.name), order)


def broadcast_to(state: LayoutState, var: Var, call: Any) -> Stored:
    """The shape is reordered."""
    operand = call.args[0]
    rank, shape = operand.ty.ndim, shape_of(var)
    order = state.order(operand)
    if shape is None or rank != len(shape) or order == identity(rank):
        return opaque(state, var, call)
    return Stored(
        state.emit(relax.op.broadcast_to(state.stored(operand).expr, list(apply(order, shape))), var.name), order
    )


def tile(state: LayoutState, var: Var, call: Any) -> Stored:
    """The repeats are reordered."""
    operand = call.args[0]
    order, rank = state.order(operand), operand.ty.ndim
    repeats = [int(repeat) for repeat in call.attrs.repeats]
    if order == identity(rank) or len(repeats) != rank:
        return opaque(state, var, call)
    expr = rebuild(call, [state.stored(operand).expr], repeats=list(apply(order, repeats)))
    return Stored(state.emit(expr, var.name), order)


def _rules(rule: Rule, names: str) -> dict[str, Rule]:
    return {f"relax.{name}": rule for name in names.split()}


RULES: dict[str, Rule] = {
    **dict.fromkeys(CONVOLUTIONS, convolution),
    **dict.fromkeys(POOLS, pool),
    **dict.fromkeys(ELEMENTWISE, elementwise),
    **_rules(permute, "permute_dims"),
    **_rules(reshape, "reshape expand_dims squeeze flatten nn.batch_flatten"),
    **_rules(matmul, "matmul"),
    **_rules(reduction, "max min mean sum prod std variance argmax argmin"),
    **_rules(one_axis, "split flip cumsum cumprod repeat nn.prelu quantize dequantize"),
    **_rules(rows, "nn.softmax nn.log_softmax"),
    **_rules(layer_norm, "nn.layer_norm nn.rms_norm"),
    **_rules(channel_norm, "nn.instance_norm nn.group_norm"),
    **_rules(concat, "concat"),
    **_rules(strided_slice, "strided_slice"),
    **_rules(take, "take"),
    **_rules(pad, "nn.pad"),
    **_rules(resize, "image.resize2d image.resize3d"),
    **_rules(broadcast_to, "broadcast_to"),
    **_rules(tile, "tile"),
}
