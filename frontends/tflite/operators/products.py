"""Products of matrices, and what is made of them."""

from __future__ import annotations

from ..integers import by_range, in_integers, matrix_product, matrix_product_by_range
from ..node import Node, operator
from .elementwise import activated, biased


@operator("FULLY_CONNECTED")
def fully_connected(node: Node) -> str:
    """Rows times weights [out][in], and a bias."""
    if node.option("weights_format"):
        raise node.unsupported("shuffled weights are not supported")
    tensor = node.tensor(1)
    integers = in_integers(node, 0, 1)
    value = node.builder.stored(node.place(0)) if integers else node.value(0)
    keeps = bool(node.option("keep_num_dims"))
    if len(node.tensor(0).shape) != 2 and (integers or not keeps):
        value = node.emit("Reshape", value, node.integers([-1, tensor.shape[1]]))
    result = matrix_product(node, value, 2) if integers else _dense(node, value)
    if len(node.output(0).shape) != 2 and (integers or not keeps):
        result = node.emit("Reshape", result, node.integers(node.output(0).shape))
    return result if integers else activated(node, result)


def _dense(node: Node, value: str) -> str:
    """Rows of real numbers times weights, and the bias."""
    tensor = node.tensor(1)
    if by_range(node):
        return biased(node, matrix_product_by_range(node, value))
    if tensor.data is None:
        weights = node.emit("Transpose", node.value(1), perm=[1, 0])
    else:
        stored = node.builder.constant(tensor.data.T, tensor.name)
        weights = (
            node.builder.dequantized(stored, tensor, 1 - tensor.quantization.axis) if tensor.quantization else stored
        )
    return biased(node, node.emit("MatMul", value, weights))


@operator("BATCH_MATMUL")
def batch_matmul(node: Node) -> str:
    """Products of the last two axes."""
    operands = []
    for index, adjoint in enumerate(("adj_x", "adj_y")):
        rank = len(node.tensor(index).shape)
        order = [*range(rank - 2), rank - 1, rank - 2]
        value = node.value(index)
        operands.append(node.emit("Transpose", value, perm=order) if node.option(adjoint) else value)
    return node.emit("MatMul", *operands)


@operator("L2_NORMALIZATION")
def l2_normalization(node: Node) -> str:
    """Each row over its length."""
    length = node.emit("ReduceL2", node.value(0), node.integers([-1]), keepdims=1)
    return activated(node, node.emit("Div", node.value(0), node.emit("Max", length, node.real_constant(1e-6))))
