"""How permutations and reshapes take and make storage orders: mostly by leaving the bytes alone."""

from __future__ import annotations

import math

import numpy as np
import tvm
from tvm import relax

from ...ir_types import Call
from ..core.constants import array_of
from ..core.graph import Expr, Var
from ..core.permutation import apply, channels_last, identity, inverse, long_axes, reshape_groups, through_reshape
from ..core.rewriter import shape_of
from ..dialect import interpolation as interpolation
from ..operators.elementwise import ELEMENTWISE, UNARY
from .layout_rule import opaque
from .layout_state import LayoutState, Stored
from .layouts import CONVOLUTIONS, POOLS


def permute(state: LayoutState, var: Var, call: Call) -> Stored:
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


def reshape(state: LayoutState, var: Var, call: Call) -> Stored:
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


def _is_spatial(value: Call) -> bool | None:
    if not isinstance(value, tvm.ir.Call) or not hasattr(value.op, "name"):
        return False
    name = value.op.name
    if name in CONVOLUTIONS or name in POOLS:
        return True
    return None if name in ELEMENTWISE or name in ("relax.concat", interpolation.NAME) else False


def interpolate(state: LayoutState, var: Var, call: Call) -> Stored:
    """The axes are renumbered; what grows and is not read channels-last is transposed while it is small."""
    operand, *tables = call.args
    order, old, new = state.order(operand), shape_of(operand), shape_of(var)
    grows = old is not None and new is not None and math.prod(new) > math.prod(old)
    if order == identity(len(order)) or (grows and not state.wants_channels_last(var, _is_spatial)):
        return opaque(state, var, call)
    axes = [inverse(order)[axis] for axis in interpolation.axes_of(call)]
    args = interpolation.tables_of([state.get(each, identity(2), var.name) for each in tables])
    return Stored(state.emit(interpolation.interpolate(state.stored(operand).expr, args, axes), var.name), order)


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
