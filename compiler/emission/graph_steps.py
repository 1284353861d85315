"""What `main` does, without Relax: a tree of calls, copies, loops and branches on buffers, named by their indices."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from typing import TypeAlias

from ...failures import failing_in
from ...sizes import Size
from ..library.plan import Equal, Fit


@dataclass(frozen=True)
class GraphCall:
    """One call of a PrimFunc; `inputs` and `outputs` are indices into `Graph.buffers`."""

    function: str
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    sources: tuple[str, ...]


@dataclass(frozen=True)
class GraphCopy:
    """A copy of a buffer; of the slice that `turn` counts, in a destination of several, if there is one.

    With `fit` of what is there alone.
    """

    source: int
    destination: int
    sources: tuple[str, ...]
    turn: int | None = None
    fit: Fit | None = None


@dataclass(frozen=True)
class GraphNumbers:
    """Sizes, as they are when it runs, each in a buffer; see `plan.Numbers`."""

    destinations: tuple[int, ...]
    sizes: tuple[Size, ...]


@dataclass(frozen=True)
class GraphLoop:
    """Turns of `body`: so many as `count` says, or the int64 in the buffer `counted`; see `plan.Loop`."""

    body: tuple[GraphStep, ...]
    counter: int
    count: int = 0
    counted: int | None = None
    condition: int | None = None


@dataclass(frozen=True)
class GraphBranch:
    """Steps that run if the byte in a buffer is not 0, or dimensions have some values, and others that run if not."""

    condition: int | Equal
    then: tuple[GraphStep, ...]
    otherwise: tuple[GraphStep, ...]


GraphStep: TypeAlias = GraphCall | GraphCopy | GraphNumbers | GraphLoop | GraphBranch


def reading(function: str, sources: Sequence[str]) -> AbstractContextManager[None]:
    """A block that reads a kernel, and names it with the nodes that it computes where that fails."""
    return failing_in(f"kernel '{function}'", "a kernel cannot be read", nodes=lambda: sources)


def calls_of(steps: Sequence[GraphStep]) -> Iterator[GraphCall]:
    """The calls in a tree, in the order in which they stand."""
    for step in steps:
        if isinstance(step, GraphCall):
            yield step
        elif isinstance(step, GraphLoop):
            yield from calls_of(step.body)
        elif isinstance(step, GraphBranch):
            yield from calls_of((*step.then, *step.otherwise))


def read_by(step: GraphStep) -> set[int]:
    """The buffers that a step reads, those inside of it included."""
    if isinstance(step, GraphCall):
        return set(step.inputs)
    if isinstance(step, GraphCopy):
        return {step.source, *([] if step.turn is None else [step.turn])}
    if isinstance(step, GraphNumbers):
        return set()
    if isinstance(step, GraphLoop):
        decides = {each for each in (step.counted, step.condition) if each is not None}
        return decides.union(*(read_by(each) for each in step.body))
    condition = set() if isinstance(step.condition, Equal) else {step.condition}
    return condition.union(*(read_by(each) for each in (*step.then, *step.otherwise)))


def written_by(step: GraphStep) -> set[int]:
    """The buffers that a step writes, those inside of it included."""
    if isinstance(step, GraphCall):
        return set(step.outputs)
    if isinstance(step, GraphCopy):
        return {step.destination}
    if isinstance(step, GraphNumbers):
        return set(step.destinations)
    inside = step.body if isinstance(step, GraphLoop) else (*step.then, *step.otherwise)
    return set().union(*(written_by(each) for each in inside))


def renamed(steps: Sequence[GraphStep], names: Mapping[int, int]) -> tuple[GraphStep, ...]:
    """The steps on other buffers."""

    def one(index: int) -> int:
        return names.get(index, index)

    def maybe(index: int | None) -> int | None:
        return None if index is None else one(index)

    def step_of(step: GraphStep) -> GraphStep:
        if isinstance(step, GraphCall):
            inputs, outputs = (tuple(map(one, each)) for each in (step.inputs, step.outputs))
            return replace(step, inputs=inputs, outputs=outputs)
        if isinstance(step, GraphCopy):
            return replace(step, source=one(step.source), destination=one(step.destination), turn=maybe(step.turn))
        if isinstance(step, GraphNumbers):
            return replace(step, destinations=tuple(map(one, step.destinations)))
        if isinstance(step, GraphLoop):
            return replace(
                step,
                body=renamed(step.body, names),
                counter=one(step.counter),
                counted=maybe(step.counted),
                condition=maybe(step.condition),
            )
        condition = step.condition if isinstance(step.condition, Equal) else one(step.condition)
        return GraphBranch(condition, renamed(step.then, names), renamed(step.otherwise, names))

    return tuple(step_of(step) for step in steps)


def calling(steps: Sequence[GraphStep], names: Mapping[str, str]) -> tuple[GraphStep, ...]:
    """The steps with calls of other functions."""

    def step_of(step: GraphStep) -> GraphStep:
        if isinstance(step, GraphCall):
            return replace(step, function=names[step.function])
        if isinstance(step, GraphLoop):
            return replace(step, body=calling(step.body, names))
        if isinstance(step, GraphBranch):
            return replace(step, then=calling(step.then, names), otherwise=calling(step.otherwise, names))
        return step

    return tuple(step_of(step) for step in steps)


def live(steps: Sequence[GraphStep], results: Collection[int], empty: Collection[int]) -> tuple[GraphStep, ...]:
    """The steps whose results are read, in order; of loops and branches all or nothing.

    Args:
        results: buffers that are read afterwards.
        empty: buffers without elements, which nobody need write.
    """
    needed = set(results)
    kept: list[GraphStep] = []
    for step in reversed(steps):
        if (written_by(step) & needed).difference(empty):
            needed |= read_by(step)
            kept.append(step)
    return tuple(reversed(kept))
