"""What a converter may do with the graphs among a node's attributes: branches, and bodies of loops."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias

from .emitter import Expr

# A value in flight: known now (an array) or computed by the compiled model.
Value: TypeAlias = Any


@dataclass(frozen=True)
class LoopBody:
    """A graph that is the body of a loop, and what its turns take.

    Attributes:
        attribute: the graph's.
        inputs: the graph's inputs in a turn.
        count: how many turns there are at most.
        condition: whether there is a first one; then the graph's first output is whether there is a next one.
        carried: what the first turn takes.
    """

    attribute: str
    inputs: Callable[[Inside], Sequence[Value]]
    count: Value | None
    condition: Value | None
    carried: Sequence[Value]


class Graphs(Protocol):
    """The graphs among a node's attributes; what a graph gives may be missing (`scope.Missing`)."""

    @property
    def keeps_loops(self) -> bool:
        """Whether loops of few turns stay loops."""

    def nodes(self, attribute: str) -> int:
        """How many nodes a graph has."""

    def outputs(self, attribute: str) -> int:
        """How many outputs a graph has."""

    def refused(self) -> int:
        """How many nodes have been refused so far."""

    def forget(self, count: int) -> None:
        """Takes back what was refused since there were so many."""

    def inline(self, attribute: str, inputs: Sequence[Value]) -> list[Value]:
        """The outputs of a graph, its nodes converted in place."""

    def branch(self, condition: Expr, attributes: Sequence[str]) -> list[Value]:
        """The outputs of the first of two graphs if a condition is true when the model runs, else of the second."""

    def loop(self, body: LoopBody) -> list[Value]:
        """What the turns of a graph leave: the last of what each hands on to the next, and slices, stacked.

        Raises:
            UnsupportedError: what is handed on changes its type, or the size of a result depends on data.
        """

    def layer(self, body: LoopBody) -> list[Value] | None:
        """As `loop`, of a graph that is the cell of a recurrent layer, all steps at once; None of any other."""


class Inside(Protocol):
    """A turn of a loop while it is made."""

    @property
    def turn(self) -> Expr:
        """Its number."""

    @property
    def carried(self) -> Sequence[Expr]:
        """What it takes from the one before."""

    def element(self, tensor: Value) -> Value:
        """That of the turn along the first axis of a tensor from outside."""
