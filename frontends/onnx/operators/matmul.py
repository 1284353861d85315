"""Matrix products."""

from __future__ import annotations

import numpy as np
from tvm import relax

from ..einsum import contract
from ..node import Expr, Node, Result
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
    product = relax.op.matmul(_operand(node, 0, "transA"), _operand(node, 1, "transB"))
    alpha, beta = node.attr_float("alpha", 1.0), node.attr_float("beta", 1.0)
    dtype = node.dtype(0)
    if alpha != 1.0:
        product = relax.op.multiply(product, node.scalar(alpha, dtype))
    if not node.has(2) or beta == 0.0:
        return product
    known = node.constant(2)
    if known is not None:
        bias = known if beta == 1.0 else (known.astype(np.float64) * beta).astype(known.dtype)
        return relax.op.add(product, node.emit(bias))
    addend = node.expr(2)
    return relax.op.add(product, addend if beta == 1.0 else relax.op.multiply(addend, node.scalar(beta, dtype)))


def _operand(node: Node, index: int, flag: str) -> Expr:
    """A or B, transposed if its flag says so; a constant is transposed here and now."""
    known = node.constant(index)
    if not node.attr_int(flag, 0):
        return node.expr(index)
    if known is not None:
        return node.emit(np.ascontiguousarray(known.T))
    return relax.op.permute_dims(node.expr(index), [1, 0])


@operator("Einsum")
def einsum(node: Node) -> Result:
    """Einstein's summation over any number of operands, as transposes, sums and batched matrix products."""
    return contract(node, node.attr_str("equation", ""), node.exprs())


@operator("Det")
def determinant(node: Node) -> Result:
    """Determinants of a batch of small square matrices, by expansion along the first row."""
    shape = node.shape(0)
    if len(shape) < 2 or shape[-1] != shape[-2]:
        raise node.invalid("the determinant needs square matrices")
    if shape[-1] > _LARGEST_DETERMINANT:
        raise node.unsupported(f"determinants of more than {_LARGEST_DETERMINANT} rows are not supported")
    rows = tuple(range(shape[-1]))
    return relax.op.reshape(_minor(node, node.expr(0), rows, rows), shape[:-2])


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
