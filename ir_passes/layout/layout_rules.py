"""How each operator takes and makes storage orders: the table that channels_last walks with."""

from __future__ import annotations

from tvm import relax

from ...ir_types import Call
from ..core.constants import array_of, constant
from ..core.graph import Expr, Var
from ..core.permutation import Permutation, apply, channels_last, identity, long_axes
from ..core.rewriter import rebuild, shape_of
from ..operators.elementwise import ELEMENTWISE, UNARY
from . import layout_axes as axes
from . import layout_moves as moves
from .layout_rule import Rule, opaque
from .layout_state import LayoutState, Stored
from .layouts import CONVOLUTIONS, POOLS


def convolution(state: LayoutState, var: Var, call: Call) -> Stored:
    """Data and result channels-last, the kernel with its input channels last."""
    (data_layout, kernel_layout), (new_data, new_kernel) = CONVOLUTIONS[call.op.name]
    if (str(call.attrs.data_layout), str(call.attrs.kernel_layout)) != (data_layout, kernel_layout):
        return opaque(state, var, call)
    order = channels_last(len(data_layout))
    args = [state.get(arg, order, var.name) for arg in call.args]
    new = rebuild(call, args, data_layout=new_data, kernel_layout=new_kernel, out_layout=new_data)
    return Stored(state.emit(new, var.name), order)


def pool(state: LayoutState, var: Var, call: Call) -> Stored:
    """Data and result channels-last."""
    layout, new_layout = POOLS[call.op.name]
    if str(call.attrs.layout) != layout:
        return opaque(state, var, call)
    order = channels_last(len(layout))
    data = state.get(call.args[0], order, var.name)
    return Stored(state.emit(rebuild(call, [data], layout=new_layout, out_layout=new_layout), var.name), order)


def elementwise(state: LayoutState, var: Var, call: Call) -> Stored:
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
    if not isinstance(operand.ty, relax.TensorType):
        return operand
    if operand.ty.ndim == 0:
        return state.get(operand, (), hint)
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


def matmul(state: LayoutState, var: Var, call: Call) -> Stored:
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


def _rules(rule: Rule, names: str) -> dict[str, Rule]:
    return {f"relax.{name}": rule for name in names.split()}


RULES: dict[str, Rule] = {
    **dict.fromkeys(CONVOLUTIONS, convolution),
    **dict.fromkeys(POOLS, pool),
    **dict.fromkeys(ELEMENTWISE, elementwise),
    **_rules(moves.permute, "permute_dims"),
    **_rules(moves.reshape, "reshape expand_dims squeeze flatten nn.batch_flatten"),
    **_rules(matmul, "matmul"),
    **_rules(axes.reduction, "max min mean sum prod std variance argmax argmin"),
    **_rules(axes.one_axis, "split flip cumsum cumprod repeat nn.prelu quantize dequantize"),
    **_rules(axes.rows, "nn.softmax nn.log_softmax"),
    **_rules(axes.layer_norm, "nn.layer_norm nn.rms_norm"),
    **_rules(axes.group_norm, "nn.group_norm"),
    **_rules(axes.concat, "concat"),
    **_rules(axes.strided_slice, "strided_slice"),
    **_rules(axes.take, "take"),
    **_rules(axes.pad, "nn.pad"),
    **_rules(moves.interpolate, "tilewright.interpolate"),
    **_rules(axes.resize, "image.resize2d image.resize3d"),
    **_rules(axes.broadcast_to, "broadcast_to"),
    **_rules(axes.tile, "tile"),
}
