"""Einsum as what the compiler is good at: transposes, sums over one axis set, and batched matrix products.

Operands are taken from left to right. Each pair is brought to [batch, rows, inner] x [batch, inner, columns], where
inner are the labels that nothing later needs.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence

import numpy as np
from tvm import relax, te, topi

from ...ir_types import Scalar
from .dtypes import numpy_dtype
from .node import Expr, Node, dtype_of, shape_of

_ELLIPSIS_LABELS = "０１２３４５６７８９"  # full-width digits: no equation can use them


def contract(node: Node, equation: str, operands: Sequence[Expr]) -> Expr:
    """The value of an einsum.

    Raises:
        ModelError: the equation does not fit the operands.
    """
    inputs, output = _labels(node, equation, [len(shape_of(operand)) for operand in operands])
    sizes: dict[str, int] = {}
    for labels, operand in zip(inputs, operands, strict=True):
        for label, extent in zip(labels, shape_of(operand), strict=True):
            if sizes.setdefault(label, extent) == 1:
                sizes[label] = extent
            elif extent not in (1, sizes[label]):
                raise node.invalid(f"the label '{label}' has extents {sizes[label]} and {extent}")
    if 0 in sizes.values():  # sums of nothing, or nothing at all
        return np.zeros([sizes[label] for label in output], numpy_dtype(dtype_of(operands[0])))
    terms = [_simplify(node, operand, labels, sizes) for operand, labels in zip(operands, inputs, strict=True)]
    current, labels = terms[0]
    for index in range(1, len(terms)):
        needed = set(output).union(*(later for _, later in terms[index + 1 :]))
        current, labels = _pair(node, current, labels, *terms[index], needed)
    current, labels = _sum_out(node, current, labels, set(output))
    return _arrange(node, current, labels, output, sizes)


def _labels(node: Node, equation: str, ranks: Sequence[int]) -> tuple[list[str], str]:
    """One string of labels an operand, and the output's; the ellipsis spelled out."""
    text = equation.replace(" ", "")
    left, arrow, right = text.partition("->")
    parts = left.split(",")
    if len(parts) != len(ranks):
        raise node.invalid(f"the equation '{equation}' has {len(parts)} operands, the node {len(ranks)}")
    spans = [rank - len(part.replace("...", "")) for part, rank in zip(parts, ranks, strict=True)]
    if any((span < 0) or (span > 0 and "..." not in part) for span, part in zip(spans, parts, strict=True)):
        raise node.invalid(f"the equation '{equation}' does not fit the ranks {list(ranks)}")
    widest = max((span for span, part in zip(spans, parts, strict=True) if "..." in part), default=0)
    names = _ELLIPSIS_LABELS[:widest]
    inputs = [part.replace("...", names[widest - span :]) for part, span in zip(parts, spans, strict=True)]
    if arrow:
        output = right.replace("...", names)
    else:
        counts = Counter("".join(part.replace("...", "") for part in parts))
        output = names + "".join(sorted(label for label, count in counts.items() if count == 1))
    if len(set(output)) != len(output) or set(output) - set("".join(inputs)):
        raise node.invalid(f"the output of the equation '{equation}' has unknown or repeated labels")
    return inputs, output


def _simplify(node: Node, x: Expr, labels: str, sizes: dict[str, int]) -> tuple[Expr, str]:
    """An operand without repeated labels (its diagonal) and without extents of 1 that only broadcast."""
    if len(set(labels)) != len(labels):
        unique = "".join(dict.fromkeys(labels))

        def diagonal(a: te.Tensor) -> te.Tensor:
            shape = [a.shape[labels.index(label)] for label in unique]

            def element(*i: Scalar) -> Scalar:
                return a(*(i[unique.index(label)] for label in labels))

            return te.compute(shape, element, name="diagonal", tag=topi.tag.INJECTIVE)

        x, labels = node.emit_te(diagonal, x), unique
    kept = [
        (label, extent) for label, extent in zip(labels, shape_of(x), strict=True) if extent != 1 or sizes[label] == 1
    ]
    if len(kept) < len(labels):
        x = node.emit(node.reshape(x, [extent for _, extent in kept]))
    return x, "".join(label for label, _ in kept)


def _sum_out(node: Node, x: Expr, labels: str, needed: set[str]) -> tuple[Expr, str]:
    axes = [axis for axis, label in enumerate(labels) if label not in needed]
    if not axes:
        return x, labels
    return node.emit(relax.op.sum(x, axes)), "".join(label for label in labels if label in needed)


def _pair(node: Node, a: Expr, a_labels: str, b: Expr, b_labels: str, needed: set[str]) -> tuple[Expr, str]:
    """The product of two operands, summed over the labels that nothing else needs."""
    a, a_labels = _sum_out(node, a, a_labels, needed | set(b_labels))
    b, b_labels = _sum_out(node, b, b_labels, needed | set(a_labels))
    shared = [label for label in a_labels if label in b_labels]
    batch = "".join(label for label in shared if label in needed)
    inner = "".join(label for label in shared if label not in needed)
    rows = "".join(label for label in a_labels if label not in shared)
    columns = "".join(label for label in b_labels if label not in shared)
    sizes = {**dict(zip(a_labels, shape_of(a), strict=True)), **dict(zip(b_labels, shape_of(b), strict=True))}

    def extent(labels: str) -> int:
        return math.prod(sizes[label] for label in labels)

    left = _transpose(node, a, a_labels, batch + rows + inner)
    right = _transpose(node, b, b_labels, batch + inner + columns)
    left = node.emit(node.reshape(left, (extent(batch), extent(rows), extent(inner))))
    right = node.emit(node.reshape(right, (extent(batch), extent(inner), extent(columns))))
    labels = batch + rows + columns
    product = relax.op.matmul(left, right)
    return node.emit(node.reshape(product, [sizes[label] for label in labels])), labels


def _transpose(node: Node, x: Expr, labels: str, wanted: str) -> Expr:
    if labels == wanted:
        return x
    return node.emit(relax.op.permute_dims(x, [labels.index(label) for label in wanted]))


def _arrange(node: Node, x: Expr, labels: str, output: str, sizes: dict[str, int]) -> Expr:
    """The result in the output's order; labels that no operand kept have extent 1."""
    x = _transpose(node, x, labels, "".join(label for label in output if label in labels))
    return node.emit(node.reshape(x, [sizes[label] for label in output]))
