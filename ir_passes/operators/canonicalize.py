"""Take out what does nothing, and write what can be written in several ways in one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import tvm
from tvm import relax, tirx

from ..core.base import GraphPass, PassResult
from ..core.constants import array_of, constant, numpy_dtype, scalar_of
from ..core.graph import Expr, Var
from ..core.match import calls, is_float, keeps_shape, made_by
from ..core.permutation import identity, same_bytes, split_axes
from ..core.rewriter import Rewriter, dtype_of, rewrite, shape_of

Rule = Callable[[Rewriter, Var, Any], "Expr | None"]

_MASK_ELEMENTS = 1 << 22  # constants up to this size are searched for being all the same (attention masks are)
_RESHAPES = ("reshape", "expand_dims", "squeeze", "flatten", "nn.batch_flatten")


@dataclass(frozen=True)
class Canonicalize(GraphPass):
    """Local simplifications, until none applies.

    - A `split` becomes slices, and a concatenation of slices that lie side by side one slice.
    - What does nothing is taken out: dead bindings, reshapes, transposes, casts, broadcasts and tiles to what is there
      already, paddings by nothing, slices of everything, concatenations of one, dropout, x + -0.0, x - 0, x * 1, x / 1,
      x ^ 1, selections by a constant condition that is the same everywhere. Of floats, x + 0.0 differs from x where x
      is -0.0: it goes where a softmax takes it.
    - `expand_dims`, `squeeze`, `flatten`, and transposes that move axes of length 1 only, become `reshape`; consecutive
      reshapes, and consecutive transposes, become one, as does a transpose of merged axes that are then split again. A
      cast of a cast becomes one where the first loses nothing.
    - Division by a power of two becomes multiplication; `relu6` and minimum of maximum become `clip` with bounds of the
      tensor's dtype; maximum with 0 becomes `relu`.

    Contract: outputs keep their values, dtypes and shapes.
    """

    def __call__(self, module: tvm.IRModule) -> PassResult:
        """Rewrite `main`."""
        return rewrite(module, _visit)


def _visit(rewriter: Rewriter, var: Var, value: Expr) -> Expr | None:
    if isinstance(value, relax.TupleGetItem):
        return _item(rewriter, var, value)
    if not isinstance(value, tvm.ir.Call) or not isinstance(value.op, tvm.ir.Op):
        return None
    rule = _RULES.get(value.op.name[6:])
    return rule(rewriter, var, value) if rule is not None else None


def _same_type(value: Any, operand: Expr) -> Expr | None:
    """The operand where the operator leaves shape and dtype alone: for operators that then leave everything alone."""
    return operand if keeps_shape(value, operand) else None


def _item(rewriter: Rewriter, var: Var, value: Any) -> Expr | None:
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


def _reshape(rewriter: Rewriter, var: Var, value: Any) -> Expr | None:
    operand, shape = value.args[0], shape_of(value)
    if shape is None or shape_of(operand) is None:
        return None
    source, hint = operand, var.name
    moved = _transpose_of_groups(rewriter, var, value)
    if moved is not None:
        return moved
    inner = made_by(rewriter, operand, *_RESHAPES)
    if inner is not None and shape_of(inner.args[0]) is not None:
        source, hint = inner.args[0], rewriter.hint(var, value, inner.args[0])
    if shape_of(source) == shape:
        return source
    if source is operand and calls(value, "reshape"):
        return None
    return rewriter.emit(relax.op.reshape(source, list(shape)), hint)


def _transpose_of_groups(rewriter: Rewriter, var: Var, value: Any) -> Expr | None:
    """Axes merged, transposed and split again, as (1, 12, 7, 64) -> (12, 7, 64) -> (12, 64, 7): a transpose of them."""
    transposed = made_by(rewriter, value.args[0], "permute_dims")
    merged = made_by(rewriter, transposed.args[0], *_RESHAPES) if transposed is not None else None
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


def _permute(rewriter: Rewriter, var: Var, value: Any) -> Expr | None:
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


def _axes(call: Any, rank: int) -> tuple[int, ...]:
    axes = call.attrs.axes
    return identity(rank)[::-1] if axes is None else tuple(int(axis) % rank for axis in axes)


def _cast(rewriter: Rewriter, var: Var, value: Any) -> Expr | None:
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


def _concat(rewriter: Rewriter, var: Var, value: Any) -> Expr | None:
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
    return (call.args[0], *cuts[axis]) if cuts is not None and list(cuts) == [axis] else None


def _neutral(number: float, *, right_only: bool) -> Rule:
    """Operators with a neutral element, which may also be a large constant of nothing else."""

    def rule(rewriter: Rewriter, var: Var, value: Any) -> Expr | None:
        left, right = value.args
        if _is_all(right, number) and keeps_shape(value, left):
            return left
        return right if not right_only and _is_all(left, number) and keeps_shape(value, right) else None

    return rule


def _is_all(expr: Expr, number: float) -> bool:
    array = array_of(expr)
    if array is None or array.size == 0 or array.size > _MASK_ELEMENTS or array.flat[0] != number:
        return False
    return bool((array == number).all())


def _has_sign(expr: Expr, *, negative: bool) -> bool:
    """Whether all elements of a constant have one sign, zeros too; integers have no signed zeros."""
    array = array_of(expr)
    return array is not None and (array.dtype.kind in "iub" or bool((np.signbit(array) == negative).all()))


def _add(rewriter: Rewriter, var: Var, value: Any) -> Expr | None:
    """x + -0.0 is x; x + 0.0 is not, where x is -0.0."""
    for operand, zero in (tuple(value.args), tuple(value.args)[::-1]):
        if _is_all(zero, 0) and _has_sign(zero, negative=True) and keeps_shape(value, operand):
            return operand
    return None


def _subtract(rewriter: Rewriter, var: Var, value: Any) -> Expr | None:
    """x - 0.0 is x."""
    left, right = value.args
    return left if _is_all(right, 0) and _has_sign(right, negative=False) and keeps_shape(value, left) else None


def _softmax(rewriter: Rewriter, var: Var, value: Any) -> Expr | None:
    """Zeros added to its operand (a mask that masks nothing) change no exponential."""
    masked = made_by(rewriter, value.args[0], "add")
    if masked is None:
        return None
    for operand, zero in (tuple(masked.args), tuple(masked.args)[::-1]):
        if _is_all(zero, 0) and keeps_shape(masked, operand):
            softmax = relax.op.nn.softmax(operand, value.attrs.axis)
            return rewriter.emit(softmax, rewriter.hint(var, value, operand))
    return None


def _divide(rewriter: Rewriter, var: Var, value: Any) -> Expr | None:
    plain = _neutral(1, right_only=True)(rewriter, var, value)
    by = scalar_of(value.args[1])
    if plain is not None or by is None or not is_float(value) or by == 0 or not np.isfinite(by):
        return plain
    exponent = float(np.log2(abs(by)))
    if not exponent.is_integer() or abs(exponent) > 14:  # 2^14 has an inverse in float16, too
        return None
    inverse = np.asarray(1 / np.asarray(array_of(value.args[1]), np.float64))
    return rewriter.emit(
        relax.op.multiply(value.args[0], constant(inverse.astype(numpy_dtype(dtype_of(value))))), var.name
    )


def _where(rewriter: Rewriter, var: Var, value: Any) -> Expr | None:
    condition, yes, no = value.args
    if _is_all(condition, 1):
        return _same_type(value, yes)
    return _same_type(value, no) if _is_all(condition, 0) else None


def _pad(rewriter: Rewriter, var: Var, value: Any) -> Expr | None:
    return value.args[0] if not any(int(width) for width in value.attrs.pad_width) else None


def _slice(rewriter: Rewriter, var: Var, value: Any) -> Expr | None:
    """Axes in order and bounds counted from the start; no steps where they are 1."""
    steps = _ints(value.args[4]) if len(value.args) > 4 else []
    if steps is not None and all(step > 0 for step in steps) and keeps_shape(value, value.args[0]):
        return value.args[0]
    cuts = _cuts(value)
    if cuts is None:
        return None
    normal = [list(cuts), [start for start, _ in cuts.values()], [stop for _, stop in cuts.values()]]
    if [_ints(argument) for argument in list(value.args)[1:]] == normal:
        return None
    return rewriter.emit(relax.op.strided_slice(value.args[0], *normal), var.name)


def _cuts(call: Any) -> dict[int, tuple[int, int]] | None:
    """Where a slice in steps of 1 starts and stops along the axes that it shortens, in order; None for others."""
    shape = shape_of(call.args[0])
    given = [_ints(argument) for argument in list(call.args)[1:]]
    if shape is None or any(numbers is None for numbers in given):
        return None
    axes, starts, stops, *steps = (numbers or [] for numbers in given)
    if any(step != 1 for numbers in steps for step in numbers):
        return None
    cuts: dict[int, tuple[int, int]] = {}
    for axis, *bounds in zip(axes, starts, stops, strict=True):
        extent = shape[axis % len(shape)]
        start, stop = (min(max(bound + extent if bound < 0 else bound, 0), extent) for bound in bounds)
        if (start, stop) != (0, extent):
            cuts[axis % len(shape)] = (start, max(start, stop))
    return dict(sorted(cuts.items()))


def _ints(expr: Any) -> list[int] | None:
    """The numbers of a tuple of constants."""
    fields = expr.fields if isinstance(expr, relax.Tuple) else None
    if fields is None or not all(isinstance(field, tirx.IntImm) for field in fields):
        return None
    return [int(field) for field in fields]


def _operand_if_same(rewriter: Rewriter, var: Var, value: Any) -> Expr | None:
    return _same_type(value, value.args[0])


def _clip(rewriter: Rewriter, var: Var, value: Any) -> Expr | None:
    """Bounds in the dtype of the tensor (`relu6` has them as integers)."""
    dtype, bounds = dtype_of(value), list(value.args)[1:]
    if all(str(bound.ty.dtype) == dtype for bound in bounds) or not all(hasattr(bound, "value") for bound in bounds):
        return None
    if not is_float(value) or any(int(bound.value) != bound.value for bound in bounds):
        return None
    low, high = (tirx.const(float(bound.value), dtype) for bound in bounds)
    return rewriter.emit(relax.op.clip(value.args[0], low, high), var.name)


def _minimum(rewriter: Rewriter, var: Var, value: Any) -> Expr | None:
    """min(max(x, low), high) -> clip: of the two ways to bound x the one that clip computes."""
    for operand, bound in (tuple(value.args), tuple(value.args)[::-1]):
        high = scalar_of(bound)
        if high is None:
            continue
        inner = made_by(rewriter, operand, "maximum", "nn.relu")
        if inner is None or rewriter.uses(operand) > 1 or not keeps_shape(value, operand):
            return None
        x, low = (inner.args[0], 0.0) if calls(inner, "nn.relu") else _bounded(inner)
        if x is None or low is None or low > high or dtype_of(value) not in ("float32", "float64"):
            return None
        if not keeps_shape(inner, x):
            return None
        dtype = dtype_of(value)
        bounds = tirx.const(float(low), dtype), tirx.const(float(high), dtype)
        return rewriter.emit(relax.op.clip(x, *bounds), rewriter.hint(var, value, x))
    return None


def _bounded(call: Any) -> tuple[Expr | None, float | None]:
    for operand, bound in (tuple(call.args), tuple(call.args)[::-1]):
        number = scalar_of(bound)
        if number is not None:
            return operand, float(number)
    return None, None


def _maximum(rewriter: Rewriter, var: Var, value: Any) -> Expr | None:
    operand, low = _bounded(value)
    if operand is None or low != 0 or not is_float(value) or not keeps_shape(value, operand):
        return None
    return rewriter.emit(relax.op.nn.relu(operand), var.name)


_RULES: dict[str, Rule] = {
    **dict.fromkeys(_RESHAPES, _reshape),
    "permute_dims": _permute,
    "astype": _cast,
    "concat": _concat,
    "add": _add,
    "subtract": _subtract,
    "nn.softmax": _softmax,
    "multiply": _neutral(1, right_only=False),
    "power": _neutral(1, right_only=True),
    "divide": _divide,
    "where": _where,
    "nn.pad": _pad,
    "strided_slice": _slice,
    "broadcast_to": _operand_if_same,
    "tile": _operand_if_same,
    "clip": _clip,
    "minimum": _minimum,
    "maximum": _maximum,
}
