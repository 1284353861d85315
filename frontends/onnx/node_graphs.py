"""The graphs among a node's attributes: in place, or as functions that branches and loops of the library call."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import onnx_ir as ir
from tvm import relax

from ...errors import ModelError
from ...ir_passes.dialect import control_flow as control_flow
from ...ir_types import Type
from .bodies import Bodies, Body
from .emitter import Expr
from .in_flight import Narrow
from .inner_graphs import Inside
from .node import Node, Value
from .refusals import Refusals
from .scope import Missing, Scope
from .sequences import NO_TENSORS


class Walker(Protocol):
    """What an importer does for the graphs of its nodes."""

    bodies: Bodies
    refusals: Refusals
    keeps_loops: bool

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
            error.hint = error.hint or "if the other branch is meant, fix the input that decides with --bind"
            raise

    def loop(
        self,
        attribute: str,
        inputs: Callable[[Inside], Sequence[Value]],
        *,
        count: Value | None,
        condition: Value | None,
        carried: Sequence[Value],
    ) -> list[Value]:
        """What the turns of a graph leave."""
        turn = relax.Var("turn", relax.TensorType([], "int64"))
        self._check_tensors(carried)
        first = [self.scope.as_expr(value) for value in carried]
        parameters = [relax.Var(f"carried_{number}", each.ty) for number, each in enumerate(first)]
        decides = [condition]  # None where every turn is followed by the next
        wanted = [index for index in range(len(first), len(self.node.source.outputs)) if self.node.wants(index)]

        def fill(scope: Scope) -> tuple[Sequence[Expr], Sequence[Expr]]:
            given = inputs(_Turn(turn, tuple(parameters), scope, self.node.name))
            results = self._filled(attribute, given, scope)
            if condition is not None:
                following, *results = results
                if _is_true(condition) and _is_true(following):
                    decides[0] = None
            goes_on = [] if decides[0] is None else [following]
            kept = [*goes_on, *results[: len(first)], *(results[index] for index in wanted)]
            return [turn, *parameters], [scope.as_expr(each) for each in kept]

        try:
            body = self.walker.bodies.make(self.scope, fill)
        except _MissingNodesError:
            return [Missing()] * len(self.node.source.outputs)
        own = 0 if decides[0] is None else 1
        if not own and count is None:
            raise self.node.unsupported("it has no last turn", hint="give it a number of turns or a condition")
        states, slices = body.types[own : own + len(first)], body.types[own + len(first) :]
        self._check_same("it begins and goes on with", [each.ty for each in first], states)
        turns = int(count.item()) if isinstance(count, np.ndarray) else _ENDLESS if count is None else None
        if slices and (turns is None or turns == _ENDLESS or own):
            raise self.node.unsupported(
                "how many turns it has, and so the size of what it collects, is only known when the model runs",
                hint="make the number of turns a constant and the condition true, or fix it with --bind",
            )
        stacked = [relax.TensorType([turns, *each.shape], str(each.dtype)) for each in slices]
        captures = list(body.captures)
        call = control_flow.loop(
            self.walker.bodies.name(body.taking(captures)),
            count if turns is None else relax.const(np.asarray(turns, np.int64), "int64"),
            None if decides[0] is None else self.scope.as_expr(decides[0]),
            first,
            captures,
            [*states, *stacked],
        )
        items = self._items(call)
        found = dict(zip([*range(len(first)), *wanted], items, strict=True))
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
        self.walker.bodies.count(len(graph), self.node.label)
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
                    hint="fix the input that decides it with --bind, or pad the smaller tensor",
                )


_ENDLESS = (1 << 63) - 1


def _is_true(value: Value) -> bool:
    return isinstance(value, np.ndarray) and bool(value.all())


def _described(ty: Type) -> str:
    return f"{ty.dtype}[{', '.join(str(int(each)) for each in ty.shape)}]"
