"""What each Relax operator gives of tensors that are not there throughout, and what it must not see: one row each.

An operator without a row takes only tensors that are there throughout. Element by element, whatever is computed of what
is not there is not there either, and may be anything. So rules ask for a value in its place only where elements meet:
in sums, maxima, windows, products; and where an element is a place in memory.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, TypeAlias

import numpy as np
from tvm import relax

from ...ir_types import Expr
from ...sizes import Size, quotient, smallest
from ...slices import slices
from ..core.constants import array_of, constant, numpy_dtype
from ..dialect import attention as attention_operator
from ..dialect import quantize, within
from ..dialect.float_functions import NAMES as FLOAT_FUNCTIONS
from .digits import (
    Axis,
    Digit,
    Extents,
    any_varies,
    axis_of,
    bound_of,
    regrouped,
    size_of,
    varies,
    whole,
)
from .step import Emit, Step, axes_of, broadcast

Rule: TypeAlias = Callable[[Step], "Extents | tuple[Extents, ...]"]
_INFINITY = math.inf


def elementwise(step: Step) -> Extents:
    """One element of each operand."""
    return broadcast(step, step.operands, step.shape)


def regroup(step: Step) -> Extents:
    """Reshapes and the like: digits in other axes."""
    found = regrouped(step.operands[0], step.shape)
    if found is None:
        raise step.refused("an axis would begin or end within a dimension that varies")
    return found


def permute(step: Step) -> Extents:
    """A transposition."""
    axes, operand = step.call.attrs.axes, step.operands[0]
    order = range(len(operand))[::-1] if axes is None else [int(axis) % len(operand) for axis in axes]
    return tuple(operand[axis] for axis in order)


def broadcast_to(step: Step) -> Extents:
    """Repeats along axes of 1: of as many as the bound has."""
    return broadcast(step, [step.operands[0]], step.shape)


def _reduced(step: Step, fill: float) -> Extents:
    operand = step.operands[0]
    axes = axes_of(step.call, len(operand))
    if any(varies(operand[axis]) for axis in axes):
        step.fill(0, fill)
    if bool(step.call.attrs.keepdims):
        return tuple(() if axis in axes else each for axis, each in enumerate(operand))
    return tuple(each for axis, each in enumerate(operand) if axis not in axes)


def reduction(fill: float) -> Rule:
    """A reduction that this number does not change."""
    return lambda step: _reduced(step, fill)


def mean(step: Step) -> Extents:
    """The sum by the number of elements that are there."""
    operand = step.operands[0]
    axes = axes_of(step.call, len(operand))
    if any(varies(operand[axis]) for axis in axes):
        count: Size = 1
        for axis in axes:
            count = size_of(operand[axis]) * count
        step.sizes = (count,)
        keep, dtype = bool(step.call.attrs.keepdims), str(step.call.ty.dtype)

        def divided(operands: Sequence[Expr], emit: Emit) -> Expr:
            total = emit(relax.op.sum(operands[0], axes, keep))
            return relax.op.divide(total, emit(relax.op.astype(operands[1], dtype)))

        step.instead = divided
    return _reduced(step, 0)


def along(fill: float | None) -> Rule:
    """What runs along one axis and keeps it; `fill` keeps out what is not there, without one all of it must be."""

    def rule(step: Step) -> Extents:
        operand = step.operands[0]
        axis = int(step.call.attrs.axis) % len(operand)
        if varies(operand[axis]):
            if fill is None:
                raise step.refused(f"it runs along axis {axis}")
            step.fill(0, fill)
        return operand

    return rule


def cumulated(step: Step) -> Extents:
    """A sum of all that is before: what is not there comes after."""
    operand = step.operands[0]
    axis = int(step.call.attrs.axis) % len(operand)
    if len(operand[axis]) > 1 and varies(operand[axis]):
        raise step.refused(f"it runs along axis {axis}")
    return operand


def first_of_many(step: Step) -> Extents:
    """The place of the largest or the smallest element."""
    operand = step.operands[0]
    axes = range(len(operand)) if step.call.attrs.axis is None else [int(step.call.attrs.axis) % len(operand)]
    if any(varies(operand[axis]) for axis in axes):
        if any(len(operand[axis]) > 1 for axis in axes) or len(axes) > 1:
            raise step.refused("it looks for a place along several dimensions")
        step.fill(0, -_INFINITY if step.name == "argmax" else _INFINITY)
    if bool(step.call.attrs.keepdims):
        return tuple(() if axis in axes else each for axis, each in enumerate(operand))
    return tuple(each for axis, each in enumerate(operand) if axis not in axes)


def normalization(step: Step) -> Extents:
    """Statistics along the last axes, which must be there throughout."""
    operand = step.operands[0]
    if any(varies(operand[axis]) for axis in (int(each) % len(operand) for each in step.call.attrs.axes)):
        raise step.refused("it normalizes along a dimension that varies")
    return operand


def group_norm(step: Step) -> Extents:
    """Statistics of whole images."""
    if any(varies(axis) for axis in step.operands[0][1:]):
        raise step.refused("it normalizes along a dimension that varies")
    return step.operands[0]


def matmul(step: Step) -> Extents:
    """A product; along an axis that varies both operands hold zeros where they are not there."""
    left, right = step.operands
    rows = left[-2:-1] if len(left) > 1 else ()
    columns = right[-1:] if len(right) > 1 else ()
    inner = left[-1], right[-2] if len(right) > 1 else right[-1]
    if any(varies(axis) for axis in inner):
        if all(varies(axis) for axis in inner) and inner[0] != inner[1]:
            raise step.refused("its operands are not there along the same part of what it sums over")
        step.fill(0, 0)
        step.fill(1, 0)
    rank = len(step.shape) - len(rows) - len(columns)
    batch = broadcast(step, [left[:-2], right[:-2]], step.shape[:rank])
    return (*batch, *rows, *columns)


def attention(step: Step) -> Extents:
    """Keys that are not there are masked, and they and their values are zeros."""
    q, k, v, *masks = step.operands
    if k[1] != v[1] or varies(q[2]) or varies(q[3]) or varies(k[2]) or varies(k[3]) or varies(v[3]):
        raise step.refused("heads or depths vary, or keys and values are not as many")
    batch = broadcast(step, [q[:1], k[:1], v[:1]], step.shape[:1])
    for mask in masks:
        broadcast(step, [mask[2:]], [bound_of(q[1]), bound_of(k[1])])
    if varies(k[1]):
        if len(k[1]) > 1:
            raise step.refused("keys are of several dimensions")
        step.fill(1, 0)
        step.fill(2, 0)
        keys, (digit,) = bound_of(k[1]), k[1]
        step.sizes = (digit.size,)
        attributes = step.call.attrs
        dtype = str(attributes["dtype"])

        def masked(operands: Sequence[Expr], emit: Emit) -> Expr:
            *given, size = operands
            zeros = constant(np.zeros((1, 1, 1, keys), numpy_dtype(dtype)))
            mask = emit(within.within(zeros, [(3, 1, 0)], [size], -_INFINITY))
            others = [emit(within.within(each, [(3, 1, 0)], [size], 0)) if _is_long(each, keys) else each for each in given[3:]]
            return attention_operator.attention(
                [*given[:3], mask, *others],
                scale=float(attributes["scale"]),
                nan_is_zero=bool(int(attributes["nan_is_zero"])),
                dtype=dtype,
            )

        step.instead = masked
    return (*batch, q[1], *whole([step.shape[2], step.shape[3]]))


def _is_long(mask: Expr, keys: int) -> bool:
    return int(mask.ty.shape[3]) == keys


def _window_axis(step: Step, axis: Axis, place: int, kernel: int, stride: int, dilation: int, pads: tuple[int, int]) -> Axis:
    """An axis of the results of windows along one."""
    if not varies(axis):
        return whole([step.shape[place]])[0]
    if len(axis) > 1:
        raise step.refused(f"windows move along axis {place}, which is several dimensions")
    (digit,) = axis
    reach = dilation * (kernel - 1) + 1
    size = quotient(digit.size + (sum(pads) - reach), stride) + 1
    return axis_of([Digit(step.shape[place], size)])


def convolution(step: Step) -> Extents:
    """Zeros are around what is there of an image."""
    attributes, (data, weights, *_) = step.call.attrs, step.operands
    rank = len(data) - 2
    if any_varies(weights) or varies(data[-1]):
        raise step.refused("its channels or weights vary")
    if not str(attributes.data_layout).endswith("C"):
        raise step.refused("its images are not laid out as others")
    space = data[1:-1]
    padding = [int(each) for each in attributes.padding]
    pads = list(zip(padding[:rank], padding[rank:], strict=True))
    kernel = [bound_of(axis) for axis in weights[1:-1]]
    if any(varies(axis) and (size > 1 or any(pad)) for axis, size, pad in zip(space, kernel, pads, strict=True)):
        step.fill(0, 0)
    axes = [
        _window_axis(step, axis, 1 + place, kernel[place], int(attributes.strides[place]), int(attributes.dilation[place]), pads[place])
        for place, axis in enumerate(space)
    ]
    return (data[0], *axes, *whole([step.shape[-1]]))


def pool(step: Step) -> Extents:
    """Windows that take no notice of what is not there."""
    attributes, (data, *_) = step.call.attrs, step.operands
    rank = len(data) - 2
    if varies(data[-1]) or not str(attributes.layout).endswith("C"):
        raise step.refused("its channels vary, or its images are not laid out as others")
    padding = [int(each) for each in attributes.padding]
    pads = list(zip(padding[:rank], padding[rank:], strict=True))
    space = data[1:-1]
    moving = [place for place, axis in enumerate(space) if varies(axis)]
    if moving:
        if bool(attributes.ceil_mode):
            raise step.refused("its windows may reach beyond an image whose size varies")
        is_max = "max" in step.name
        if not is_max and any(any(pads[place]) for place in moving) and not bool(attributes.count_include_pad):
            raise step.refused("how many elements its windows have depends on a size that varies")
        step.fill(0, -_INFINITY if is_max else 0)
    axes = [
        _window_axis(step, axis, 1 + place, int(attributes.pool_size[place]), int(attributes.strides[place]), int(attributes.dilation[place]), pads[place])
        for place, axis in enumerate(space)
    ]
    return (data[0], *axes, data[-1])


def take(step: Step) -> Extents:
    """Elements at places along an axis; a place that is not there must lie somewhere all the same."""
    data, places = step.operands
    if step.call.attrs.axis is None:
        raise step.refused("it takes of all axes at once")
    axis = int(step.call.attrs.axis) % len(data)
    if varies(data[axis]):
        places = _chosen(step, data[axis], array_of(step.call.args[1]), axis)
    step.fill(1, 0)
    return (*data[:axis], *places, *data[axis + 1 :])


def _chosen(step: Step, axis: Axis, places: Any, number: int) -> Extents:
    """What there is of elements of an axis that varies: of those that are always there all, of all in order as many."""
    if places is not None and places.size and int(places.min()) >= 0:
        if int(places.max()) < smallest(size_of(axis)):
            return whole(places.shape)
        for place in axes_in_order(places):
            if places.shape[place] == bound_of(axis):
                return tuple(axis if each == place else whole([size])[0] for each, size in enumerate(places.shape))
    raise step.refused(f"it takes elements along axis {number}, which varies")


def axes_in_order(places: Any) -> list[int]:
    """The axes along which an array counts from 0 on, the same along all others."""
    lines = [
        np.arange(extent).reshape([-1 if each == axis else 1 for each in range(places.ndim)])
        for axis, extent in enumerate(places.shape)
    ]
    return [axis for axis, line in enumerate(lines) if np.array_equal(places, np.broadcast_to(line, places.shape))]


def kernel(step: Step) -> Extents:
    """A kernel that the importer wrote."""
    (fields,) = step.fields.values()
    function, operands = str(step.call.args[0].name_hint), step.call.args[1].fields
    if not function.startswith("gather_nd"):
        raise step.refused("it has no rule for that")
    data, places = fields
    depth, lead = bound_of(places[-1]), len(places) - 1
    if lead + len(data) - depth != len(step.shape):
        raise step.refused("it gathers for each of a batch")
    array, found = array_of(operands[1]), tuple(places[:-1])
    for number in range(depth):
        if varies(data[number]):
            chosen = _chosen(step, data[number], None if array is None else array[..., number], number)
            found = broadcast(step, [found, chosen], step.shape[:lead])
    return (*found, *data[depth:])


def concat(step: Step) -> Extents:
    """Parts one after the other: of those along an axis that varies only the last may vary."""
    (parts,) = step.fields.values()
    axis = int(step.call.attrs.axis) % len(step.shape)
    others = broadcast(step, [tuple(() if at == axis else each for at, each in enumerate(part)) for part in parts],
                       [1 if at == axis else extent for at, extent in enumerate(step.shape)])
    if any(varies(part[axis]) for part in parts[:-1]):
        raise step.refused(f"parts of axis {axis} that vary are followed by others")
    joined = whole([step.shape[axis]])[0]
    last = parts[-1][axis]
    if varies(last):
        if len(last) > 1:
            raise step.refused(f"the last part of axis {axis} is several dimensions")
        before = step.shape[axis] - bound_of(last)
        joined = axis_of([Digit(step.shape[axis], last[0].size + before)])
    return tuple(joined if at == axis else each for at, each in enumerate(others))


def split(step: Step) -> tuple[Extents, ...]:
    """Parts of an axis that is there throughout."""
    operand = step.operands[0]
    axis = int(step.call.attrs.axis) % len(operand)
    if varies(operand[axis]):
        raise step.refused(f"it splits axis {axis}, which varies")
    return tuple(
        tuple(whole([shape[axis]])[0] if at == axis else each for at, each in enumerate(operand))
        for shape in step.shapes
    )


def strided_slice(step: Step) -> Extents:
    """A window; of an axis that varies from somewhere to its end, or what is always there."""
    operand = step.operands[0]
    bounds = tuple(bound_of(axis) for axis in operand)
    found = slices(step.call, bounds)
    if found is None:
        raise step.refused("where it begins and ends is not known")
    axes: list[Axis] = []
    for place, (axis, each, bound) in enumerate(zip(operand, found, bounds, strict=True)):
        if not varies(axis) or each == slice(0, bound, 1):
            axes.append(axis if each == slice(0, bound, 1) else whole([step.shape[place]])[0])
            continue
        if len(axis) > 1 or each.step != 1:
            raise step.refused(f"it takes a part of axis {place}, which varies")
        if each.stop == bound:
            axes.append(axis_of([Digit(step.shape[place], axis[0].size + -each.start)]))
        elif each.stop <= smallest(axis[0].size):
            axes.append(whole([step.shape[place]])[0])
        else:
            raise step.refused(f"it takes a part of axis {place}, which varies")
    return tuple(axes)


def padding(step: Step) -> Extents:
    """A value around a tensor."""
    attributes, operand = step.call.attrs, step.operands[0]
    if str(attributes.pad_mode) != "constant":
        raise step.refused("it repeats what lies at an end that varies")
    widths = [int(each) for each in attributes.pad_width]
    axes: list[Axis] = []
    for place, axis in enumerate(operand):
        before, after = widths[2 * place : 2 * place + 2]
        if not before and not after:
            axes.append(axis)
        elif not varies(axis):
            axes.append(whole([step.shape[place]])[0])
        elif len(axis) > 1 or min(before, after) < 0:
            raise step.refused(f"it pads axis {place}, which is several dimensions, or takes away from it")
        else:
            step.fill(0, float(attributes.pad_value))
            axes.append(axis_of([Digit(step.shape[place], axis[0].size + (before + after))]))
    return tuple(axes)


def tiled(step: Step) -> Extents:
    """Repetitions of what is there throughout."""
    operand, rank = step.operands[0], len(step.shape)
    lead = rank - len(operand)
    axes: list[Axis] = []
    for place, extent in enumerate(step.shape):
        axis = operand[place - lead] if place >= lead else ()
        same = place >= lead and bound_of(axis) == extent
        if varies(axis) and not same:
            raise step.refused(f"it repeats axis {place}, which varies")
        axes.append(axis if same else whole([extent])[0])
    return tuple(axes)


_SAME = (
    *("abs", "acos", "acosh", "asin", "asinh", "atan", "atanh", "ceil", "cos", "cosh", "erf", "exp", "floor", "log"),
    *("negative", "round", "rsqrt", "sigmoid", "sign", "sin", "sinh", "sqrt", "square", "tan", "tanh", "trunc"),
    *("isfinite", "isinf", "isnan", "clip", "astype", "logical_not", "bitwise_not", "where", "ewise_fma"),
    *("add", "subtract", "multiply", "power", "maximum", "minimum", "log_add_exp", "atan2"),
    *("divide", "floor_divide", "mod", "floor_mod"),
    *("equal", "greater", "greater_equal", "less", "less_equal", "not_equal"),
    *("logical_and", "logical_or", "logical_xor", "bitwise_and", "bitwise_or", "bitwise_xor", "left_shift", "right_shift"),
    *("nn.relu", "nn.gelu", "nn.gelu_tanh", "nn.silu", "nn.leakyrelu", "nn.softplus", "nn.selu", "nn.elu"),
    *(f"tilewright.{name}" for name in FLOAT_FUNCTIONS),
    *(name.removeprefix("relax.") for name in (quantize.QUANTIZE, quantize.DEQUANTIZE, quantize.REQUANTIZE)),
)

RULES: Mapping[str, Rule] = MappingProxyType(
    {
        **dict.fromkeys(_SAME, elementwise),
        **dict.fromkeys(("reshape", "squeeze", "expand_dims", "flatten"), regroup),
        "permute_dims": permute,
        "broadcast_to": broadcast_to,
        "sum": reduction(0),
        "prod": reduction(1),
        "max": reduction(-_INFINITY),
        "min": reduction(_INFINITY),
        "mean": mean,
        "nn.softmax": along(-_INFINITY),
        "nn.log_softmax": along(-_INFINITY),
        **dict.fromkeys(("sort", "argsort", "flip"), along(None)),
        "cumsum": cumulated,
        **dict.fromkeys(("argmax", "argmin"), first_of_many),
        **dict.fromkeys(("nn.layer_norm", "nn.rms_norm"), normalization),
        "nn.group_norm": group_norm,
        "matmul": matmul,
        attention_operator.NAME.removeprefix("relax."): attention,
        **dict.fromkeys(("nn.conv1d", "nn.conv2d", "nn.conv3d"), convolution),
        **dict.fromkeys((f"nn.{kind}_pool{rank}d" for kind in ("max", "avg") for rank in (1, 2, 3)), pool),
        "take": take,
        "concat": concat,
        "call_tir": kernel,
        "split": split,
        "strided_slice": strided_slice,
        "nn.pad": padding,
        **dict.fromkeys(("tile", "repeat"), tiled),
    }
)
