"""One graph of several: that for the largest sizes, which runs for all, and those for sizes that get their own.

if the dimensions are those of a graph of its own:   its steps
else:   sizes are written where kernels read them
        inputs are spread out, to lie as they would at the largest sizes
        the steps
        what is there of the results is gathered
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import tvm

from ...errors import CompilerError
from ...ir_passes.extents.hold_extents import Told
from ...sizes import Dimension, Size, in_c, parse_size
from ..library.dimensions import at
from ..library.plan import Buffer, BufferKind, Constants, Equal, Fit, align, new_buffer
from ..library.tensor_spec import TensorSpec, element_bytes
from .graph import Graph, read_graph
from .graph_steps import GraphBranch, GraphCall, GraphCopy, GraphNumbers, GraphStep, renamed, written_by

if TYPE_CHECKING:
    from ...frontends import ImportedModel
    from ...ir_types import IRModule

Values = tuple[tuple[Dimension, int], ...]


def graph_of_ranges(
    imported: ImportedModel,
    module: IRModule,
    dimensions: Sequence[Dimension],
    inputs: Mapping[str, Sequence[Size]],
    witnessed: Sequence[tuple[Mapping[str, int], tuple[tuple[int, ...], ...]]],
    best: Sequence[tuple[Values, ImportedModel, IRModule]],
) -> tuple[IRModule, Graph]:
    """The graph of all modules, and a module of all their kernels.

    Args:
        imported, module: the model for the largest sizes, and what the passes made of it.
        dimensions: what sizes depend on.
        inputs: the sizes of each input.
        witnessed: for some values the shapes of all outputs, as the model has them.
        best: the same for values of all dimensions that get a graph of their own.

    Raises:
        CompilerError: outputs have other sizes than the model's.
    """
    told = Told.of(module)
    assert told is not None
    names = [*imported.input_names, *(f"size {text}" for text in told.sizes)]
    graph = read_graph(module, imported.output_names, names, imported.dtypes)
    kernels = dict(module.functions.items())
    others: list[tuple[Values, Graph]] = []
    for number, (values, model, its_module) in enumerate(best):
        each = read_graph(its_module, model.output_names, model.input_names, model.dtypes)
        called = {name: f"best{number}_{name}" for name in each.functions}
        kernels.update({tvm.ir.GlobalVar(new): its_module[name] for name, new in called.items()})
        steps = tuple(
            replace(call, function=called[call.function]) if isinstance(call, GraphCall) else call
            for call in each.steps
        )
        others.append((values, replace(each, steps=steps)))
    joined = _joined(graph, told, dimensions, inputs, others)
    for witness, shapes in witnessed:
        found = tuple(at(spec, dimensions, witness).shape for spec in joined.outputs)
        if found != shapes:
            raise CompilerError(
                "outputs have other sizes than the model's",
                where=", ".join(f"{name}={value}" for name, value in witness.items()),
                details=[f"{found}, and the model's are {shapes}"],
            )
    return tvm.IRModule(kernels), joined


def _joined(
    graph: Graph,
    told: Told,
    dimensions: Sequence[Dimension],
    inputs: Mapping[str, Sequence[Size]],
    others: Sequence[tuple[Values, Graph]],
) -> Graph:
    join = _Join(graph, [parse_size(text, dimensions) for text in told.sizes])
    specs = [_with_sizes(spec, inputs[spec.name]) for spec in join.inputs]
    digits = [
        [[(bound, parse_size(text, dimensions)) for bound, text in axis] for axis in axes] for axes in told.outputs
    ]
    outputs = [
        _with_sizes(spec, [_product(axis) for axis in axes]) for spec, axes in zip(graph.outputs, digits, strict=True)
    ]
    places = [join.add(new_buffer(BufferKind.WORKSPACE, spec.nbytes)) for spec in outputs]
    steps: tuple[GraphStep, ...] = (
        *join.numbers(),
        *join.spread(specs, inputs),
        *graph.steps,
        *_gathered(graph.results, places, outputs, digits),
    )
    for values, other in reversed(others):
        steps = (GraphBranch(Equal(values), join.moved(other, places, outputs), steps),)
    buffers, uses = tuple(join.buffers), tuple(join.uses)
    return Graph(tuple(specs), tuple(outputs), steps, buffers, tuple(places), join.constants(), tuple(dimensions), uses)


class _Join:
    """The buffers of all graphs, contents of constants once."""

    def __init__(self, graph: Graph, sizes: Sequence[Size]) -> None:
        self.sizes = list(sizes)
        self.inputs = graph.inputs[: len(graph.inputs) - len(sizes)]
        self.buffers: list[Buffer] = list(graph.buffers)
        self.uses = list(graph.uses)
        self._contents = dict(zip(graph.constants.contents, _constants_of(graph), strict=True))
        self._constant_bytes = sum(align(len(contents)) for contents in self._contents)
        self._inputs = _inputs_of(graph)
        self._callers = self._inputs[: len(self.inputs)]
        for position, index in enumerate(self._inputs):
            if position >= len(self.inputs):  # sizes are nobody's input
                self.buffers[index] = new_buffer(BufferKind.WORKSPACE, graph.buffers[index].bytes)

    def add(self, buffer: Buffer) -> int:
        """The place of a new buffer."""
        self.buffers.append(buffer)
        return len(self.buffers) - 1

    def numbers(self) -> list[GraphStep]:
        """The step that writes the sizes."""
        places = tuple(self._inputs[len(self.inputs) :])
        return [GraphNumbers(places, tuple(self.sizes))] if places else []

    def spread(self, specs: Sequence[TensorSpec], sizes: Mapping[str, Sequence[Size]]) -> list[GraphStep]:
        """Copies of the inputs that vary to where the graph reads them, as large as they can be."""
        steps: list[GraphStep] = []
        for position, spec in enumerate(specs):
            if spec.sizes:
                index = self._inputs[position]
                self._callers[position] = self.add(self.buffers[index])
                self.buffers[index] = new_buffer(BufferKind.WORKSPACE, spec.nbytes)
                axes = [[(bound, size)] for bound, size in zip(spec.shape, sizes[spec.name], strict=True)]
                fit = _fit(axes, spec.dtype, spread=True)
                steps.append(GraphCopy(self._callers[position], index, (spec.name,), fit=fit))
        return steps

    def moved(self, graph: Graph, places: Sequence[int], outputs: Sequence[TensorSpec]) -> tuple[GraphStep, ...]:
        """The steps of another graph on buffers of this one; its results in the places given."""
        names: dict[int, int] = dict(zip(_inputs_of(graph), self._callers, strict=True))
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
        written = {each for step in graph.steps for each in written_by(step)}
        copies: list[GraphStep] = []
        for result, place, spec in zip(graph.results, places, outputs, strict=True):
            is_own = result in written and graph.buffers[result].kind is BufferKind.WORKSPACE
            if is_own and names[result] not in places:
                names[result] = place  # the kernel writes the caller's memory itself
            elif graph.buffers[result].bytes:
                copies.append(GraphCopy(names[result], place, (spec.name,)))
        return (*renamed(graph.steps, names), *copies)

    def constants(self) -> Constants:
        """The contents of all graphs."""
        return Constants(tuple(self._contents), tuple(self.buffers[i].offset for i in self._contents.values()))


def _inputs_of(graph: Graph) -> list[int]:
    found = [index for index, buffer in enumerate(graph.buffers) if buffer.kind is BufferKind.INPUT]
    return sorted(found, key=lambda index: graph.buffers[index].offset)


def _constants_of(graph: Graph) -> list[int]:
    found = [index for index, buffer in enumerate(graph.buffers) if buffer.kind is BufferKind.CONSTANT]
    return sorted(found, key=lambda index: graph.buffers[index].offset)


def _with_sizes(spec: TensorSpec, sizes: Sequence[Size]) -> TensorSpec:
    varies = any(not isinstance(size, int) for size in sizes)
    return replace(spec, sizes=tuple(in_c(size, "") for size in sizes)) if varies else spec


def _product(axis: Sequence[tuple[int, Size]]) -> Size:
    size: Size = 1
    for _, each in axis:
        size = each * size
    return size


def _gathered(
    results: Sequence[int],
    places: Sequence[int],
    outputs: Sequence[TensorSpec],
    digits: Sequence[Sequence[Sequence[tuple[int, Size]]]],
) -> list[GraphStep]:
    return [
        GraphCopy(result, place, (spec.name,), fit=_fit(axes, spec.dtype, spread=False) if spec.sizes else None)
        for result, place, spec, axes in zip(results, places, outputs, digits, strict=True)
        if spec.nbytes
    ]


def _fit(axes: Sequence[Sequence[tuple[int, Size]]], dtype: str, *, spread: bool) -> Fit:
    """How a tensor lies, all behind the last digit that varies as one element."""
    element = element_bytes(dtype)
    digits = [digit for axis in axes for digit in axis]
    while isinstance(digits[-1][1], int):
        element *= digits.pop()[0]
    bounds, sizes = zip(*digits, strict=True)
    return Fit(bounds, sizes, element, spread)
