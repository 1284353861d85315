"""Products and convolutions of low rank become two or three smaller ones, where that pays."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType

import numpy as np
import tvm
from tvm import relax

from ...errors import UsageError
from ...ir_types import Expr, Var
from ..core.base import GraphPass, PassResult
from ..core.constants import Array, constant
from ..core.graph import Graph
from ..core.rewriter import Rewriter, rebuild, rewrite, shape_of
from .layer_matrix import can_be_changed, is_pointwise, is_product, matrix_by_outputs
from .layers import Layer, layers_of
from .low_rank import decompose, split_kernel, tucker, tucker_ranks


@dataclass(frozen=True)
class Rank:
    """Of what rank a layer is made.

    Attributes:
        ranks: one, for a product, a 1x1 convolution, or a kernel in two parts, (height, 1) and (1, width); two, of
            channels and of outputs, for a kernel between two 1x1 convolutions; none to choose them.
        error: where they are chosen: what outputs may lose, as a share of them.
    """

    ranks: tuple[int, ...] = ()
    error: float = 0.0


@dataclass(frozen=True)
class Product:
    """What is multiplied: so many rows by columns, with k terms each."""

    rows: int
    columns: int
    k: int


@dataclass(frozen=True)
class Part:
    """One of the layers that a layer becomes.

    Attributes:
        weights: in the layout of the original's.
        axes: of space that it moves along: strides, padding and dilation are the original's there.
    """

    weights: Array
    axes: tuple[int, ...] = ()


@dataclass(frozen=True)
class Factored:
    """A layer in parts.

    Attributes:
        parts: in order.
        ranks: as `Rank` has them.
        error: what the weights, or the outputs where moments were given, lose.
        weights: what the parts are together, as the layer has them.
    """

    parts: tuple[Part, ...]
    ranks: tuple[int, ...]
    error: float
    weights: Array


Cycles = Callable[[Sequence[Product]], float]
Tell = Callable[[str, "Factored | None"], None]


def multiplications(products: Sequence[Product]) -> float:
    """How many there are: the cost of products where nothing is known of a machine."""
    return float(sum(each.rows * each.columns * each.k for each in products))


@dataclass(frozen=True)
class Factorize(GraphPass):
    """Replace products and ungrouped convolutions with constant weights by smaller ones of a lower rank.

    Products and 1x1 convolutions become two, by a singular value decomposition that is whitened by what is known of the
    inputs; kernels become two along one axis each, or three, the middle one between fewer channels. Ranks that are
    chosen are the smallest within the error, and the layer stays whole where it would not be faster so. Contract:
    shapes of outputs stay the same; a layer of full rank stays whole.

    Options:
        layers: what is factored, by the name of its node.
        moments: X^T X of the columns of layers, as `columns_of` gives them, by the same names.
        cycles: what products cost.
        tell: told of every layer, with what became of it.
    """

    layers: Mapping[str, Rank] = field(default_factory=lambda: MappingProxyType({}))
    moments: Mapping[str, Array] = field(default_factory=lambda: MappingProxyType({}))
    cycles: Cycles = multiplications
    tell: Tell = lambda name, factored: None

    def __call__(self, module: tvm.IRModule) -> PassResult:
        """Rewrite `main`.

        Raises:
            UsageError: a layer has ranks that it cannot have.
        """

        layers = {layer.var: layer for name, layer in layers_of(Graph.read(module)).items() if name in self.layers}

        def visit(rewriter: Rewriter, var: Var, value: Expr) -> Expr | None:
            layer = layers.get(var)
            if layer is None:
                return None
            factored = factor(layer, self.layers[layer.name], self.moments.get(layer.name), self.cycles)
            self.tell(layer.name, factored)
            return None if factored is None else _written(rewriter, layer, value, factored, str(var.name))

        return rewrite(module, visit, max_rounds=1)


def factor(layer: Layer, rank: Rank, gram: Array | None = None, cycles: Cycles = multiplications) -> Factored | None:
    """A layer in parts of a rank; None where it stays whole: its rank is full, or parts of chosen ranks do not pay.

    Args:
        gram: X^T X of its columns, (1, inputs, inputs).

    Raises:
        UsageError: the layer cannot have such ranks.
    """
    if layer.linear.groups > 1 or not can_be_changed(layer):
        if rank.ranks:
            raise UsageError("a layer with groups has no rank to reduce", where=f"layer {layer.name!r}")
        return None
    found = [each for each in _candidates(layer, rank, gram) if each is not None]
    if not found:
        return None
    best = min(found, key=lambda each: cycles(_products(layer, each)))
    pays = cycles(_products(layer, best)) < cycles([_whole(layer)])
    return best if rank.ranks or pays else None


def work_left(layer: Layer, factored: Factored) -> float:
    """The multiplications of the parts, as a share of those of the whole layer."""
    return multiplications(_products(layer, factored)) / multiplications([_whole(layer)])


def _candidates(layer: Layer, rank: Rank, gram: Array | None) -> list[Factored | None]:
    """The ways to factor a layer that a rank says, or that are possible."""
    kernel = layer.weights.astype(np.float64)
    most = _most_ranks(layer, len(rank.ranks))
    if rank.ranks and (not most or not all(1 <= each <= limit for each, limit in zip(rank.ranks, most, strict=True))):
        hint = f"it has {' and '.join(f'1 to {limit}' for limit in most)}" if most else "it has other axes"
        raise UsageError(f"a layer cannot have the rank {rank.ranks}", where=f"layer {layer.name!r}", hint=hint)
    if is_pointwise(layer):
        return [_pointwise(layer, rank, gram)]
    found: list[Factored | None] = []
    if len(rank.ranks) != 1:
        found.append(_tucker(kernel, rank))
    if len(rank.ranks) != 2 and kernel.ndim == 4:
        found.append(_spatial(kernel, rank))
    return found


def _most_ranks(layer: Layer, count: int) -> tuple[int, ...]:
    """The largest ranks of a layer that has so many; none where it cannot."""
    shape = layer.weights.shape
    if is_pointwise(layer):
        return (min(shape[:2]),) if count == 1 else ()
    if count == 2:
        return shape[1], shape[0]
    return (min(shape[0] * shape[3], shape[1] * shape[2]),) if len(shape) == 4 else ()


def _pointwise(layer: Layer, rank: Rank, gram: Array | None) -> Factored | None:
    factors = decompose(matrix_by_outputs(layer)[0], None if gram is None else gram[0])
    chosen = rank.ranks[0] if rank.ranks else factors.rank_within(rank.error)
    if chosen >= len(factors.values):
        return None
    left, right = factors.left[:, :chosen], factors.right[:chosen]
    lost = factors.error_of(chosen)
    if is_product(layer):
        return Factored((Part(right.T), Part(left.T)), (chosen,), lost, (left @ right).T)
    space = (1,) * (layer.weights.ndim - 2)
    axes = tuple(range(len(space)))
    parts = Part(right.reshape(*right.shape, *space), axes), Part(left.reshape(*left.shape, *space))
    return Factored(parts, (chosen,), lost, (left @ right).reshape(layer.weights.shape))


def _spatial(kernel: Array, rank: Rank) -> Factored | None:
    outputs, channels, height, width = kernel.shape
    factors = split_kernel(kernel)
    chosen = rank.ranks[0] if rank.ranks else factors.rank_within(rank.error)
    if chosen >= len(factors.values):
        return None
    down = factors.right[:chosen].reshape(chosen, channels, height, 1)
    across = factors.left[:, :chosen].reshape(outputs, width, 1, chosen).transpose(0, 3, 2, 1)
    again = np.einsum("riy,orx->oiyx", down[..., 0], across[:, :, 0])
    return Factored((Part(down, (0,)), Part(across, (1,))), (chosen,), factors.error_of(chosen), again)


def _tucker(kernel: Array, rank: Rank) -> Factored | None:
    into, out = rank.ranks or tucker_ranks(kernel, rank.error)
    outputs, channels, *space = kernel.shape
    if into >= channels and out >= outputs:
        return None
    found = tucker(kernel, (into, out))
    again = np.einsum("os,sr...,ri->oi...", found.last, found.core, found.first, optimize=True)
    ones = (1,) * len(space)
    parts = (
        Part(found.first.reshape(into, channels, *ones)),
        Part(found.core, tuple(range(len(space)))),
        Part(found.last.reshape(outputs, out, *ones)),
    )
    size = float(np.linalg.norm(kernel))
    return Factored(parts, (into, out), float(np.linalg.norm(again - kernel)) / size if size else 0.0, again)


def _whole(layer: Layer) -> Product:
    rows = math.prod(shape_of(layer.call) or ()) // layer.outputs
    return Product(rows, layer.outputs, layer.weights.size // layer.outputs)


def _products(layer: Layer, factored: Factored) -> list[Product]:
    """What the parts multiply."""
    if is_product(layer):
        rows = _whole(layer).rows
        return [Product(rows, each.weights.shape[1], each.weights.shape[0]) for each in factored.parts]
    data, result = shape_of(layer.call.args[0]) or (), shape_of(layer.call) or ()
    space, found = list(data[2:]), []
    for part in factored.parts:
        for axis in part.axes:
            space[axis] = result[2 + axis]
        outputs, *terms = part.weights.shape
        found.append(Product(data[0] * math.prod(space), outputs, math.prod(terms)))
    return found


def _written(rewriter: Rewriter, layer: Layer, value: Expr, factored: Factored, hint: str) -> Expr:
    """The parts, one after the other, each named as the layer was."""
    data = value.args[0]
    for part in factored.parts:
        weights = constant(np.ascontiguousarray(part.weights).astype(layer.weights.dtype))
        data = rewriter.emit(_call(layer, part, data, weights), hint)
    return data


def _call(layer: Layer, part: Part, data: Expr, weights: Expr) -> Expr:
    call = layer.call
    if is_product(layer):
        return rebuild(call, [data, weights])
    attributes, rank = call.attrs, layer.weights.ndim - 2
    along = [axis in part.axes for axis in range(rank)]

    def of_axes(values: Sequence[int], otherwise: int) -> list[int]:
        return [int(value) if along[axis % rank] else otherwise for axis, value in enumerate(values)]

    convolution = {1: relax.op.nn.conv1d, 2: relax.op.nn.conv2d, 3: relax.op.nn.conv3d}[rank]
    return convolution(
        data,
        weights,
        strides=of_axes(attributes.strides, 1),
        padding=of_axes(attributes.padding, 0),
        dilation=of_axes(attributes.dilation, 1),
        data_layout=attributes.data_layout,
        kernel_layout=attributes.kernel_layout,
        out_layout=attributes.out_layout,
        out_dtype=attributes.out_dtype,
    )
