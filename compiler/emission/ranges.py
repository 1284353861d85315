"""One graph of several: that for the largest sizes, which runs for all, and those for sizes that get their own.

if the dimensions are those of a graph of its own:   its steps
else:   sizes are written where kernels read them
        inputs are spread out, to lie as they would at the largest sizes
        the steps
        what is there of the results is gathered
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import tvm

from ...errors import CompilerError
from ...ir_passes.extents.hold_extents import Told
from ...sizes import Dimension, Size, in_c, parse_size, value_of
from ..library.dimensions import at
from ..library.plan import Buffer, BufferKind, Constants, Equal, Fit, align, new_buffer
from ..library.tensor_spec import TensorSpec, element_bytes
from .graph import Graph, read_graph
from .graph_steps import GraphBranch, GraphCopy, GraphNumbers, GraphStep, calling, renamed, written_by
from .states import with_states

if TYPE_CHECKING:
    from ...frontends import ImportedModel
    from ...ir_types import IRModule

Values = tuple[tuple[Dimension, int], ...]
Digits = Sequence[Sequence[tuple[int, Size]]]  # of each axis: bounds and sizes


@dataclass(frozen=True)
class Ranged:
    """A model and what the passes made of it.

    Attributes:
        imported: the model for the largest sizes.
        module: its scheduled kernels.
        values: dimensions that are fixed.
        inputs: the sizes of each input; None where all are those of the module.
        bounds: the values that it was imported for.
        witnessed: for some values the shapes of all outputs, as the model has them.
    """

    imported: ImportedModel
    module: IRModule
    values: Values = ()
    inputs: Mapping[str, Sequence[Size]] | None = None
    bounds: Mapping[str, int] = field(default_factory=dict)
    witnessed: Sequence[tuple[Mapping[str, int], tuple[tuple[int, ...], ...]]] = ()


def graph_of_ranges(
    whole: Ranged, best: Sequence[Ranged], dimensions: Sequence[Dimension], pairs: Mapping[str, str]
) -> tuple[IRModule, Graph]:
    """The graph of all modules, and a module of all their kernels.

    Args:
        whole: the model for all sizes.
        best: for values that get a graph of their own.
        dimensions: what sizes depend on.
        pairs: outputs that inputs become, by the names of these.

    Raises:
        CompilerError: outputs have other sizes than the model's.
    """
    first = _read(whole, dimensions, pairs)
    kernels = dict(whole.module.functions.items())
    others: list[tuple[Values, _Part]] = []
    for number, each in enumerate(best):
        part = _read(each, dimensions, pairs)
        called = {name: f"best{number}_{name}" for name in part.graph.functions}
        kernels.update({tvm.ir.GlobalVar(new): each.module[name] for name, new in called.items()})
        steps = calling(part.graph.steps, called)
        others.append((each.values, replace(part, graph=replace(part.graph, steps=steps))))
    return tvm.IRModule(kernels), _joined(first, dimensions, others)


@dataclass(frozen=True)
class _Part:
    """A graph whose last inputs are sizes.

    Attributes:
        sizes: those.
        inputs: of each other input its axes.
        outputs: of each output its axes; no states.
    """

    graph: Graph
    sizes: tuple[Size, ...]
    inputs: tuple[Digits, ...]
    outputs: tuple[Digits, ...]


def _read(each: Ranged, dimensions: Sequence[Dimension], pairs: Mapping[str, str]) -> _Part:
    imported, told = each.imported, Told.of(each.module)
    texts = [] if told is None else told.sizes
    names = [*imported.input_names, *(f"size {text}" for text in texts)]
    graph = read_graph(each.module, imported.output_names, names, imported.dtypes)
    specs = graph.inputs[: len(imported.input_names)]
    inputs: list[Digits] = []
    for spec in specs:
        sizes: Sequence[Size] = spec.shape if each.inputs is None else each.inputs[spec.name]
        inputs.append([[(value_of(size, each.bounds), size)] for size in sizes])
    outputs: list[Digits] = [[[(extent, extent)] for extent in spec.shape] for spec in graph.outputs]
    if told is not None:
        outputs = [[[(n, parse_size(text, dimensions)) for n, text in axis] for axis in axes] for axes in told.outputs]
    found = [_with_sizes(spec, axes) for spec, axes in zip(graph.outputs, outputs, strict=True)]
    _check(found, dimensions, each.witnessed)
    graph = with_states(replace(graph, outputs=tuple(found)), pairs)
    states = set(pairs.values())
    kept = [axes for spec, axes in zip(found, outputs, strict=True) if spec.name not in states]
    said = dict(zip(imported.input_names, inputs, strict=True))
    before = [
        _with_sizes(replace(state.before, shape=_bounds(said[state.before.name])), said[state.before.name])
        for state in graph.states
    ]
    graph = replace(
        graph,
        states=tuple(replace(state, before=spec) for state, spec in zip(graph.states, before, strict=True)),
    )
    return _Part(graph, tuple(parse_size(text, dimensions) for text in texts), tuple(inputs), tuple(kept))


def _check(outputs: Sequence[TensorSpec], dimensions: Sequence[Dimension], witnessed: Sequence[Any]) -> None:
    for values, shapes in witnessed:
        found = tuple(at(spec, dimensions, values).shape for spec in outputs)
        if found != shapes:
            raise CompilerError(
                "outputs have other sizes than the model's",
                where=", ".join(f"{name}={value}" for name, value in values.items()),
                details=[f"{found}, and the model's are {shapes}"],
            )


def _joined(whole: _Part, dimensions: Sequence[Dimension], others: Sequence[tuple[Values, _Part]]) -> Graph:
    join = _Join(whole)
    graph, states = whole.graph, {state.before.name for state in whole.graph.states}
    specs = [
        spec if spec.name in states else _with_sizes(spec, axes)
        for spec, axes in zip(graph.inputs, whole.inputs, strict=False)
    ]
    places = [join.add(new_buffer(BufferKind.WORKSPACE, spec.nbytes)) for spec in graph.outputs]
    steps = join.moved(whole, {}, places)
    for values, other in reversed(others):
        steps = (GraphBranch(Equal(values), join.moved(other, join.names_of(other), places), steps),)
    return Graph(
        tuple(specs),
        graph.outputs,
        steps,
        tuple(join.buffers),
        tuple(places),
        join.constants(),
        tuple(dimensions),
        graph.states,
        tuple(join.uses),
    )


class _Join:
    """The buffers of all graphs, contents of constants once."""

    def __init__(self, whole: _Part) -> None:
        graph = whole.graph
        self.buffers: list[Buffer] = list(graph.buffers)
        self.uses = list(graph.uses)
        self._contents = dict(zip(graph.constants.contents, _constants_of(graph), strict=True))
        self._constant_bytes = sum(align(len(contents)) for contents in self._contents)
        self._callers = _inputs_of(graph)[: len(whole.inputs)]

    def add(self, buffer: Buffer) -> int:
        """The place of a new buffer."""
        self.buffers.append(buffer)
        return len(self.buffers) - 1

    def names_of(self, part: _Part) -> dict[int, int]:
        """Where the buffers of another graph are among those of all: contents and the caller's tensors once."""
        graph = part.graph
        names = dict(zip(_inputs_of(graph), self._callers, strict=False))
        for contents, index in zip(graph.constants.contents, _constants_of(graph), strict=True):
            if contents not in self._contents:
                self._contents[contents] = self.add(
                    new_buffer(BufferKind.CONSTANT, len(contents), offset=self._constant_bytes)
                )
                self._constant_bytes += align(len(contents))
            names[index] = self._contents[contents]
        self.uses += [names[use] for use in graph.uses]
        for index, buffer in enumerate(graph.buffers):
            if index not in names:
                names[index] = self.add(buffer)
        return names

    def moved(self, part: _Part, names: Mapping[int, int], places: Sequence[int]) -> tuple[GraphStep, ...]:
        """The steps of a graph on buffers of all: sizes are written and inputs spread out before; results in places."""
        graph, names = part.graph, dict(names)
        inputs = _inputs_of(graph)
        sizes = inputs[len(part.inputs) :]
        begin: list[GraphStep] = []
        if sizes:  # which are nobody's inputs
            for index in sizes:
                names[index] = self.add(new_buffer(BufferKind.WORKSPACE, graph.buffers[index].bytes))
            begin.append(GraphNumbers(tuple(names[index] for index in sizes), part.sizes))
        states = {state.before.name for state in graph.states}
        for index, caller, spec, axes in zip(inputs, self._callers, graph.inputs, part.inputs, strict=False):
            if spec.name not in states and _varies(axes):
                names[index] = self.add(new_buffer(BufferKind.WORKSPACE, spec.nbytes))
                begin.append(GraphCopy(caller, names[index], (spec.name,), fit=_fit(axes, spec.dtype, spread=True)))
        written = {each for step in graph.steps for each in written_by(step)}
        end: list[GraphStep] = []
        for result, place, spec, axes in zip(graph.results, places, graph.outputs, part.outputs, strict=True):
            ours = graph.buffers[result].kind is BufferKind.WORKSPACE and result in written
            if ours and not _varies(axes) and names.get(result) not in places:
                names[result] = place  # the kernel writes the caller's memory itself
            elif spec.nbytes:
                fit = _fit(axes, spec.dtype, spread=False) if _varies(axes) else None
                end.append(GraphCopy(names.get(result, result), place, (spec.name,), fit=fit))
        return (*begin, *renamed(graph.steps, names), *end)

    def constants(self) -> Constants:
        """The contents of all graphs."""
        return Constants(tuple(self._contents), tuple(self.buffers[i].offset for i in self._contents.values()))


def _inputs_of(graph: Graph) -> list[int]:
    found = [index for index, buffer in enumerate(graph.buffers) if buffer.kind is BufferKind.INPUT]
    return sorted(found, key=lambda index: graph.buffers[index].offset)


def _constants_of(graph: Graph) -> list[int]:
    found = [index for index, buffer in enumerate(graph.buffers) if buffer.kind is BufferKind.CONSTANT]
    return sorted(found, key=lambda index: graph.buffers[index].offset)


def _varies(axes: Digits) -> bool:
    return any(not isinstance(size, int) for axis in axes for _, size in axis)


def _bounds(axes: Digits) -> tuple[int, ...]:
    return tuple(math.prod(bound for bound, _ in axis) for axis in axes)


def _with_sizes(spec: TensorSpec, axes: Digits) -> TensorSpec:
    return replace(spec, sizes=tuple(in_c(_product(axis), "") for axis in axes)) if _varies(axes) else spec


def _product(axis: Sequence[tuple[int, Size]]) -> Size:
    size: Size = 1
    for _, each in axis:
        size = each * size
    return size


def _fit(axes: Digits, dtype: str, *, spread: bool) -> Fit:
    """How a tensor lies, all behind the last digit that varies as one element."""
    element = element_bytes(dtype)
    digits = [digit for axis in axes for digit in axis]
    while isinstance(digits[-1][1], int):
        element *= digits.pop()[0]
    bounds, sizes = zip(*digits, strict=True)
    return Fit(bounds, sizes, element, spread)
