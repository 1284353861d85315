"""Our own Relax operator for interpolation: TVM's resizes know images and formulas, not ONNX's modes and tables.

    relax.tilewright.interpolate(x, positions, weights, positions', weights', ...)

with a table an axis of the attribute `axes`, applied in that order: along its axis, element i of the result is the sum
over taps t of weights[i, t] * x[positions[i, t]]. Positions are integers of shape (size, taps), inside of the axis;
weights have that shape and the dtype of x, which is a float.

A model that is imported for several sizes says of each table how it was computed (`Sampling`), in the attribute
`sampled`: so one for all sizes can be computed when it runs. Then tables may be of axes that stay as they are.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import tvm
from tvm import relax, te, tirx
from tvm.ir import Op

from ...ir_types import Call, Expr, Node, Scalar, Type
from .registration import register

NAME = "relax.tilewright.interpolate"
Tables = Sequence[tuple[Any, Any]]  # Relax expressions, or TE tensors


@dataclass(frozen=True)
class Sampling:
    """How the table of an axis was computed: as ONNX's Resize says it, by the same values.

    Attributes:
        mode: ``nearest``, ``linear`` or ``cubic``.
        coordinates: from a place in the result to one in x; `nearest`: which element is nearest to that.
        cubic: the factor of cubic interpolation.
        exclude_outside: whether what lies outside has no weight.
        antialias: whether taps are as many as the axis shrinks by.
        scale: by which it grows; sizes are rounded, so it may be another than that of the sizes.
        crop: where the region begins and ends that is resized, in shares of the axis, if `coordinates` says so.
    """

    mode: str
    coordinates: str
    nearest: str
    cubic: float
    exclude_outside: bool
    antialias: bool
    scale: float
    crop: tuple[float, float] = (0.0, 1.0)


def interpolate(x: Expr, tables: Tables, axes: Sequence[int], sampled: Sequence[Sampling] = ()) -> Expr:
    """A call of the operator: for each axis its positions and weights, and perhaps how they were computed."""
    said = json.dumps([asdict(each) for each in sampled])
    attributes = tvm.ir.make_node(
        "ir.DictAttrs", axes=[tirx.IntImm("int64", axis) for axis in axes], sampled=said if sampled else ""
    )
    return tvm.ir.Call(Op.get(NAME), [x, *(each for table in tables for each in table)], attributes)


def axes_of(call: Call) -> list[int]:
    """The axes of a call, in the order in which they are interpolated."""
    return [int(axis) for axis in call.attrs["axes"]]


def sampled_of(call: Call) -> list[Sampling]:
    """How the tables of a call were computed; empty where nobody says."""
    return [Sampling(**each) for each in json.loads(str(call.attrs["sampled"]) or "[]")]


def tables_of(operands: Sequence[Any]) -> list[tuple[Any, Any]]:
    """Positions and weights of each axis, of what follows x."""
    return list(zip(operands[::2], operands[1::2], strict=True))


def weighted(x: Any, tables: Tables, axes: Sequence[int], index: Sequence[Scalar]) -> Scalar:
    """The element of the result at `index`; `x` gives an element of the operand, tables are TE tensors.

    Sums of few taps are written out: what was interpolated first is innermost.
    """
    if not axes:
        return x(*index)
    *inner, axis = axes
    *others, (positions, weights) = tables

    def term(tap: Scalar) -> Scalar:
        at = [positions(index[axis], tap) if each == axis else place for each, place in enumerate(index)]
        return weights(index[axis], tap) * weighted(x, others, inner, at)

    total = term(0)
    for tap in range(1, int(weights.shape[1])):
        total = total + term(tap)
    return total


def picked(x: Expr, axis: int, positions: np.ndarray[Any, Any]) -> Expr:
    """One element of x for each of the result, without weights; a whole factor needs no table, and none x itself."""
    extent, size = int(x.ty.shape[axis]), len(positions)
    if size % extent == 0 and bool((positions == np.arange(size) // (size // extent)).all()):
        return relax.op.repeat(x, size // extent, axis) if size > extent else x
    return relax.op.take(x, relax.const(positions.astype(np.int64), "int64"), axis, mode="fast")


def _infer_type(call: Call, context: Node) -> Type:
    x, *rest = call.args
    shape = list(x.ty.shape)
    for axis, (positions, _) in zip(axes_of(call), tables_of(rest), strict=True):
        shape[axis] = positions.ty.shape[0]
    return relax.TensorType(shape, str(x.ty.dtype))


def _legalize(builder: relax.BlockBuilder, call: Call) -> Expr:
    """Axis by axis, for where no rule takes it."""
    x, *rest = call.args
    for number, (axis, (positions, weights)) in enumerate(zip(axes_of(call), tables_of(rest), strict=True)):
        x = builder.emit(x) if number else x
        x = builder.call_te(along, x, positions, weights, axis, primfunc_name_hint="interpolate")
    return x  # not a variable: a second name for it would be one more binding, which TVM takes away wrongly


def along(x: te.Tensor, positions: te.Tensor, weights: te.Tensor, axis: int) -> te.Tensor:
    """One axis, of however many taps."""
    shape = [weights.shape[0] if each == axis else extent for each, extent in enumerate(x.shape)]
    taps = te.reduce_axis((0, weights.shape[1]), name="tap")

    def element(*index: Scalar) -> Scalar:
        at = [positions(index[axis], taps) if each == axis else place for each, place in enumerate(index)]
        return te.sum(weights(index[axis], taps) * x(*at), axis=taps)

    return te.compute(shape, element, name="interpolate")


register(NAME, __doc__, _infer_type, _legalize)
