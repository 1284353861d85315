"""What stands between sums of integers and the integers they become is one requantize, where that is the same."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import tvm
from tvm import relax

from ...ir_types import Call
from ..core.base import GraphPass, PassResult
from ..core.constants import array_of, constant
from ..core.graph import Expr, Var
from ..core.match import calls, made_by, only_use
from ..core.rewriter import Rewriter, dtype_of, rewrite, shape_of
from ..dialect.quantize import QUANTIZE, dequantize, quantize, range_of, requantize
from ..dialect.quantized_arithmetic import quantized
from .quantized_values import Dequantized, dequantized, integer, size_of, whole
from .reach import fits, reach

# Scales of a bias and of sums that differ by rounding alone.
_SAME_SCALE = 1e-6


@dataclass(frozen=True)
class RequantizeSums(GraphPass):
    """quantize(dequantize(sums)) -> requantize(sums), with biases of int32 and the bounds of clips moved into it.

    Contract: types of results are the same. Clips that become bounds of a quantize change nothing; biases are added to
    sums as integers; the scales of sums and of the result are one multiplier (docs/quantization.md).
    """

    def __call__(self, module: tvm.IRModule) -> PassResult:
        """Rewrite `main`."""
        return rewrite(module, _visit)


def _visit(rewriter: Rewriter, var: Var, value: Expr) -> Expr | None:
    if calls(value, "add"):
        return _added_once(rewriter, value) if dtype_of(value) == "int32" else _biased(rewriter, var, value)
    if not calls(value, QUANTIZE.removeprefix("relax.")):
        return None
    bounded = _bounded(rewriter, value)
    return _requantized(rewriter, value) if bounded is None else bounded


def _added_once(rewriter: Rewriter, value: Call) -> Expr | None:
    """Two constants that are added to sums one after the other, as one."""
    inner, second = made_by(rewriter, value.args[0], "add"), array_of(value.args[1])
    first = None if inner is None else array_of(inner.args[1])
    if inner is None or first is None or second is None or shape_of(inner.args[0]) != shape_of(value):
        return None
    return relax.op.add(inner.args[0], constant(first + second))


def _biased(rewriter: Rewriter, var: Var, value: Call) -> Expr | None:
    """dequantize(a) + dequantize(b), of sums and a bias with a scale in common."""
    left, right = value.args
    for operand, addend in ((left, right), (right, left)):
        sums, bias = _sums(rewriter, operand), _sums(rewriter, addend)
        if sums is None or bias is None or array_of(bias.integers) is None or array_of(sums.integers) is not None:
            continue
        exact = fits(reach(rewriter, sums.integers), reach(rewriter, bias.integers))
        if exact and shape_of(operand) == shape_of(value) and _same_scales(sums, bias, value):
            added = rewriter.emit(relax.op.add(sums.integers, bias.integers), var.name)
            return dequantize(added, sums.scale, integer(0), sums.dtype)
    return None


def _sums(rewriter: Rewriter, expr: Expr) -> Dequantized | None:
    """What is dequantized from int32 without a zero point."""
    found = dequantized(rewriter, expr)
    if found is None or dtype_of(found.integers) != "int32" or found.dtype != "float32":
        return None
    zero = array_of(found.zero_point)
    return found if zero is not None and not zero.any() else None


def _same_scales(sums: Dequantized, bias: Dequantized, value: Call) -> bool:
    one, other = array_of(sums.scale), array_of(bias.scale)
    if one is None or other is None or any(each.size > 1 and each.shape[-1] != each.size for each in (one, other)):
        return False  # not known, or not of columns
    columns = int(value.ty.shape[-1])
    try:
        one, other = (np.broadcast_to(each.reshape(-1), columns) for each in (one, other))
    except ValueError:
        return False
    return bool(np.allclose(one, other, rtol=_SAME_SCALE, atol=0))


def _bounded(rewriter: Rewriter, value: Call) -> Expr | None:
    """quantize(clip(x)) as a quantize to the part of the range that the clip leaves: both are monotone."""
    x, scale, zero = value.args
    clip = made_by(rewriter, x, "nn.relu", "clip")
    dtype, low, high = range_of(value)
    factor, number = array_of(scale), whole(zero)
    if clip is None or factor is None or factor.size != 1 or number is None or not factor.reshape(-1)[0] > 0:
        return None
    bounds = [0.0, np.inf] if calls(clip, "nn.relu") else [float(each.value) for each in list(clip.args)[1:3]]
    if not bounds[0] <= bounds[1]:
        return None
    ends = np.asarray(bounds, dtype_of(x))
    first, last = quantized(ends, factor.reshape(()), np.asarray(number), "int64", low, high)
    return quantize(clip.args[0], scale, zero, dtype, int(first), int(last))


def _requantized(rewriter: Rewriter, value: Call) -> Expr | None:
    x, scale, zero = value.args
    found = _sums(rewriter, x)
    if found is None or not only_use(rewriter, x) or size_of(scale) != 1:
        return None
    sums_scale, result_scale = array_of(found.scale), array_of(scale)
    if sums_scale is None or result_scale is None or dtype_of(scale) != "float32":
        return None
    return requantize(found.integers, constant(sums_scale / result_scale.reshape(())), zero, *range_of(value))
