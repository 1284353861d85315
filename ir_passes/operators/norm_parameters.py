"""A constant factor or summand of a normalisation's result goes into the scale and the shift that it has itself."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ...dtypes import numpy_dtype
from ...ir_types import Call
from ..core.constants import Array, array_of, constant
from ..core.graph import Expr, Var
from ..core.match import calls, keeps_shape, made_by, only_use, split_constant
from ..core.rewriter import Rewriter, dtype_of, rebuild, shape_of


def with_parameters(rewriter: Rewriter, var: Var, value: Call, *names: str) -> Expr | None:
    """The normalisation, one of these operators, with what `value` multiplies by or adds to its result; None if none.

    Products and sums are taken in float64 and rounded once; where they leave the range of the dtype, nothing moves.
    """
    if not calls(value, "multiply", "add"):
        return None
    parts = split_constant(value)
    norm = made_by(rewriter, parts[0], *names) if parts is not None else None
    if parts is None or norm is None or not only_use(rewriter, parts[0]) or not keeps_shape(value, parts[0]):
        return None
    by = _over_axes(array_of(parts[1]), _parameter_axes(norm), shape_of(value) or ())
    parameters = [array_of(parameter) for parameter in norm.args[1:]]
    if by is None or any(parameter is None for parameter in parameters):
        return None
    wide = [np.asarray(parameter, np.float64) for parameter in parameters]
    if calls(value, "multiply"):
        wide = [parameter * by for parameter in wide]
    elif len(wide) == 2:
        wide[1] = wide[1] + by
    else:
        return None
    with np.errstate(all="ignore"):
        narrow = [parameter.astype(numpy_dtype(dtype_of(norm.args[1]))) for parameter in wide]
    if not all(np.isfinite(parameter).all() for parameter in narrow):
        return None
    new = rebuild(norm, [norm.args[0], *(constant(parameter) for parameter in narrow)])
    return rewriter.emit(new, rewriter.hint(var, value, norm.args[0]))


def _parameter_axes(norm: Call) -> list[int]:
    """The axes of the data that the parameters of a normalisation have."""
    rank = norm.args[0].ty.ndim
    if calls(norm, "nn.group_norm"):
        return [int(norm.attrs.channel_axis) % rank]
    return sorted(int(axis) % rank for axis in norm.attrs.axes)


def _over_axes(array: Array | None, axes: Sequence[int], shape: tuple[int, ...]) -> Array | None:
    """A constant operand with the shape of these axes, if it varies along no other axis."""
    if array is None or array.ndim > len(shape):
        return None
    full = array.reshape((1,) * (len(shape) - array.ndim) + array.shape)
    if any(full.shape[axis] != 1 for axis in range(full.ndim) if axis not in axes):
        return None
    inner = full.reshape([full.shape[axis] for axis in axes])
    return np.broadcast_to(inner, [shape[axis] for axis in axes]).astype(np.float64)
