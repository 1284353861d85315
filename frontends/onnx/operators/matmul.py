"""Matrix products."""

from __future__ import annotations

import numpy as np
from tvm import relax

from ..dtypes import accumulator
from ..einsum import contract
from ..node import Expr, Node, Result, dtype_of
from ..registry import operator


@operator("MatMul")
def matmul(node: Node) -> Result:
    """numpy's matmul: batches broadcast, vectors lose their dimension again."""
    return relax.op.matmul(node.expr(0), node.expr(1))


@operator("Gemm")
def gemm(node: Node) -> Result:
    """alpha * A * B + beta * C, A and B transposed if asked; C broadcasts."""
    if len(node.shape(0)) != 2 or len(node.shape(1)) != 2:
        raise node.invalid("A and B must be matrices")
    alpha, beta = node.attr_float("alpha", 1.0), node.attr_float("beta", 1.0)
    # A factor may bring back into range what half precisions cannot hold before it.
    given = node.dtype(0)
    dtype = given if (alpha, beta) == (1.0, 1.0) else accumulator(given)
    a, b = (_converted(node, _operand(node, index, flag), dtype) for index, flag in ((0, "transA"), (1, "transB")))
    result = relax.op.matmul(a, b)
    if alpha != 1.0:
        result = relax.op.multiply(result, node.scalar(alpha, dtype))
    if node.has(2) and beta != 0.0:
        known = node.constant(2)
        if known is not None and known.dtype.kind in "fiu":
            addend = node.emit(known if beta == 1.0 else (known.astype(np.float64) * beta).astype(dtype))
        else:
            addend = _converted(node, node.expr(2), dtype)
            addend = addend if beta == 1.0 else relax.op.multiply(addend, node.scalar(beta, dtype))
        result = relax.op.add(result, _converted(node, node.emit(addend), dtype))
    return _converted(node, node.emit(result), given)


def _converted(node: Node, x: Expr, dtype: str) -> Expr:
    x = node.emit(x)
    return x if dtype_of(x) == dtype else node.emit(relax.op.astype(x, dtype))


def _operand(node: Node, index: int, flag: str) -> Expr:
    """A or B, transposed if its flag says so; a constant is transposed here and now."""
    known = node.constant(index)
    if not node.attr_flag(flag, False):
        return node.expr(index)
    if known is not None:
        return node.emit(np.ascontiguousarray(known.T))
    return relax.op.permute_dims(node.expr(index), [1, 0])


@operator("Einsum")
def einsum(node: Node) -> Result:
    """Einstein's summation over any number of operands, as transposes, sums and batched matrix products.

    Half precisions are summed in float32 from the first step to the last.
    """
    given = node.dtype(0)
    operands = [_converted(node, operand, accumulator(given)) for operand in node.exprs()]
    return _converted(node, contract(node, node.attr_str("equation", ""), operands), given)


@operator("Det")
def determinant(node: Node) -> Result:
    """Determinants of a batch of small square matrices, by expansion along the first row."""
    shape = node.shape(0)
    if len(shape) < 2 or shape[-1] != shape[-2]:
        raise node.invalid("the determinant needs square matrices")
    if shape[-1] > _LARGEST_DETERMINANT:
        raise node.unsupported(f"determinants of more than {_LARGEST_DETERMINANT} rows are not supported")
    rows = tuple(range(shape[-1]))
    x = _converted(node, node.expr(0), accumulator(node.dtype(0)))
    return _converted(node, node.emit(node.reshape(_minor(node, x, rows, rows), shape[:-2])), node.dtype(0))


_LARGEST_DETERMINANT = 4


def _minor(node: Node, x: Expr, rows: tuple[int, ...], columns: tuple[int, ...]) -> Expr:
    """The determinant of the named rows and columns, shape [..., 1, 1]."""
    rank = len(x.ty.shape)
    terms = []
    for position, column in enumerate(columns):
        entry = node.emit(relax.op.strided_slice(x, [rank - 2, rank - 1], [rows[0], column], [rows[0] + 1, column + 1]))
        if len(rows) > 1:
            rest = _minor(node, x, rows[1:], columns[:position] + columns[position + 1 :])
            entry = node.emit(relax.op.multiply(entry, rest))
        terms.append(entry if position % 2 == 0 else node.emit(relax.op.negative(entry)))
    total = terms[0]
    for term in terms[1:]:
        total = node.emit(relax.op.add(total, term))
    return total
