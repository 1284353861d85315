"""Tensors that are as long as a size of the inputs, and have nothing else to do with it: constants, repetitions.

Of such an axis nobody but the model's shape arithmetic knows that it varies, and that is gone when the compiler
follows sizes from operator to operator. Joined element by element with a tensor that does vary, as much of it is used
as there is of that. Anything else, a sum along it, would run to the end of the table for the largest sizes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import tvm
from tvm import relax

from ...ir_passes.core.constants import array_of
from ...ir_passes.dialect import interpolation, recurrent
from ...ir_passes.extents.moving import axes_in_order, gathered_along
from ...ir_passes.extents.rules import RULES, elementwise
from ...ir_passes.extents.step import operator_name, shape_of
from ...ir_types import Expr, Type, Var

_INTERPOLATION = interpolation.NAME.removeprefix("relax.")
_RECURRENT = recurrent.NAME.removeprefix("relax.")
Axes = frozenset[int]  # of a tensor, those that are a table's
_NONE: Axes = frozenset()


def axes_that_vary(large: Type, small: Type) -> Axes:
    """The axes of a tensor that differ between two sizes."""
    if not isinstance(large, relax.TensorType):
        return _NONE
    pairs = zip(shape_of(large), shape_of(small), strict=True)
    return frozenset(axis for axis, (one, other) in enumerate(pairs) if one != other)


def table_axes(large: Expr, small: Expr, known: Mapping[Var, Axes]) -> Axes | None:
    """The axes of a call's result that are tables; None where the operator would not notice that its operands are.

    Args:
        large, small: the call in imports for two sizes.
        known: of the variables that the call for the largest sizes reads.
    """
    varying = axes_that_vary(large.ty, small.ty)
    name = operator_name(large)
    given = [table_axes_of(argument, other, known) for argument, other in zip(large.args, small.args, strict=True)]
    operands = [argument for argument in large.args if isinstance(argument.ty, relax.TensorType)]
    if name in ("broadcast_to", "full", "zeros", "ones"):
        return _joined(varying, len(shape_of(large.ty)), list(large.args), list(small.args), known)
    if RULES.get(name) is elementwise:
        return _joined(varying, len(shape_of(large.ty)), list(large.args), list(small.args), known)
    if name == "concat":
        parts, others = (list(each.args[0].fields) for each in (large, small))
        axis = int(large.attrs.axis) % len(shape_of(large.ty))
        if any(axis in table_axes_of(part, other, known) for part, other in zip(parts, others, strict=True)):
            return None
        return _joined(varying - {axis}, len(shape_of(large.ty)), parts, others, known)
    if not any(given):
        return _NONE
    if name == "matmul":
        return _of_product(large, given)
    if name == "call_tir":
        return _of_kernel(large, small, varying, known)
    if name == _INTERPOLATION:  # its tables are compared by themselves
        return None if given[0] else _NONE
    if (
        name == _RECURRENT
    ):  # initial states that are the same for all sequences, of which there are as many as there are
        sequences = frozenset({1}) & axes_that_vary(large.args[0].ty, small.args[0].ty)
        return _NONE if not given[0] and all(each <= sequences for each in given[1:]) else None
    if name == "cumsum":  # of a beginning the beginning
        return given[0]
    if name == "permute_dims":
        rank = len(shape_of(large.ty))
        order = range(rank)[::-1] if large.attrs.axes is None else [int(axis) % rank for axis in large.attrs.axes]
        return frozenset(place for place, axis in enumerate(order) if axis in given[0])
    if name in ("reshape", "expand_dims", "squeeze"):
        before, after = shape_of(operands[0].ty), shape_of(large.ty)
        moved = dict(zip(_longer(before), _longer(after), strict=False))
        same = [before[axis] for axis in _longer(before)] == [after[axis] for axis in _longer(after)]
        return frozenset(moved[axis] for axis in given[0]) if same else None
    if name == "take" and large.attrs.axis is not None and not given[0]:
        return frozenset(axis + int(large.attrs.axis) % len(shape_of(operands[0].ty)) for axis in given[1])
    return None


def _of_product(large: Expr, given: Sequence[Axes]) -> Axes | None:
    """Of a product the rows of its first operand and the columns of its second; what is summed is no table."""
    left, right = (len(shape_of(each.ty)) for each in large.args)
    rank = len(shape_of(large.ty))
    if min(left, right) < 2 or left - 1 in given[0] or right - 2 in given[1]:
        return None
    rows = [axis + rank - left for axis in given[0]]
    columns = [axis + rank - right for axis in given[1]]
    return frozenset([*rows, *columns])


def _of_kernel(large: Expr, small: Expr, varying: Axes, known: Mapping[Var, Axes]) -> Axes | None:
    """Of the importer's kernels those that gather, and totals."""
    parts, others = (list(each.args[1].fields) for each in (large, small))
    by_tables = [table_axes_of(part, other, known) for part, other in zip(parts, others, strict=True)]
    if not any(by_tables):
        return _NONE
    if str(large.args[0].name_hint).startswith("running_total"):  # of a beginning the beginning
        return by_tables[0]
    if str(large.args[0].name_hint).startswith("rotate"):  # by angles of as many positions as there are
        return by_tables[0]
    if not str(large.args[0].name_hint).startswith("gather"):
        return None
    if all(axes_that_vary(a.ty, b.ty) <= own for a, b, own in zip(parts, others, by_tables, strict=True)):
        return varying
    places, along = array_of(parts[1]), gathered_along(str(large.args[0].name_hint))
    if along is not None:  # of the axis that places are of as much is used as they say
        own = [axes_that_vary(a.ty, b.ty) - c for a, b, c in zip(parts, others, by_tables, strict=True)]
        in_order = frozenset() if places is None else own[0] & {along} & {*axes_in_order(places)}
        return varying - (own[0] - {along}) - own[1] - in_order
    if places is None or by_tables[0] or not str(large.args[0].name_hint).startswith("gather_nd"):
        return None
    lines = [each for number in range(places.shape[-1]) for each in axes_in_order(places[..., number])]
    return varying - frozenset(lines)


def _joined(
    varying: Axes, rank: int, operands: Sequence[Expr], others: Sequence[Expr], known: Mapping[Var, Axes]
) -> Axes:
    """Of the axes that vary those that vary by tables alone."""
    found = set(varying)
    for operand, other in zip(operands, others, strict=True):
        if isinstance(operand.ty, relax.TensorType):
            lead = rank - len(shape_of(operand.ty))
            own = axes_that_vary(operand.ty, other.ty) - table_axes_of(operand, other, known)
            found -= {axis + lead for axis in own}
    return frozenset(found)


def table_axes_of(operand: Expr, other: Expr, known: Mapping[Var, Axes]) -> Axes:
    """The axes of an operand that are a table's, in imports for two sizes."""
    if isinstance(operand, relax.Var):
        return known.get(operand, _NONE)
    if isinstance(operand, tvm.ir.GenericConst):
        return axes_that_vary(operand.ty, other.ty)
    if isinstance(operand, relax.Tuple):
        return frozenset().union(
            *(table_axes_of(a, b, known) for a, b in zip(operand.fields, other.fields, strict=True))
        )
    return _NONE


def shifted(axes: Axes, by: int) -> Axes:
    """Axes of a tensor that has so many more before them."""
    return frozenset(axis + by for axis in axes)


def _longer(shape: Sequence[int]) -> list[int]:
    return [axis for axis, extent in enumerate(shape) if extent != 1]
