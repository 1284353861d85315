"""Which of the tensors that may be quantized are: those whose layers save more than the conversions cost."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

from tvm import relax

from ..core.constants import Array, array_of, constant
from ..core.graph import Binding, Expr, Graph, Var, leaves
from ..core.match import calls
from ..core.rewriter import Rewriter, dtype_of
from ..core.sources import split
from .integer_products import PRODUCTS, column_axis, product_of
from .quantized_values import is_move
from .weight_integers import WeightBits, weight_integers


@dataclass(frozen=True)
class Activation:
    """How a tensor is quantized: floats are (integers - zero_point) * scale, of signed integers of so many bits."""

    scale: float
    zero_point: int = 0
    bits: int = 8


@dataclass(frozen=True)
class Layer:
    """A product whose weights become integers: the weights, the axis of its columns, and how."""

    weights: Array
    column: int
    bits: WeightBits


@dataclass
class Plan:
    """Tensors to quantize, and the bindings of the layers whose weights are quantized."""

    tensors: dict[Var, Activation] = field(default_factory=dict)
    layers: dict[Var, Layer] = field(default_factory=dict)


@dataclass(frozen=True)
class _Candidate:
    """A layer that could be one of integers."""

    name: str
    var: Var
    layer: Layer
    saved: float


def plan_pairs(
    graph: Graph,
    activations: Mapping[str, Activation],
    layers: Mapping[str, WeightBits],
    saved: Callable[[Expr], float],
    cost: Callable[[Expr, int], float],
    tell: Callable[[str, str], None],
    operand: str,
) -> Plan:
    """What `PlacePairs` places; its options say what the arguments are."""
    known = dict(graph.bindings)
    named = _named(graph, activations)
    normalize = Rewriter(graph).normalize
    reading: dict[Var, list[_Candidate]] = {}
    for var, value in graph.bindings:
        name = next((each for each in split(var.name) if each in layers), None)
        if name is None or not calls(value, *PRODUCTS) or dtype_of(value) != "float32":
            continue
        weights = array_of(value.args[1])
        if weights is None:
            tell(name, "its weights are no constant")
            continue
        if calls(value, "matmul") and weights.ndim != 2:
            tell(name, "its weights are several matrices")
            continue
        source = _source(value.args[0], known, named)
        if source is None:
            tell(name, "the tensor that it reads has no scale, or became part of another")
            continue
        column = column_axis(value)
        layer = Layer(weights, column, layers[name])
        integers, _ = weight_integers(weights, column, layers[name])
        data = relax.Var("integers", relax.TensorType(value.args[0].ty.shape, operand))
        gained = saved(normalize(product_of(value, data, constant(integers))))
        reading.setdefault(source, []).append(_Candidate(name, var, layer, gained))
    return _settled(graph, known, named, reading, cost, tell)


def _settled(
    graph: Graph,
    known: Mapping[Var, Expr],
    named: Mapping[Var, Activation],
    reading: Mapping[Var, list[_Candidate]],
    cost: Callable[[Expr, int], float],
    tell: Callable[[str, str], None],
) -> Plan:
    plan = Plan()
    readers = _readers(graph.bindings)
    for source, candidates in reading.items():
        gaining = [each for each in candidates if each.saved > 0]
        integers = {each.var for each in gaining}
        floats = sum(1 for reader in readers.get(source, ()) if reader not in integers)
        price, gained = cost(source, floats), sum(each.saved for each in gaining)
        worth = gained > price
        if worth:
            plan.tensors.update(_quantized_with(source, known, named))
        for each in candidates:
            if each.saved <= 0:
                tell(each.name, "integers are not faster for it")
            elif not worth:
                tell(each.name, f"it would save {gained:.0f} cycles, and conversions would cost {price:.0f}")
            else:
                tell(each.name, "")
                plan.layers[each.var] = each.layer
    return plan


def _readers(bindings: tuple[Binding, ...]) -> dict[Var, list[Var]]:
    readers: dict[Var, list[Var]] = {}
    for var, value in bindings:
        for leaf in set(leaves(value)):
            readers.setdefault(leaf, []).append(var)
    return readers


def _named(graph: Graph, activations: Mapping[str, Activation]) -> dict[Var, Activation]:
    """The variables that hold the named tensors: of several bindings of a node the last that does more than move."""
    holders: dict[str, Var] = {}
    own: dict[Var, str] = {}
    for param in graph.params:
        if param.name in activations:
            holders[param.name] = param
    for var, value in graph.bindings:
        name = (split(var.name) or ("",))[-1]
        own[var] = name
        moves_own = is_move(value) and isinstance(value.args[0], relax.Var) and own.get(value.args[0]) == name
        if name in activations and not moves_own and dtype_of(var) == "float32":
            holders[name] = var
    return {var: activations[name] for name, var in holders.items() if dtype_of(var) == "float32"}


def _source(expr: Expr, known: Mapping[Var, Expr], named: Mapping[Var, Activation]) -> Var | None:
    """The tensor with parameters that an operand is, or is moved from."""
    while isinstance(expr, relax.Var):
        if expr in named:
            return expr
        value = known.get(expr)
        if value is None or not is_move(value):
            return None
        expr = value.args[0]
    return None


def _quantized_with(
    source: Var, known: Mapping[Var, Expr], named: Mapping[Var, Activation]
) -> Iterator[tuple[Var, Activation]]:
    """A tensor, and those that it is joined of or moved from, where they have its scale: then integers are moved."""
    found = named[source]
    yield source, found
    value = known.get(source)
    parts: list[Expr] = []
    if value is not None and calls(value, "concat") and isinstance(value.args[0], relax.Tuple):
        parts = list(value.args[0].fields)
    elif value is not None and is_move(value):
        parts = [value.args[0]]
    for part in parts:
        inner = _source(part, known, named)
        if inner is not None and named[inner] == found:
            yield from _quantized_with(inner, known, named)
