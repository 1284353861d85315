"""Which of the tensors that may be quantized are: those whose layers save more than the conversions cost."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from tvm import relax

from ...ir_types import Call
from ..core.constants import Array, array_of, constant
from ..core.graph import Binding, Expr, Graph, Var, leaves
from ..core.match import calls
from ..core.rewriter import Rewriter, dtype_of
from ..core.sources import split
from ..dialect.attention import attention, is_attention
from .integer_products import PRODUCTS, column_axis, product_of
from .quantized_values import is_move
from .weight_integers import WeightBits, weight_integers
from .worthwhile import Candidate, worthwhile


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


def plan_pairs(
    graph: Graph,
    activations: Mapping[str, Activation],
    layers: Mapping[str, WeightBits],
    products: Collection[str],
    saved: Callable[[Expr], float],
    cost: Callable[[Expr, int], float],
    tell: Callable[[str, str], None],
    operand: str,
) -> Plan:
    """What `PlacePairs` places; its options say what the arguments are."""

    def tell_all(names: Sequence[str], kept: str) -> None:
        for name in names:
            tell(name, kept)

    known = dict(graph.bindings)
    named = _named(graph, activations)
    normalize = Rewriter(graph).normalize
    candidates: dict[Var, Candidate] = {}
    planned: dict[Var, Layer] = {}
    for var, value in graph.bindings:
        names = _asked(var, value, layers, products)
        if not names or dtype_of(value) != "float32":
            continue
        name = names[0]
        weights = array_of(value.args[1]) if name in layers else None
        reason = _why_float(value, weights, of_layer=name in layers)
        operands = list(value.args[:1] if name in layers else value.args[:2])
        sources = [_source(each, known, named) for each in operands]
        reading = tuple(dict.fromkeys(each for each in sources if each is not None))
        if not reason and None in sources:
            reason = "the tensor that it reads has no scale, or became part of another"
        if not reason and name in products and named[reading[-1]].zero_point and is_attention(value):
            reason = "the zero point of its keys is not 0"
        if reason:
            tell_all(names, reason)
            continue
        given = [relax.Var("integers", relax.TensorType(operands[0].ty.shape, operand))]
        if weights is not None:
            planned[var] = Layer(weights, column_axis(value), layers[name])
            given.append(constant(weight_integers(weights, planned[var].column, layers[name])[0]))
        else:
            given.append(relax.Var("integers", relax.TensorType(operands[1].ty.shape, "int8")))
        gained = saved(normalize(_of_integers(value, *given)))
        if gained <= 0:
            tell_all(names, "integers are not faster for it")
            continue
        candidates[var] = Candidate(names, reading, gained)
    return _settled(known, named, candidates, planned, _readers(graph.bindings), cost, tell_all)


def _asked(var: Var, value: Expr, layers: Mapping[str, WeightBits], products: Collection[str]) -> tuple[str, ...]:
    """The names of the layer, or of the product of two activations, that a binding is, if it may be quantized.

    There are several of layers that compute the same.
    """
    names = split(var.name)
    if is_attention(value):  # the last of its names is that of the product with the values
        return tuple(each for each in names[:-1] if each in products)
    if not calls(value, *PRODUCTS):
        return ()
    return tuple(each for each in names if each in layers or (each in products and calls(value, "matmul")))


def _why_float(value: Call, weights: Array | None, *, of_layer: bool) -> str:
    """Why a layer cannot be one of integers; "" if it can."""
    if of_layer and weights is None:
        return "its weights are no constant"
    if weights is not None and calls(value, "matmul") and weights.ndim != 2:
        return "its weights are several matrices"
    return ""


def _of_integers(value: Call, left: Expr, right: Expr) -> Expr:
    """The call as it is with operands of integers."""
    if is_attention(value):
        return attention([left, right, *list(value.args)[2:]], scale=1.0, nan_is_zero=False)
    return product_of(value, left, right)


def _settled(
    known: Mapping[Var, Expr],
    named: Mapping[Var, Activation],
    candidates: Mapping[Var, Candidate],
    planned: Mapping[Var, Layer],
    readers: Mapping[Var, list[Var]],
    cost: Callable[[Expr, int], float],
    tell: Callable[[Sequence[str], str], None],
) -> Plan:
    plan = Plan()

    def price(source: Var, integers: Collection[Var]) -> float:
        return cost(source, sum(1 for reader in readers.get(source, ()) if reader not in integers))

    chosen, prices = worthwhile(candidates, price)
    for var, candidate in candidates.items():
        if var not in chosen:
            spent = sum(prices[each] for each in candidate.sources)
            gained = sum(each.saved for each in candidates.values() if set(each.sources) & set(candidate.sources))
            tell(candidate.names, f"it would save {gained:.0f} cycles, and conversions would cost {spent:.0f}")
            continue
        tell(candidate.names, "")
        for source in candidate.sources:
            plan.tensors.update(_quantized_with(source, known, named))
        if var in planned:
            plan.layers[var] = planned[var]
    return plan


def _readers(bindings: tuple[Binding, ...]) -> dict[Var, list[Var]]:
    """Who reads a tensor, of what only moves it those that read that, too."""
    readers: dict[Var, list[Var]] = {}
    for var, value in reversed(bindings):
        behind = readers.get(var, []) if is_move(value) else []
        for leaf in set(leaves(value)):
            found = readers.setdefault(leaf, [])
            found += [each for each in behind or [var] if each not in found]
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
