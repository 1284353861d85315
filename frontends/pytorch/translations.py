"""Operators of PyTorch's that its exporter knows no ONNX for, written as operators of ONNX's."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import onnx

# Products whose rows choose among matrices, as mixtures of experts have them: PyTorch's own, and what transformers puts
# in its place where PyTorch's does not run.
_GROUPED_PRODUCTS = (("aten", "_grouped_mm"), ("transformers", "grouped_mm_fallback"))

_ROWS_TO_A_MATRIX = 2  # up to which each row has a matrix of its own: in memory, twice the weights
_INT64 = int(onnx.TensorProto.INT64)


def translations(torch: Any) -> dict[Any, Callable[..., Any]]:
    """What `torch.onnx.export` takes for its `custom_translation_table`, for the operators that are registered now."""
    packets = (getattr(getattr(torch.ops, namespace), name, None) for namespace, name in _GROUPED_PRODUCTS)
    return {packet.default: _grouped_product for packet in packets if packet is not None}


def _grouped_product(rows: Any, matrices: Any, offs: Any = None, bias: Any = None, out_dtype: int = -1) -> Any:
    """Each row times the matrix of its group; rows are sorted by group.

    Few rows take a matrix each; many, or a number that varies, are multiplied by all matrices and keep one product.

    Args:
        rows: (S, K).
        matrices: (E, K, N).
        offs: (E,), integers: where each group's rows end. Without it rows are (E, S, K), a group each.
        bias: added to the products.
        out_dtype: of the result; -1 for that of the rows.

    Returns:
        (S, N); rows behind the last group's are not defined.
    """
    from onnxscript import opset18 as op

    if offs is None:
        product = op.MatMul(rows, matrices)
    elif len(rows.shape) != 2 or len(matrices.shape) != 3:
        shapes = f"{tuple(rows.shape)} and {tuple(matrices.shape)}"
        raise NotImplementedError(f"grouped products of {shapes}: rows of 2 dimensions and matrices of 3 are")
    else:
        count, groups = rows.shape[0], int(matrices.shape[0])
        ends = op.Cast(offs, to=_INT64)
        size = op.Squeeze(op.Shape(rows, start=0, end=1))
        places = op.Range(op.Constant(value_int=0), size, op.Constant(value_int=1))
        passed = op.GreaterOrEqual(op.Unsqueeze(places, [1]), op.Unsqueeze(ends, [0]))  # (S, E)
        group = op.ReduceSum(op.Cast(passed, to=_INT64), [1], keepdims=0)
        if isinstance(count, int) and count <= _ROWS_TO_A_MATRIX * groups:
            chosen = op.Gather(matrices, op.Min(group, op.Constant(value_int=groups - 1)), axis=0)  # (S, K, N)
            product = op.Squeeze(op.MatMul(op.Unsqueeze(rows, [1]), chosen), [1])
        else:
            every = op.MatMul(op.Unsqueeze(rows, [0]), matrices)  # (E, S, N)
            owners = op.Equal(op.Constant(value_ints=list(range(groups))), op.Unsqueeze(group, [1]))  # (S, E)
            kept = op.Unsqueeze(op.Transpose(owners, perm=[1, 0]), [2])
            product = op.ReduceSum(op.Where(kept, every, op.CastLike(0.0, every)), [0], keepdims=0)
    if bias is not None:
        product = op.Add(product, bias)
    return product if out_dtype == -1 else op.Cast(product, to=out_dtype)
