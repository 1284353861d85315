"""Loops that count: numbers that depend on nothing but the turn are followed from turn to turn, at import.

A loop over time often carries the time beside its states, and goes on while that is below a bound. Such a condition
is known, and so is how many turns there are; and which element of a sequence a turn takes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import tvm
from tvm import relax

from ...ir_passes.core.constants import Array, array_of
from ...ir_passes.core.graph import Expr, Graph, Var
from ...ir_passes.core.match import calls
from ...ir_passes.dialect.evaluation import evaluate, split_item

_MOST_TURNS = 1 << 14
_LARGEST = 16  # elements of what is followed: counters, not states


@dataclass(frozen=True)
class Followed:
    """A loop's turns.

    Attributes:
        graph: the body: its parameters are the turn, what is carried, what it captures.
        turns: for each the parameters that are known in it.
        last: what is known of what is carried, by its place, after the last turn.
    """

    graph: Graph
    turns: Sequence[Mapping[Var, Array]]
    last: Mapping[int, Array]

    def values(self, of: Expr) -> list[Array] | None:
        """What a value in the body is in each turn; None if that is not known."""
        definitions = dict(self.graph.bindings)
        found = [_Turn(definitions, known).value(of) for known in self.turns]
        values = [each for each in found if each is not None]
        return values if len(values) == len(found) else None


def followed(
    graph: Graph, first: Sequence[Array | None], *, conditional: bool, begins: Array | None, most: int | None
) -> Followed | None:
    """The turns of a loop, or None: they depend on what is not known, or are too many to follow.

    Args:
        graph: the body.
        first: what the first turn takes of what is carried, where that is known.
        conditional: whether the body's first result is whether there is a next turn.
        begins: whether there is a first one; None if that is not known.
        most: turns.
    """
    if begins is None or (most is None and not conditional):
        return None
    turn, *rest = graph.params
    carried, own = rest[: len(first)], int(conditional)
    nexts = graph.outputs[own : own + len(first)]
    counters = {place: value for place, value in enumerate(first) if value is not None and _counts(value)}
    definitions = dict(graph.bindings)
    while lost := [
        place
        for place in counters
        if not _depends_on(nexts[place], definitions, {turn, *(carried[each] for each in counters)})
    ]:
        counters = {place: value for place, value in counters.items() if place not in lost}
    turns: list[Mapping[Var, Array]] = []
    goes_on = bool(begins.all())
    while goes_on and (most is None or len(turns) < most):
        if len(turns) == _MOST_TURNS:
            return None
        known = {turn: np.asarray(len(turns), np.int64), **{carried[place]: each for place, each in counters.items()}}
        at = _Turn(definitions, known)
        turns.append(known)
        if conditional:
            condition = at.value(graph.outputs[0])
            if condition is None:
                return None
            goes_on = bool(condition.all())
        following = {place: at.value(nexts[place]) for place in counters}
        counters = {place: value for place, value in following.items() if value is not None}
    return Followed(graph, turns, counters)


def _counts(value: Array) -> bool:
    return value.size <= _LARGEST and value.dtype.kind in "iub"


def _depends_on(of: Expr, definitions: Mapping[Var, Expr], given: set[Var]) -> bool:
    """Whether a value depends on nothing but these parameters."""
    waiting, seen = [of], set()
    while waiting:
        each = waiting.pop()
        if not isinstance(each, relax.Var) or each in given or each in seen:
            continue
        if each not in definitions:
            return False
        seen.add(each)
        waiting += _operands(definitions[each])
    return True


@dataclass
class _Turn:
    """Values in one turn, computed as they are asked for."""

    definitions: Mapping[Var, Expr]
    known: Mapping[Var, Array]
    found: dict[Var, Array | None] = field(default_factory=dict)

    def value(self, of: Expr) -> Array | None:
        """The value of a leaf, or None."""
        if not isinstance(of, relax.Var):
            return array_of(of)
        if of in self.known:
            return self.known[of]
        if of not in self.found:
            made = self.definitions.get(of)
            self.found[of] = None if made is None else self._computed(made)
        return self.found[of]

    def _computed(self, made: Expr) -> Array | None:
        if isinstance(made, relax.TupleGetItem):
            parts = self.definitions.get(made.tuple_value)
            whole = self.value(parts.args[0]) if parts is not None and calls(parts, "split") else None
            return None if whole is None else split_item(parts, made.index, whole)
        if not isinstance(made, tvm.ir.Call) or not isinstance(made.op, tvm.ir.Op):
            return None
        operands = [self.value(each) for each in _operands(made)]
        values = [each for each in operands if each is not None]
        return evaluate(made, values) if len(values) == len(operands) else None


def _operands(made: Expr) -> list[Expr]:
    """The tensors that a binding's value reads."""
    if isinstance(made, relax.TupleGetItem):
        return [made.tuple_value]
    given = [field for each in made.args for field in (each.fields if isinstance(each, relax.Tuple) else [each])]
    return [each for each in given if isinstance(each.ty, relax.TensorType | relax.TupleType)]
