"""Sorting: by heaps, or where threads are many or elements few, by comparing each with all others."""

from __future__ import annotations

from functools import partial

from tvm import relax

from ...ir_passes.dialect import row_order
from ...ir_types import PrimFunc
from ...targets.target import Target
from ..templates.template import Chooser
from ..tensorir import heaps, ranks
from ..tensorir.expressions import constant_shape

TOP_K, ROW_ORDER = "relax.topk", row_order.NAME

_RANKED = 64  # elements of which each is compared with all others, several at once


def lower_top_k(builder: relax.BlockBuilder, call: relax.Call, decide: Chooser) -> relax.Expr:
    """Lowers `relax.topk` (of both values and int64 positions) to a `call_tir`.

    Equal elements keep their order. NaN counts as larger than every number, as it does for numpy, PyTorch and ONNX
    Runtime.
    """
    (x,) = call.args
    shape, count, largest = constant_shape(x), int(call.attrs.k), bool(call.attrs.largest)
    axis = int(call.attrs.axis) % len(shape)
    if _by_ranks(shape[axis], decide.target):
        compute = partial(ranks.top_k, axis=axis, count=count, largest=largest)
        return builder.call_te(compute, x, primfunc_name_hint="top_k")
    return _call(builder, heaps.top_k(shape, axis, count, str(x.ty.dtype), largest=largest), call)


def lower_row_order(builder: relax.BlockBuilder, call: relax.Call, decide: Chooser) -> relax.Expr:
    """Lowers `relax.tilewright.row_order` to a `call_tir`."""
    (x,) = call.args
    rows, columns = constant_shape(x)
    order = ranks.row_order if _by_ranks(rows, decide.target) else heaps.row_order
    return _call(builder, order(rows, columns, str(x.ty.dtype)), call)


def _by_ranks(extent: int, target: Target) -> bool:
    return extent <= _RANKED or target.grid is not None


def _call(builder: relax.BlockBuilder, function: PrimFunc, call: relax.Call) -> relax.Expr:
    name = str(function.attrs["global_symbol"])
    kernel = builder.add_func(function.without_attr("global_symbol"), name)
    types = list(call.ty.fields) if isinstance(call.ty, relax.TupleType) else call.ty
    return relax.call_tir(kernel, list(call.args), types)
