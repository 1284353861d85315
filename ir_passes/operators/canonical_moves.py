"""What canonicalize does about operators that move data: splits, reshapes, transposes, casts, slices, joins."""

from __future__ import annotations

import numpy as np
from tvm import relax

from ...ir_types import Call
from ...slices import integers, slices
from ..core.graph import Expr, Var
from ..core.match import calls, keeps_shape, made_by, only_use
from ..core.permutation import identity, same_bytes, split_axes
from ..core.rewriter import Rewriter, dtype_of, rebuild, shape_of

RESHAPES = ("reshape", "expand_dims", "squeeze", "flatten", "nn.batch_flatten")


def same_type(value: Call, operand: Expr) -> Expr | None:
    """The operand where the operator leaves shape and dtype alone: for operators that then leave everything alone."""
    return operand if keeps_shape(value, operand) else None


def item(rewriter: Rewriter, var: Var, value: Call) -> Expr | None:
    """A part of a split becomes a slice; the result of a dropout is its operand."""
    call = made_by(rewriter, value.tuple_value, "nn.dropout", "split")
    if call is None:
        return None
    if calls(call, "nn.dropout"):
        return call.args[0] if value.index == 0 else None
    shape = shape_of(call.args[0])
    if shape is None or not isinstance(call.attrs.axis, int):
        return None
    axis, where = call.attrs.axis % len(shape), call.attrs.indices_or_sections
    index = int(value.index)
    if hasattr(where, "__len__"):  # of thousands of parts, each looks at its own borders alone
        begin = int(where[index - 1]) if index else 0
        end = int(where[index]) if index < len(where) else shape[axis]
    else:
        size = -(-shape[axis] // int(where))
        begin, end = index * size, min((index + 1) * size, shape[axis])
    return relax.op.strided_slice(call.args[0], [axis], [begin], [end])


def reshape(rewriter: Rewriter, var: Var, value: Call) -> Expr | None:
    """One after another becomes one; to the shape that is there already, none."""
    operand, shape = value.args[0], shape_of(value)
    if shape is None or shape_of(operand) is None:
        return None
    source, hint = operand, var.name
    moved = _transpose_of_groups(rewriter, var, value)
    if moved is not None:
        return moved
    inner = made_by(rewriter, operand, *RESHAPES)
    if inner is not None and shape_of(inner.args[0]) is not None:
        source, hint = inner.args[0], rewriter.hint(var, value, inner.args[0])
    if shape_of(source) == shape:
        return source
    if source is operand and calls(value, "reshape"):
        return None
    return rewriter.emit(relax.op.reshape(source, list(shape)), hint)


def before_reshape(rewriter: Rewriter, var: Var, value: Call) -> Expr | None:
    """A function of each element of what is only reshaped for it is computed first: by the kernel before, mostly."""
    inner = made_by(rewriter, value.args[0], "reshape")
    if inner is None or not only_use(rewriter, value.args[0]) or rewriter.definition(inner.args[0]) is None:
        return None
    hint = rewriter.hint(var, value, inner.args[0])
    moved = rewriter.emit(rebuild(value, [inner.args[0], *list(value.args)[1:]]), hint)
    return rewriter.emit(rebuild(inner, [moved, *list(inner.args)[1:]]), hint)


def _transpose_of_groups(rewriter: Rewriter, var: Var, value: Call) -> Expr | None:
    """Axes merged, transposed and split again, as (1, 12, 7, 64) -> (12, 7, 64) -> (12, 64, 7): a transpose of them."""
    transposed = made_by(rewriter, value.args[0], "permute_dims")
    merged = made_by(rewriter, transposed.args[0], *RESHAPES) if transposed is not None else None
    if transposed is None or merged is None:
        return None
    shape, groups = shape_of(merged.args[0]), shape_of(merged)
    members = split_axes(shape, groups) if shape is not None and groups is not None else None
    if shape is None or members is None:
        return None
    order = [axis for group in _axes(transposed, len(members)) for axis in members[group]]
    if tuple(shape[axis] for axis in order) != shape_of(value):
        return None
    return rewriter.emit(relax.op.permute_dims(merged.args[0], order), rewriter.hint(var, value, merged.args[0]))


def permute(rewriter: Rewriter, var: Var, value: Call) -> Expr | None:
    """One after another becomes one; of axes of length 1, a reshape."""
    operand = value.args[0]
    rank = operand.ty.ndim
    axes = _axes(value, rank)
    inner = made_by(rewriter, operand, "permute_dims")
    source, hint = operand, var.name
    if inner is not None:
        source, hint = inner.args[0], rewriter.hint(var, value, inner.args[0])
        before = _axes(inner, rank)
        axes = tuple(before[axis] for axis in axes)
    if axes == identity(rank):
        return source
    shape = shape_of(source)
    if shape is not None and same_bytes(axes, identity(rank), shape):
        return rewriter.emit(relax.op.reshape(source, [shape[axis] for axis in axes]), hint)
    return rewriter.emit(relax.op.permute_dims(source, list(axes)), hint) if inner is not None else None


def _axes(call: Call, rank: int) -> tuple[int, ...]:
    axes = call.attrs.axes
    return identity(rank)[::-1] if axes is None else tuple(int(axis) % rank for axis in axes)


def cast(rewriter: Rewriter, var: Var, value: Call) -> Expr | None:
    """To the dtype that is there already, none; a cast of one that loses nothing becomes one."""
    operand = value.args[0]
    if dtype_of(operand) == dtype_of(value):
        return operand
    inner = made_by(rewriter, operand, "astype")
    if inner is None or not _loses_nothing(dtype_of(inner.args[0]), dtype_of(operand)):
        return None
    source = inner.args[0]
    if dtype_of(source) == dtype_of(value):
        return source
    return rewriter.emit(relax.op.astype(source, dtype_of(value)), rewriter.hint(var, value, source))


def _loses_nothing(source: str, target: str) -> bool:
    if "bfloat16" in (source, target):
        return source == target or (source, target) in (("bfloat16", "float32"), ("bfloat16", "float64"))
    return np.can_cast(np.dtype(source), np.dtype(target), "safe")


def concat(rewriter: Rewriter, var: Var, value: Call) -> Expr | None:
    """Slices that follow each other become one."""
    parts, axis = value.args[0], value.attrs.axis
    if not isinstance(parts, relax.Tuple) or axis is None:
        return None
    fields: list[Expr] = []
    for part in parts.fields:
        joined = _joined(rewriter, fields[-1], part, int(axis) % part.ty.ndim, var) if fields else None
        fields = [*fields[:-1], joined] if joined is not None else [*fields, part]
    if len(fields) == 1:
        return fields[0]
    changed = len(fields) < len(parts.fields)
    return rewriter.emit(relax.op.concat(fields, int(axis)), var.name) if changed else None


def _joined(rewriter: Rewriter, left: Expr, right: Expr, axis: int, var: Var) -> Expr | None:
    """Two slices of one tensor, side by side along an axis, as one."""
    first, second = (_slice_along(rewriter, part, axis) for part in (left, right))
    if first is None or second is None or not first[0].same_as(second[0]) or first[2] != second[1]:
        return None
    source, start, stop = first[0], first[1], second[2]
    whole = shape_of(source)
    if whole is not None and (start, stop) == (0, whole[axis]):
        return source
    return rewriter.emit(relax.op.strided_slice(source, [axis], [start], [stop]), var.name)


def _slice_along(rewriter: Rewriter, part: Expr, axis: int) -> tuple[Expr, int, int] | None:
    """(tensor, start, stop) of a slice along one axis, in steps of 1."""
    call = made_by(rewriter, part, "strided_slice")
    cuts = _cuts(call) if call is not None else None
    return (call.args[0], *cuts[axis]) if call is not None and cuts is not None and list(cuts) == [axis] else None


def pad(rewriter: Rewriter, var: Var, value: Call) -> Expr | None:
    """By nothing, none."""
    return value.args[0] if not any(int(width) for width in value.attrs.pad_width) else None


def strided_slice(rewriter: Rewriter, var: Var, value: Call) -> Expr | None:
    """Axes in order and bounds counted from the start; no steps where they are 1."""
    steps = integers(value.args[4]) if len(value.args) > 4 else []
    if steps is not None and all(step > 0 for step in steps) and keeps_shape(value, value.args[0]):
        return value.args[0]
    cuts = _cuts(value)
    if cuts is None:
        return None
    normal = [list(cuts), [start for start, _ in cuts.values()], [stop for _, stop in cuts.values()]]
    if [integers(argument) for argument in list(value.args)[1:]] == normal:
        return None
    return rewriter.emit(relax.op.strided_slice(value.args[0], *normal), var.name)


def _cuts(call: Call) -> dict[int, tuple[int, int]] | None:
    """Where a slice in steps of 1 starts and stops along the axes that it shortens, in order; None for others."""
    shape = shape_of(call.args[0])
    found = slices(call, shape) if shape is not None else None
    if shape is None or found is None or any(each.step != 1 for each in found):
        return None
    return {
        axis: (each.start, max(each.start, each.stop))
        for axis, (each, extent) in enumerate(zip(found, shape, strict=True))
        if (each.start, each.stop) != (0, extent)
    }


def operand_if_same(rewriter: Rewriter, var: Var, value: Call) -> Expr | None:
    """Operators that leave everything alone when they leave shape and dtype alone."""
    return same_type(value, value.args[0])
