"""The graphs among a node's attributes: in place, or as functions that branches and loops of the library call."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
import onnx_ir as ir
from tvm import relax

from ...errors import ModelError, TilewrightError
from ...ir_passes.core.constants import Array
from ...ir_passes.core.graph import Graph
from ...ir_passes.dialect import control_flow as control_flow
from ...ir_types import Type
from .bodies import Bodies, Body
from .deciding import advice
from .emitter import Expr
from .followed import Followed, followed
from .in_flight import Narrow
from .inner_graphs import LoopBody
from .node import Node, Value
from .recurrent_bodies import cell_of, steps_of
from .refusals import Refusals
from .scope import Missing, Scope
from .sequences import NO_TENSORS


class Walker(Protocol):
    """What an importer does for the graphs of its nodes."""

    bodies: Bodies
    refusals: Refusals
    keeps_loops: bool
    inputs: Collection[ir.Value]  # of the model

    def walk(self, graph: Iterable[ir.Node], outputs: Sequence[ir.Value], scope: Scope) -> None:
        """Converts the nodes that outputs depend on."""

    def value_of(self, value: ir.Value, scope: Scope) -> Value | Missing:
        """The meaning of a name."""


class _MissingNodesError(Exception):
    """A function cannot be made, as a node in it has no converter; that is recorded already."""


@dataclass(frozen=True)
class _Turn:
    """A turn of a loop while it is made; see `node.Inside`."""

    turn: Expr
    carried: tuple[Expr, ...]
    scope: Scope
    name: str

    def element(self, tensor: Value) -> Value:
        """That of the turn along the first axis of a tensor from outside."""
        inside = self.scope.as_expr(self.scope.capture(tensor))
        return self.scope.emitter.emit(relax.op.take(inside, self.turn, 0, mode="fast"), self.name)


@dataclass(frozen=True)
class _Turns:
    """The turns of a loop.

    Attributes:
        body: takes the turn and what is carried; gives whether there is a next one if `conditional`, what is carried
            on, and slices.
        first: what the first turn takes, and what is known of it.
        places: of what is carried, and of the slices, among the node's outputs.
        fixed: the other outputs: what stays as it is.
    """

    body: Body
    first: Sequence[Expr]
    known: Sequence[Array | None]
    places: Sequence[int]
    fixed: Mapping[int, Value]
    conditional: bool

    @property
    def states(self) -> Sequence[Type]:
        """The types of what goes on to the next turn."""
        return self.body.types[int(self.conditional) :][: len(self.first)]

    @property
    def slices(self) -> Sequence[Type]:
        """The types of what a turn gives away."""
        return self.body.types[int(self.conditional) + len(self.first) :]

    def followed(self, condition: Value | None, most: Expr | int | None) -> Followed | None:
        """The turns one by one, if there are at most so many and what decides on the next one is known."""
        begins = np.asarray(True) if condition is None else condition
        if isinstance(most, relax.Expr) or not isinstance(begins, np.ndarray):
            return None
        graph = Graph.read(self.body.module)
        return followed(graph, self.known, conditional=self.conditional, begins=begins, most=most)

    def unconditional(self) -> _Turns:
        """The same, where it is known how many turns there are."""
        return replace(self, body=self.body.without_results(int(self.conditional)), conditional=False)


@dataclass(frozen=True)
class NodeGraphs:
    """Those of one node; see `node.Graphs`."""

    walker: Walker
    node: Node
    scope: Scope

    @property
    def keeps_loops(self) -> bool:
        """Whether loops of few turns stay loops."""
        return self.walker.keeps_loops

    def nodes(self, attribute: str) -> int:
        """How many nodes a graph has."""
        return len(self._graph(attribute))

    def outputs(self, attribute: str) -> int:
        """How many outputs a graph has."""
        return len(self._graph(attribute).outputs)

    def refused(self) -> int:
        """How many nodes have been refused so far."""
        return len(self.walker.refusals)

    def forget(self, count: int) -> None:
        """Takes back what was refused since there were so many."""
        self.walker.refusals.forget(count)

    def inline(self, attribute: str, inputs: Sequence[Value]) -> list[Value]:
        """The outputs of a graph, its nodes converted in place."""
        self.scope.depth += 1
        results = self._results(attribute, inputs, self.scope)
        self.scope.depth -= 1
        return results

    def branch(self, condition: Expr, attributes: Sequence[str]) -> list[Value]:
        """The outputs of the first of two graphs if a condition is true when the model runs, else of the second."""
        try:
            sides = [self._side(name) for name in attributes]
        except _MissingNodesError:
            return [Missing()] * len(self.node.source.outputs)
        self._check_same("its branches give", sides[0].types, sides[1].types)
        captures = list(dict.fromkeys(each for side in sides for each in side.captures))
        names = [self.walker.bodies.name(side.taking(captures)) for side in sides]
        return self._items(control_flow.branch(names[0], names[1], condition, captures, sides[0].types))

    def _side(self, attribute: str) -> Body:
        def fill(scope: Scope) -> tuple[Sequence[Expr], Sequence[Expr]]:
            return (), [scope.as_expr(each) for each in self._filled(attribute, [], scope)]

        try:
            return self.walker.bodies.make(self.scope, fill)
        except ModelError as error:  # a runtime would meet it only if it took this branch
            error.details = (*error.details, f"it is in the '{attribute}' of node '{self.node.name}' (If)")
            error.hint = error.hint or self._decided("if the other branch is meant, ")
            raise

    def loop(self, body: LoopBody) -> list[Value]:
        """What the turns of a graph leave."""
        count, condition = body.count, body.condition
        self._check_tensors(body.carried)
        try:
            made = self._turns(body)
        except _MissingNodesError:
            return [Missing()] * len(self.node.source.outputs)
        turns = None if count is None else int(count.item()) if isinstance(count, np.ndarray) else count
        found = made.followed(condition, turns)
        if found is not None:
            made, turns = made.unconditional(), len(found.turns)
        if not made.conditional and turns is None:
            raise self.node.unsupported("it has no last turn", hint="give it a number of turns or a condition")
        self._check_same("it begins and goes on with", [each.ty for each in made.first], made.states)
        if made.slices and (made.conditional or not isinstance(turns, int)):
            raise self.node.unsupported(
                "how many turns it has, and so the size of what it collects, is only known when the model runs",
                hint="make the number of turns a constant and the condition true, or fix it with --bind",
            )
        turns = _ENDLESS if turns is None else turns
        stacked = [relax.TensorType([turns, *each.shape], str(each.dtype)) for each in made.slices]
        captures = list(made.body.captures)
        call = control_flow.loop(
            self.walker.bodies.name(made.body.taking(captures)),
            relax.const(np.asarray(turns, np.int64), "int64") if isinstance(turns, int) else turns,
            self.scope.as_expr(condition) if made.conditional else None,
            made.first,
            captures,
            [*made.states, *stacked],
        )
        return self._of_outputs(made, self._items(call))

    def layer(self, body: LoopBody) -> list[Value] | None:
        """As `loop`, of a graph that is the cell of a recurrent layer, all steps at once; None of any other."""
        count = body.count
        if isinstance(count, relax.Expr) or not any(each.op_type in _PRODUCTS for each in self._graph(body.attribute)):
            return None
        refused = self.refused()
        try:
            made = self._turns(body)
        except (TilewrightError, _MissingNodesError):  # which is met again where the loop is converted
            self.forget(refused)
            return None
        found = made.followed(body.condition, None if count is None else int(count.item()))
        cell = None if found is None else cell_of(found, len(made.first), int(made.conditional))
        outside = {inner: outer for outer, inner in made.body.captures.items()}
        if found is None or cell is None or cell.sequence not in outside:
            return None
        results = found.graph.outputs[int(made.conditional) :]
        h = results[cell.states[0]]
        if any(not each.same_as(h) for each in results[len(made.first) :]):
            return None
        initial = [made.first[place] for place in cell.states]
        every, *last = steps_of(cell, outside[cell.sequence], initial, self.node)
        states = {**found.last, **dict(zip(cell.states, last, strict=True))}
        return self._of_outputs(
            made, [*(states[place] for place in range(len(made.first))), *[every] * len(made.slices)]
        )

    def _turns(self, loop: LoopBody) -> _Turns:
        """The body of a loop as a function, of the first turn's types; what never changes it captures."""
        attribute, condition, carried = loop.attribute, loop.condition, loop.carried
        fixed = self._unchanged(attribute, len(carried), conditional=condition is not None)
        moving = [place for place in range(len(carried)) if place not in fixed]
        turn = relax.Var("turn", relax.TensorType([], "int64"))
        first = [self.scope.as_expr(carried[place]) for place in moving]
        parameters = {place: relax.Var(f"carried_{place}", each.ty) for place, each in zip(moving, first, strict=True)}
        conditional = condition is not None
        wanted = [index for index in range(len(carried), len(self.node.source.outputs)) if self.node.wants(index)]

        def fill(scope: Scope) -> tuple[Sequence[Expr], Sequence[Expr]]:
            nonlocal conditional
            taken = [
                scope.capture(value) if place in fixed else parameters[place] for place, value in enumerate(carried)
            ]
            results = self._filled(attribute, loop.inputs(_Turn(turn, tuple(taken), scope, self.node.name)), scope)
            if condition is not None:
                following, *results = results
                conditional = not (_is_true(condition) and _is_true(following))  # else the next turn always follows
            goes_on = [following] if conditional else []
            kept = [*goes_on, *(results[index] for index in (*moving, *wanted))]
            return [turn, *parameters.values()], [scope.as_expr(each) for each in kept]

        body = self.walker.bodies.make(self.scope, fill)
        known = [carried[place] if isinstance(carried[place], np.ndarray) else None for place in moving]
        return _Turns(body, first, known, [*moving, *wanted], {place: carried[place] for place in fixed}, conditional)

    def _unchanged(self, attribute: str, carried: int, *, conditional: bool) -> set[int]:
        """Which of what goes from turn to turn is what it was: weights of layers in the loops of TensorFlow."""
        graph = self._graph(attribute)
        given, results = graph.inputs[2 * conditional :], graph.outputs[int(conditional) :]
        pairs = zip(range(carried), given, results, strict=False)
        return {place for place, value, result in pairs if _origin(result) is value}

    def _of_outputs(self, made: _Turns, items: Sequence[Value]) -> list[Value]:
        """What a loop gives, by the node's outputs: slices that nobody wants are not made."""
        found = {**made.fixed, **dict(zip(made.places, items, strict=True))}
        return [found.get(index, Missing()) for index in range(len(self.node.source.outputs))]

    def _items(self, call: Expr) -> list[Value]:
        made = self.node.emit(call)
        return [self.node.emit(relax.TupleGetItem(made, index)) for index in range(len(made.ty.fields))]

    def _graph(self, attribute: str) -> ir.Graph:
        if attribute not in self.node.attributes:
            raise self.node.invalid(f"it has no '{attribute}'")
        return self.node.attributes[attribute].as_graph()

    def _results(self, attribute: str, inputs: Sequence[Value], scope: Scope) -> list[Value]:
        graph = self._graph(attribute)
        if len(inputs) != len(graph.inputs):
            raise self.node.invalid(f"its '{attribute}' takes {len(graph.inputs)} inputs, and is given {len(inputs)}")
        self.walker.bodies.count(len(graph), self.node.label, attribute)
        scope.values.update(zip(graph.inputs, inputs, strict=True))
        self.walker.walk(graph, graph.outputs, scope)
        return [self.walker.value_of(value, scope) for value in graph.outputs]

    def _filled(self, attribute: str, inputs: Sequence[Value], scope: Scope) -> list[Value]:
        """The results of a graph that is a function."""
        results = self._results(attribute, inputs, scope)
        if any(isinstance(each, Missing) for each in results):
            raise _MissingNodesError
        self._check_tensors(results)
        return results

    def _check_tensors(self, values: Sequence[Value]) -> None:
        if any(isinstance(each, NO_TENSORS) for each in values):
            raise self.node.unsupported("sequences in what is decided when the model runs are not supported")
        narrow = next((each.dtype for each in values if isinstance(each, Narrow)), None)
        if narrow is not None:
            raise self.node.unsupported(f"{narrow} in what is decided when the model runs is not supported")

    def _check_same(self, what: str, first: Sequence[Type], second: Sequence[Type]) -> None:
        for one, other in zip(first, second, strict=True):
            if _described(one) != _described(other):
                raise self.node.unsupported(
                    f"{what} tensors of different types, {_described(one)} and {_described(other)}: "
                    "which it is, is only known when the model runs",
                    hint=self._decided() + ", or pad the smaller tensor",
                )

    def _decided(self, when: str = "") -> str:
        """How a condition becomes known."""
        condition = self.node.source.inputs[0] if self.node.op_type == "If" else None
        sides = ("then_branch", "else_branch")
        known = None if condition is None else advice(condition, self.walker.inputs, self.node.opset, sides)
        return known or f"{when}fix the input that decides it with --bind"


_ENDLESS = (1 << 63) - 1
_PRODUCTS = frozenset({"MatMul", "Gemm"})


def _origin(value: ir.Value) -> ir.Value:
    """What a value is a copy of."""
    while (node := value.producer()) is not None and node.op_type == "Identity" and node.inputs[0] is not None:
        value = node.inputs[0]
    return value


def _is_true(value: Value) -> bool:
    return isinstance(value, np.ndarray) and bool(value.all())


def _described(ty: Type) -> str:
    return f"{ty.dtype}[{', '.join(str(int(each)) for each in ty.shape)}]"
