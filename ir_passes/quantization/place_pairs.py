"""Tensors and layers that are to be quantized, by the names of the model's nodes, get quantize and dequantize pairs."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field

import numpy as np
import tvm
from tvm import relax

from ...ir_types import Call
from ..core.base import GraphPass, PassResult
from ..core.constants import Array, array_of, constant
from ..core.graph import Expr, Graph, Var, leaves, substitute
from ..core.match import calls
from ..core.rewriter import Rewriter, dtype_of, rebuild
from ..dialect.quantize import dequantize, quantize
from ..operators.canonical_moves import RESHAPES
from .pair_plan import Activation, Layer, Plan, plan_pairs
from .quantized_values import dequantized, integer, is_move, size_of, whole
from .weight_integers import WeightBits, weight_integers

_INT32 = 2**31
_MOVES = (*RESHAPES, "permute_dims")  # operators that only move elements


def _always(call: Expr) -> float:
    return 1.0


def _free(tensor: Expr, readers: int) -> float:
    return 0.0


def _silent(layer: str, kept: str) -> None:
    pass


@dataclass(frozen=True)
class PlacePairs(GraphPass):
    """Activations, weights and biases of layers that gain by it -> dequantized integers.

    A tensor is quantized for all that read it, as in a model that came with such pairs; the outputs of the model keep
    what they were, also those that it is only moved to. It is quantized where the layers that read it save more cycles
    than quantizing it costs, and the weights of those layers then are, symmetric, and their biases in int32 with the
    scale of the sums.

    Contract: names of bindings stay; without entries nothing changes.

    Options:
        activations: by the name of the node that makes a tensor, or of an input.
        layers: by the name of the node of a product or convolution with constant weights.
        products: names of nodes of products of two activations; those of queries and keys, within attention.
        saved: the cycles that a product of `operand` and int8 saves, given as it would be.
        cost: the cycles that quantizing a tensor costs, and dequantizing it for so many that read floats.
        always: layers are quantized whatever it costs, where integers can be multiplied at all.
        tell: told of each layer why it stays float, or "" where it does not.
        operand: the dtype of the first operand of products, ``uint8`` or ``int8``.
    """

    activations: Mapping[str, Activation] = field(default_factory=dict)
    layers: Mapping[str, WeightBits] = field(default_factory=dict)
    products: Collection[str] = ()
    saved: Callable[[Expr], float] = _always
    cost: Callable[[Expr, int], float] = _free
    always: bool = False
    tell: Callable[[str, str], None] = _silent
    operand: str = "uint8"

    def __call__(self, module: tvm.IRModule) -> PassResult:
        """Rewrite `main`."""
        graph = Graph.read(module)
        saved = (lambda call: abs(self.saved(call))) if self.always else self.saved
        cost = _free if self.always else self.cost
        plan = plan_pairs(graph, self.activations, self.layers, self.products, saved, cost, self.tell, self.operand)
        if not plan.tensors:
            return PassResult(module, False)
        return PassResult(Rewriter(graph).walk(_Placer(plan, _moved_to_outputs(graph))).write(module), True)


def _moved_to_outputs(graph: Graph) -> set[Var]:
    """The variables that hold the elements of outputs of the model, as they are or before they were moved."""
    given = {leaf for output in graph.outputs for leaf in leaves(output)}
    for var, value in reversed(graph.bindings):
        if var in given and calls(value, *_MOVES):
            given.update(leaves(value))
    return given


@dataclass
class _Placer:
    """Places what was planned; `made` are the pairs of tensors, made when something first reads them.

    What holds the elements of outputs of the model, `given`, stays as it is.
    """

    plan: Plan
    given: Collection[Var]
    made: dict[Var, Expr] = field(default_factory=dict)
    # The variable in the new graph of each tensor that is quantized -> its parameters and its name.
    sources: dict[Var, tuple[Activation, str]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.sources = {var: (found, var.name) for var, found in self.plan.tensors.items()}

    def __call__(self, rewriter: Rewriter, var: Var, value: Expr) -> Expr | None:
        """What takes the place of a binding."""
        quantized = {leaf for leaf in leaves(value) if leaf in self.sources or leaf in self.made}
        changed = substitute(value, {leaf: self._pair(rewriter, leaf) for leaf in quantized})
        if quantized and var in self.given and calls(value, *_MOVES):
            if var not in self.sources:
                self.made[var] = rewriter.emit(changed, var.name)  # what all others read
            return None
        layer = self.plan.layers.get(var)
        if layer is not None:
            changed = _with_integers(rewriter, var, changed, layer)
        elif calls(changed, "add"):
            biased = _with_bias(rewriter, changed)
            changed = changed if biased is None else biased
        if changed is value:
            return None
        new = rewriter.emit(changed, var.name)
        if var in self.sources:
            self.sources[new] = self.sources[var]
        return new

    def _pair(self, rewriter: Rewriter, leaf: Var) -> Expr:
        if leaf not in self.made:
            found, name = self.sources[leaf]
            scale, zero = constant(np.asarray(found.scale, np.float32)), integer(found.zero_point)
            # int8, as models come; narrower ones are a part of its range.
            half = 2 ** (found.bits - 1)
            integers = rewriter.emit(quantize(leaf, scale, zero, "int8", -half, half - 1), name)
            self.made[leaf] = rewriter.emit(dequantize(integers, scale, zero), name)
        return self.made[leaf]


def _with_integers(rewriter: Rewriter, var: Var, value: Call, layer: Layer) -> Call:
    """A product whose weights are dequantized."""
    integers, scales = weight_integers(layer.weights, layer.column, layer.bits)
    weights = dequantize(constant(integers), constant(scales.reshape(_squeezed(scales.shape))), integer(0))
    return rebuild(value, [value.args[0], rewriter.emit(weights, var.name)])


def _squeezed(shape: tuple[int, ...]) -> tuple[int, ...]:
    """A shape without the axes of one place in front: a scale for all has rank 0."""
    first = next((axis for axis, extent in enumerate(shape) if extent > 1), len(shape))
    return shape[first:]


def _with_bias(rewriter: Rewriter, value: Call) -> Expr | None:
    """Sums of integers plus a constant of each column: the constant in int32, with the scale of the sums."""
    for sums, bias in (tuple(value.args), tuple(value.args)[::-1]):
        known, scale = array_of(bias), _scale_of_sums(rewriter, sums)
        if known is None or scale is None or dtype_of(bias) != "float32" or known.ndim == 0:
            continue
        columns = int(value.ty.shape[-1])
        if known.size != columns or known.shape[-1] != columns:
            continue
        integers = np.rint(known.astype(np.float64) / scale)
        if np.abs(integers).max(initial=0) >= _INT32:
            continue
        fine = dequantize(constant(integers.astype(np.int32)), constant(np.broadcast_to(scale, columns)), integer(0))
        return relax.op.add(sums, rewriter.emit(fine, sums.name))
    return None


def _unmoved(rewriter: Rewriter, expr: Expr) -> Expr:
    """The tensor that another was moved from: a dequantize has still to go behind the moves."""
    value = rewriter.definition(expr)
    while value is not None and is_move(value):
        expr = value.args[0]
        value = rewriter.definition(expr)
    return expr


def _scale_of_sums(rewriter: Rewriter, expr: Expr) -> Array | None:
    """The scale of a product of dequantized operands, of each column or of all, in float32."""
    product = rewriter.definition(expr)
    if product is None or not calls(product, "matmul", "nn.conv1d", "nn.conv2d", "nn.conv3d"):
        return None
    left, right = dequantized(rewriter, _unmoved(rewriter, product.args[0])), dequantized(rewriter, product.args[1])
    if left is None or right is None or array_of(right.integers) is None or whole(left.zero_point) is None:
        return None
    one, other = array_of(left.scale), array_of(right.scale)
    if one is None or other is None or size_of(left.scale) != 1:
        return None
    return np.asarray(one.reshape(-1)[0] * other.reshape(-1))
