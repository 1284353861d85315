"""Channels reshaped into groups, normalised and reshaped back become nn.group_norm; scales and shifts go into it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import tvm
from tvm import relax

from ...ir_types import Call
from ..core.base import GraphPass, PassResult
from ..core.constants import Array, array_of, constant
from ..core.graph import Expr, Var
from ..core.match import calls, is_float, made_by, only_use
from ..core.rewriter import Rewriter, rewrite, shape_of
from .norm_parameters import with_parameters


@dataclass(frozen=True)
class FuseGroupNorm(GraphPass):
    """reshape(norm(reshape(x))) -> nn.group_norm(x), where the inner axes are those of groups of the channels of x.

    The norm is a layer norm over all but batch and group, or a group norm with one channel a group (an instance norm),
    which is how exporters write it; channels come right after the batch, (N, C, ...) as (N, G, ...), or last,
    (N, ..., C) as (N, ..., G, C / G). Then multiplications of the result by a constant a channel, and additions of
    one, go into gamma and beta. Contract: the same function up to rounding.
    """

    def __call__(self, module: tvm.IRModule) -> PassResult:
        """Rewrite `main`."""
        return rewrite(module, _visit)


def _visit(rewriter: Rewriter, var: Var, value: Expr) -> Expr | None:
    if not isinstance(value, tvm.ir.Call) or not is_float(value):
        return None
    if calls(value, "reshape"):
        return _grouped(rewriter, var, value)
    return with_parameters(rewriter, var, value, "nn.group_norm")


def _grouped(rewriter: Rewriter, var: Var, value: Call) -> Expr | None:
    norm = made_by(rewriter, value.args[0], "nn.layer_norm", "nn.group_norm")
    split = made_by(rewriter, norm.args[0], "reshape") if norm is not None else None
    if norm is None or split is None or not only_use(rewriter, value.args[0]):
        return None
    x = split.args[0]
    shape, inner = shape_of(x), shape_of(norm.args[0])
    if shape is None or inner is None or shape != shape_of(value) or len(shape) < 3 or shape[0] != inner[0]:
        return None
    parameters = _by_group(norm, inner)
    found = _channels(shape, inner, _normalised(norm))
    if parameters is None or found is None:
        return None
    channel, groups = found
    if parameters[0].size not in (1, groups):
        return None
    channels = shape[channel]
    by_channel = [
        constant(np.repeat(np.broadcast_to(parameter, (groups,)), channels // groups)) for parameter in parameters
    ]
    others = [axis for axis in range(1, len(shape)) if axis != channel]
    new = relax.op.nn.group_norm(x, *by_channel, groups, channel, others, float(norm.attrs.epsilon))
    return rewriter.emit(new, rewriter.hint(var, value, x))


def _normalised(norm: Call) -> set[int]:
    """The axes that a norm takes its statistics along; those of an instance norm, if it is a group norm."""
    return {int(axis) % norm.args[0].ty.ndim for axis in norm.attrs.axes}


def _by_group(norm: Call, inner: Sequence[int]) -> list[Array] | None:
    """Gamma and beta with one value, or one a group; None where they are not constant or vary in a group."""
    parameters = [array_of(parameter) for parameter in norm.args[1:]]
    known = [parameter for parameter in parameters if parameter is not None]
    if len(known) != len(parameters):
        return None
    if calls(norm, "nn.group_norm"):
        channel = int(norm.attrs.channel_axis) % len(inner)
        return known if int(norm.attrs.num_groups) == inner[channel] else None
    flat = [parameter.reshape(-1) for parameter in known]
    return [each[:1] for each in flat] if all((each == each[0]).all() for each in flat) else None


def _channels(shape: Sequence[int], inner: Sequence[int], normalised: set[int]) -> tuple[int, int] | None:
    """The axis of the channels in `shape`, and how many groups of them the other axes of `inner` are; None if none."""
    rank = len(inner)
    kept = [axis for axis in range(1, rank) if axis not in normalised]
    if 0 in normalised or len(kept) != 1:
        return None
    (axis,) = kept
    groups = inner[axis]
    if axis == 1 and shape[1] % groups == 0:
        return 1, groups
    if axis == rank - 2 and groups * inner[-1] == shape[-1]:
        return len(shape) - 1, groups
    return None
