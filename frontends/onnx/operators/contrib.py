"""Operators that ONNX Runtime fuses others into when it saves a model it has optimised (domain com.microsoft)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType

import numpy as np
from tvm import relax, tirx

from ..dtypes import accumulator
from ..node import Expr, Node, Result, Value, dtype_of, shape_of
from ..registry import operator
from . import normalization
from .cast import converted
from .convolution import convolution
from .matmul import gemm

_DOMAIN = "com.microsoft"
_EPSILON = 1e-12  # of normalisations that are fused with sums


@operator("Gelu", "BiasGelu", domain=_DOMAIN)
def gelu(node: Node) -> Result:
    """x * Phi(x), of the sum with a bias if there is one."""
    return relax.op.nn.gelu(_with_bias(node))


@operator("FastGelu", domain=_DOMAIN)
def fast_gelu(node: Node) -> Result:
    """GELU by tanh, of the sum with a bias if there is one."""
    return relax.op.nn.gelu_tanh(_with_bias(node))


def _with_bias(node: Node) -> Expr:
    return node.emit(relax.op.add(node.expr(0), node.expr(1))) if node.has(1) else node.expr(0)


@operator("QuickGelu", domain=_DOMAIN)
def quick_gelu(node: Node) -> Result:
    """x * sigmoid(alpha * x)."""
    x = node.expr(0)
    alpha = node.scalar(node.attr_float("alpha", 1.702), dtype_of(x))
    return relax.op.multiply(x, relax.op.sigmoid(relax.op.multiply(x, alpha)))


def _relu(x: Expr, parameters: Sequence[float]) -> Expr:
    return relax.op.nn.relu(x)


def _clip(x: Expr, parameters: Sequence[float]) -> Expr:
    low, high = parameters or (-np.inf, np.inf)
    return relax.op.minimum(relax.op.maximum(x, relax.const(low, dtype_of(x))), relax.const(high, dtype_of(x)))


def _hard_sigmoid(x: Expr, parameters: Sequence[float]) -> Expr:
    alpha, beta = parameters or (0.2, 0.5)
    line = relax.op.add(relax.op.multiply(x, relax.const(alpha, dtype_of(x))), relax.const(beta, dtype_of(x)))
    return relax.op.clip(line, tirx.const(0, dtype_of(x)), tirx.const(1, dtype_of(x)))


_ACTIVATIONS: Mapping[str, Callable[[Expr, Sequence[float]], Expr]] = MappingProxyType(
    {
        "": lambda x, parameters: x,
        "Relu": _relu,
        "Tanh": lambda x, parameters: relax.op.tanh(x),
        "Sigmoid": lambda x, parameters: relax.op.sigmoid(x),
        "LeakyRelu": lambda x, parameters: relax.op.nn.leakyrelu(x, parameters[0] if parameters else 0.01),
        "Clip": _clip,
        "HardSigmoid": _hard_sigmoid,
    }
)


def _activated(node: Node, x: Expr) -> Expr:
    name = node.attr_str("activation", "")
    if name not in _ACTIVATIONS:
        raise node.unsupported(f"the activation '{name}' is not supported")
    wide = accumulator(dtype_of(node.emit(x)))
    x = converted(node, x, wide) if name in ("Clip", "HardSigmoid") else node.emit(x)
    parameters = node.attr_floats("activation_params") or ()
    return converted(node, node.emit(_ACTIVATIONS[name](x, parameters)), node.dtype(0))


@operator("FusedConv", domain=_DOMAIN)
def fused_convolution(node: Node) -> Result:
    """A convolution, the sum with another tensor, an activation."""
    result = node.emit(convolution(node.with_inputs(node.inputs[:3])))
    if node.has(3):
        result = node.emit(relax.op.add(result, node.expr(3)))
    return _activated(node, result)


@operator("NhwcFusedConv", domain=_DOMAIN)
def channels_last_convolution(node: Node) -> Result:
    """As FusedConv, of tensors [N, spatial..., C]; the weights are [O, C/groups, kernel...]."""

    def channels_first(x: Expr) -> Expr:
        rank = len(shape_of(x))
        return node.emit(relax.op.permute_dims(x, [0, rank - 1, *range(1, rank - 1)]))

    inputs = list(node.inputs)
    inputs[0] = channels_first(node.expr(0))
    result = node.emit(convolution(node.with_inputs(inputs[:3])))
    if node.has(3):
        result = node.emit(relax.op.add(result, channels_first(node.expr(3))))
    rank = len(shape_of(result))
    return relax.op.permute_dims(_activated(node, result), [0, *range(2, rank), 1])


@operator("FusedGemm", domain=_DOMAIN)
def fused_gemm(node: Node) -> Result:
    """Gemm and an activation, whose parameters are three attributes."""
    names = [name for name in ("activation_alpha", "activation_beta", "activation_gamma") if name in node.attributes]
    if node.attr_str("activation", "") not in ("", "Relu", "Tanh", "Sigmoid") and names:
        raise node.unsupported(f"the activation '{node.attr_str('activation', '')}' is not supported")
    return _activated(node, node.emit(gemm(node)))


@operator("FusedMatMul", "TransposeMatMul", domain=_DOMAIN)
def fused_matmul(node: Node) -> Result:
    """alpha * A * B, the last two dimensions of either transposed if asked."""
    if node.attr_flag("transBatchA", False) or node.attr_flag("transBatchB", False):
        raise node.unsupported("dimensions of batches that are transposed are not supported")
    operands = []
    for index, flag in ((0, "transA"), (1, "transB")):
        x, rank = node.expr(index), len(node.shape(index))
        if node.attr_flag(flag, False) and rank > 1:
            x = node.emit(relax.op.permute_dims(x, [*range(rank - 2), rank - 1, rank - 2]))
        operands.append(x)
    result = relax.op.matmul(*operands)
    alpha = node.attr_float("alpha", 1.0)
    return result if alpha == 1.0 else relax.op.multiply(result, node.scalar(alpha, node.dtype(0)))


@operator("LayerNormalization", domain=_DOMAIN)
def layer_normalization(node: Node) -> Result:
    """As ONNX's own."""
    return normalization.layer_normalization(node)


@operator("SimplifiedLayerNormalization")
@operator("SimplifiedLayerNormalization", domain=_DOMAIN)
def simplified_layer_normalization(node: Node) -> Result:
    """x / sqrt(mean(x^2) + epsilon) * scale over the dimensions from `axis` on."""
    return normalization.rms_normalization(node)


@operator("SkipLayerNormalization", "SkipSimplifiedLayerNormalization", domain=_DOMAIN)
def skip_layer_normalization(node: Node) -> Result:
    """A sum with a residual, and a bias, normalised over its last dimension; the fourth output is the sum."""
    simplified = node.op_type == "SkipSimplifiedLayerNormalization"
    bias = 3 if simplified else 4
    total = relax.op.add(node.expr(0), node.expr(1))
    total = node.emit(relax.op.add(total, node.expr(bias)) if node.has(bias) else total)
    beta = None if simplified else (node.inputs[3] if node.has(3) else None)
    results = [_normalised(node, total, node.inputs[2], beta, simplified=simplified), None, None, total]
    if node.wants(1) or node.wants(2):
        raise node.unsupported("the mean and the inverse deviation are not supported")
    return results if node.wants(3) else results[:1]


def _normalised(node: Node, x: Expr, gamma: Value, beta: Value | None, *, simplified: bool) -> Expr:
    operands = [x, gamma, *([] if beta is None else [beta])]
    inner = node.with_inputs(operands, epsilon=_EPSILON)
    if simplified:
        return node.emit(normalization.rms_normalization(inner))
    result = normalization.layer_normalization(inner)
    return node.emit(result[0] if isinstance(result, list) else result)


@operator("EmbedLayerNormalization", domain=_DOMAIN)
def embed_layer_normalization(node: Node) -> Result:
    """Embeddings of words, positions and segments, added and normalised; and how many words the mask keeps."""
    batch, length = node.shape(0)
    words = relax.op.take(node.expr(2), node.expr(0), 0, mode="wrap")
    if node.has(8):
        places = relax.op.take(node.expr(3), node.expr(8), 0, mode="wrap")
    else:
        places = relax.op.strided_slice(node.expr(3), [0], [0], [length], assume_inbound=True)
    total = node.emit(relax.op.add(words, places))
    if node.has(1) and node.has(4):
        total = node.emit(relax.op.add(total, relax.op.take(node.expr(4), node.expr(1), 0, mode="wrap")))
    output = _normalised(node, total, node.inputs[5], node.inputs[6], simplified=False)
    kept = node.emit(np.zeros(batch, np.int32))
    if node.has(7):
        kept = node.emit(relax.op.sum(relax.op.astype(node.expr(7), "int32"), [1]))
    return [output, kept, total]
