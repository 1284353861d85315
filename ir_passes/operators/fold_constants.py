"""Compute at compile time what depends on constants alone."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import tvm
from tvm import relax

from ...dtypes import numpy_dtype
from ...ir_types import Call
from ..core.base import GraphPass, PassResult
from ..core.constants import Array, array_of, constant
from ..core.graph import Expr, Graph, Var
from ..core.match import calls
from ..core.rewriter import Rewriter, dtype_of, rewrite, shape_of
from ..dialect.evaluation import evaluate, split_item
from ..dialect.quantize import DEQUANTIZE, is_quantized_constant
from .cse import value_key

_SMALL_BYTES = 1 << 16
_DEQUANTIZE = DEQUANTIZE.removeprefix("relax.")
_WIDENED = 8  # of bytes as floats, at most


@dataclass(frozen=True)
class FoldConstants(GraphPass):
    """Replace calls of which every operand is constant by their value.

    What `evaluation` has no row for stays: its kernel computes it when the model runs, as it would for an input.
    Contract: outputs keep values, dtypes and shapes. Equal calls share one constant.

    Options:
        max_growth: a result may have this many times the bytes of its operands (small results always may).
        keep_quantized: tensors that are dequantized stay so, if any that are not known are.
    """

    max_growth: int = 2
    keep_quantized: bool = False

    def __call__(self, module: tvm.IRModule) -> PassResult:
        """Rewrite `main`."""
        known: dict[Any, Expr | None] = {}
        keeps = self.keep_quantized and any(
            calls(value, _DEQUANTIZE) and array_of(value.args[0]) is None for _, value in Graph.read(module).bindings
        )

        def visit(rewriter: Rewriter, var: Var, value: Expr) -> Expr | None:
            if isinstance(value, relax.TupleGetItem):
                return _split_item(rewriter, value)
            if not isinstance(value, tvm.ir.Call) or not isinstance(value.op, tvm.ir.Op):
                return None
            operands = _operands(value)
            if operands is None or not self._fits(value, operands):
                return None
            if keeps and is_quantized_constant(value, operands):
                return None
            key = value_key(value)
            if key not in known:
                array = evaluate(value, operands)
                known[key] = None if array is None else constant(array)
            return known[key]

        return rewrite(module, visit)

    def _fits(self, value: Call, operands: list[Array]) -> bool:
        shape = shape_of(value)
        if shape is None or not isinstance(value.ty, relax.TensorType):
            return False
        size = math.prod(shape) * numpy_dtype(dtype_of(value)).itemsize
        growth = _WIDENED if calls(value, _DEQUANTIZE) else self.max_growth
        return size <= max(_SMALL_BYTES, growth * sum(operand.nbytes for operand in operands))


def _operands(value: Call) -> list[Array] | None:
    """The arrays of all tensor operands (of a tuple's fields too), or None when one is not constant."""
    found: list[Array] = []
    for arg in value.args:
        for field in arg.fields if isinstance(arg, relax.Tuple) else [arg]:
            if not isinstance(field.ty, relax.TensorType):
                if isinstance(field, relax.Var):
                    return None
                continue
            array = array_of(field)
            if array is None:
                return None
            found.append(array)
    return found


def _split_item(rewriter: Rewriter, value: Call) -> Expr | None:
    call = rewriter.definition(value.tuple_value)
    if not isinstance(call, tvm.ir.Call) or not isinstance(call.op, tvm.ir.Op) or call.op.name != "relax.split":
        return None
    array = array_of(call.args[0])
    return None if array is None else constant(split_item(call, value.index, array))
