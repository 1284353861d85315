"""Tensors that are as long as a size of the inputs, and have nothing else to do with it: constants, repetitions.

Of such an axis nobody but the model's shape arithmetic knows that it varies, and that is gone when the compiler
follows sizes from operator to operator. Joined element by element with a tensor that does vary, as much of it is used
as there is of that. Anything else, a sum along it, would run to the end of the table for the largest sizes.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import tvm
from tvm import relax

from ...ir_passes.dialect import interpolation, recurrent
from ...ir_passes.dialect.interpolation import sampled_of
from ...ir_passes.extents.digits import Digit, axis_of, regrouped, varies
from ...ir_passes.extents.importer_kernels import gathered_along
from ...ir_passes.extents.known import MadeBy, column, known
from ...ir_passes.extents.moving import all_in_order, axes_in_order
from ...ir_passes.extents.rules import RULES, elementwise
from ...ir_passes.extents.step import axes_of, operator_name, shape_of
from ...ir_types import Expr, Type, Var
from ...sizes import Dimension
from ...slices import slices

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


def table_axes(large: Expr, small: Expr, tables: Mapping[Var, Axes], made_by: MadeBy) -> Axes | None:
    """The axes of a call's result that are tables; None where the operator would not notice that its operands are.

    Args:
        large, small: the call in imports for two sizes.
        tables: of the variables that the call for the largest sizes reads.
        made_by: what a variable is bound to in that import.
    """
    varying = axes_that_vary(large.ty, small.ty)
    name = operator_name(large)
    given = [table_axes_of(argument, other, tables) for argument, other in zip(large.args, small.args, strict=True)]
    operands = [argument for argument in large.args if isinstance(argument.ty, relax.TensorType)]
    if name in ("broadcast_to", "full", "zeros", "ones"):
        return _joined(varying, len(shape_of(large.ty)), list(large.args), list(small.args), tables)
    if RULES.get(name) is elementwise:
        return _joined(varying, len(shape_of(large.ty)), list(large.args), list(small.args), tables)
    if name == "concat":
        parts, others = (list(each.args[0].fields) for each in (large, small))
        axis = int(large.attrs.axis) % len(shape_of(large.ty))
        if any(axis in table_axes_of(part, other, tables) for part, other in zip(parts, others, strict=True)):
            return None
        return _joined(varying - {axis}, len(shape_of(large.ty)), parts, others, tables)
    if not any(given):
        return _NONE
    if name == "matmul":
        return _of_product(large, small, varying, given)
    if name == "call_tir":
        return _of_kernel(large, small, varying, tables, made_by)
    if name == _INTERPOLATION:  # its tables are compared by themselves
        return None if given[0] & _resized(large) else given[0]
    if name in ("nn.softmax", "nn.log_softmax", "nn.layer_norm"):
        normed = large.attrs.axes if name == "nn.layer_norm" else [large.attrs.axis]
        return None if given[0] & {int(axis) % len(shape_of(large.ty)) for axis in normed} else given[0]
    if name == _RECURRENT:  # initial states are the same for all sequences, of which there are as many as there are
        sequences = frozenset({1}) & axes_that_vary(large.args[0].ty, small.args[0].ty)
        return _NONE if not given[0] and all(each <= sequences for each in given[1:]) else None
    if name in ("sum", "mean", "max", "min", "prod"):
        reduced, keeps = axes_of(large, len(shape_of(operands[0].ty))), bool(large.attrs.keepdims)
        left = [axis - (0 if keeps else sum(each < axis for each in reduced)) for axis in given[0]]
        return None if given[0] & set(reduced) else frozenset(left)
    if name == "cumsum":  # of a beginning the beginning
        return given[0]
    if name == "permute_dims":
        rank = len(shape_of(large.ty))
        order = range(rank)[::-1] if large.attrs.axes is None else [int(axis) % rank for axis in large.attrs.axes]
        return frozenset(place for place, axis in enumerate(order) if axis in given[0])
    if name == "strided_slice":
        return _of_slice(large, small, given[0])
    if name in ("reshape", "expand_dims", "squeeze"):
        return _regrouped(large, small, given[0])
    if name == "take" and large.attrs.axis is not None and not given[0]:
        axis = int(large.attrs.axis) % len(shape_of(operands[0].ty))
        places = known(large.args[1], made_by) if axis in axes_that_vary(large.args[0].ty, small.args[0].ty) else None
        count = shape_of(large.args[0].ty)[axis]
        own = _NONE if places is None else frozenset(axes_in_order(places, count))
        if places is not None and places.size == count and all_in_order(places):
            own = given[1]
        return frozenset(axis + each for each in given[1] - own)
    return None


def _regrouped(large: Expr, small: Expr, tables: Axes) -> Axes | None:
    """Of a reshaped table the axes of which it is still the outermost part, so that a beginning is one of both."""
    before, other = (shape_of(each.args[0].ty) for each in (large, small))
    digits = []
    for axis, extent in enumerate(before):
        unit = math.gcd(extent, other[axis])
        size = Dimension(f"axis {axis}", extent // unit, 1).size * unit if axis in tables else extent
        digits.append(axis_of([Digit(extent, size)]))
    found = regrouped(tuple(digits), shape_of(large.ty))
    if found is None or any(digit.varies for axis in found for digit in axis[1:]):
        return None
    places = frozenset(place for place, axis in enumerate(found) if varies(axis))
    return places if places <= axes_that_vary(large.ty, small.ty) else None


def _resized(call: Expr) -> Axes:
    """The axes along which an interpolation does not leave all as it is."""
    axes = [int(axis) for axis in call.attrs["axes"]]
    said: list[interpolation.Sampling | None] = [*sampled_of(call)] or [None] * len(axes)
    before, after = shape_of(call.args[0].ty), shape_of(call.ty)
    return frozenset(
        axis
        for axis, sampling in zip(axes, said, strict=True)
        if sampling is None or before[axis] != after[axis] or sampling.scale != 1 or tuple(sampling.crop) != (0, 1)
    )


def _of_product(large: Expr, small: Expr, varying: Axes, given: Sequence[Axes]) -> Axes | None:
    """Of the axes of a product those that no operand has but as a table; what is summed is no table."""
    ranks = [len(shape_of(each.ty)) for each in large.args]
    summed = (ranks[0] - 1, ranks[1] - 2)
    if min(ranks) < 2 or summed[0] in given[0] or summed[1] in given[1]:
        return None
    found = set(varying)
    for operand, other, tables, rank, inner in zip(large.args, small.args, given, ranks, summed, strict=True):
        lead = len(shape_of(large.ty)) - rank
        found -= {axis + lead for axis in axes_that_vary(operand.ty, other.ty) - tables if axis != inner}
    return frozenset(found)


def _of_slice(large: Expr, small: Expr, given: Axes) -> Axes | None:
    """Of a table a part that begins where that for the other size does, and ends as far from its end."""
    shapes = [shape_of(each.args[0].ty) for each in (large, small)]
    mine, theirs = (slices(each, shape) for each, shape in zip((large, small), shapes, strict=True))
    if mine is None or theirs is None:
        return None
    found = set()
    for axis in given:
        one, other, (most, extent) = mine[axis], theirs[axis], (shape[axis] for shape in shapes)
        if (one.start, one.step) != (other.start, other.step) or one.step < 0:
            return None
        if one.stop != other.stop:
            if most - one.stop != extent - other.stop or one.step != 1:
                return None
            found.add(axis)
    return frozenset(found)


def _of_kernel(large: Expr, small: Expr, varying: Axes, tables: Mapping[Var, Axes], made_by: MadeBy) -> Axes | None:
    """Of the importer's kernels those that gather, and totals."""
    parts, others = (list(each.args[1].fields) for each in (large, small))
    by_tables = [table_axes_of(part, other, tables) for part, other in zip(parts, others, strict=True)]
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
    own = [axes_that_vary(a.ty, b.ty) - c for a, b, c in zip(parts, others, by_tables, strict=True)]
    return _of_gather(large, [shape_of(each.ty) for each in parts], by_tables[0], own, varying, parts[1], made_by)


def _of_gather(
    large: Expr,
    shapes: Sequence[tuple[int, ...]],
    tables: Axes,
    own: Sequence[Axes],
    varying: Axes,
    places: Expr,
    made_by: MadeBy,
) -> Axes | None:
    """Of axes along which places say what is taken: those vary that the places have, or count along what varies.

    Args:
        shapes: of the tensor and of the places.
        tables: the axes of the tensor that are a table's.
        own: the axes of both that vary, and are none.
        varying: axes of the result that differ.
        places: what says what is taken.
        made_by: as `known` has it.
    """
    along = gathered_along(str(large.args[0].name_hint))
    if along is not None:
        taken, columns, lead = [along], [known(places, made_by)], 0
    else:
        taken = list(range(shapes[1][-1]))
        columns = [column(places, axis, made_by) for axis in taken]
        lead = len(shapes[1]) - 1 - len(taken)  # how far behind its own place an axis that stays is in the result
        if len(shapes[0]) + lead != len(shape_of(large.ty)):  # it gathers for each of a batch
            return None
    real = own[1] | {axis + lead for axis in own[0].difference(taken)}
    for axis, numbers in zip(taken, columns, strict=True):
        if axis in tables and (numbers is None or numbers.min(initial=0) < 0):
            return None
        if axis in own[0] and numbers is not None:
            real |= {*axes_in_order(numbers, shapes[0][axis])}
    return varying - real


def _joined(
    varying: Axes, rank: int, operands: Sequence[Expr], others: Sequence[Expr], tables: Mapping[Var, Axes]
) -> Axes:
    """Of the axes that vary those that vary by tables alone."""
    found = set(varying)
    for operand, other in zip(operands, others, strict=True):
        if isinstance(operand.ty, relax.TensorType):
            lead = rank - len(shape_of(operand.ty))
            own = axes_that_vary(operand.ty, other.ty) - table_axes_of(operand, other, tables)
            found -= {axis + lead for axis in own}
    return frozenset(found)


def table_axes_of(operand: Expr, other: Expr, tables: Mapping[Var, Axes]) -> Axes:
    """The axes of an operand that are a table's, in imports for two sizes."""
    if isinstance(operand, relax.Var):
        return tables.get(operand, _NONE)
    if isinstance(operand, tvm.ir.GenericConst):
        return axes_that_vary(operand.ty, other.ty)
    if isinstance(operand, relax.Tuple):
        return frozenset().union(
            *(table_axes_of(a, b, tables) for a, b in zip(operand.fields, other.fields, strict=True))
        )
    return _NONE


def shifted(axes: Axes, by: int) -> Axes:
    """Axes of a tensor that has so many more before them."""
    return frozenset(axis + by for axis in axes)
