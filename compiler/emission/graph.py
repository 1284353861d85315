"""Reads `main` of a module after fusion: which kernels it calls, on what; and the bodies of its loops and branches.

The functions consist of call_tir, reshape, tuples, their items, and calls of `dialect/control_flow`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any

import tvm
from tvm import relax, tirx

from ...errors import CompilerError
from ...failures import failing_in
from ...ir_passes.dialect.control_flow import BRANCH, LOOP, branch_of, loop_of
from ...ir_types import Binding, Call, Expr, IRModule, Type, Var
from ...sizes import Dimension
from ..library.plan import Buffer, BufferKind, Bytes, Constants, align, new_buffer
from ..library.tensor_spec import StateSpec, TensorSpec
from . import graph_bodies
from .graph_steps import GraphBranch, GraphCall, GraphCopy, GraphLoop, GraphStep, calls_of, live, reading

MAIN = "main"
_COUNTER_BYTES = 8  # of an int64_t


@dataclass(frozen=True)
class Graph:
    """`main` without Relax: the steps that matter, in order, and the buffers between them (lifetimes still open).

    `results` holds, for every output of the model, the buffer whose contents it is; `dimensions` what sizes depend on;
    `states` the inputs that outputs replace, which are no outputs then; `uses` the buffer of each constant of `main`,
    in the order in which they stand there.
    """

    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    steps: tuple[GraphStep, ...]
    buffers: tuple[Buffer, ...]
    results: tuple[int, ...]
    constants: Constants
    dimensions: tuple[Dimension, ...] = ()
    states: tuple[StateSpec, ...] = ()
    uses: tuple[int, ...] = ()

    @property
    def calls(self) -> tuple[GraphCall, ...]:
        """The calls of kernels, in the order in which they stand."""
        return tuple(calls_of(self.steps))

    @property
    def functions(self) -> tuple[str, ...]:
        """The functions called, each once, in the order of first use."""
        return tuple(dict.fromkeys(call.function for call in self.calls))


def read_graph(
    module: IRModule,
    output_names: Sequence[str],
    input_names: Sequence[str] | None = None,
    dtypes: Mapping[str, str] = MappingProxyType({}),
    extents: Mapping[str, str] = MappingProxyType({}),
) -> Graph:
    """Walks `main`.

    Args:
        module: the IRModule after fusion.
        output_names: names of the outputs, in order.
        input_names: names of the inputs, in order; by default the name hints of the parameters.
        dtypes: of inputs and outputs by name whose elements are bytes in `main`: the dtype they are of.
        extents: of outputs by name whose size depends on data: the output that says what it is.

    Raises:
        CompilerError: `main` holds something that fusion should have removed.
    """
    graph = _Walk(module).read(output_names, input_names)
    inputs, outputs = (
        tuple(
            replace(spec, dtype=dtypes.get(spec.name, spec.dtype), extents=extents.get(spec.name, "")) for spec in specs
        )
        for specs in (graph.inputs, graph.outputs)
    )
    return replace(graph, inputs=inputs, outputs=outputs)


# A Relax value while walking: a buffer, or a tuple of values.
_Value = int | tuple[Any, ...]


class _Walk:
    """One pass over the bindings of `main` and of the bodies in it, filling in buffers, constants and steps."""

    def __init__(self, module: IRModule) -> None:
        self.module = module
        self.buffers: list[Buffer] = []
        self.steps: list[GraphStep] = []
        self.values: dict[Var, _Value] = {}
        self.contents: dict[bytes, int] = {}
        self.uses: list[int] = []
        self.constant_bytes: Bytes = 0

    def read(self, output_names: Sequence[str], input_names: Sequence[str] | None) -> Graph:
        main = self.module[MAIN]
        names = [str(p.name) for p in main.params] if input_names is None else list(input_names)
        if len(names) != len(main.params):
            raise CompilerError(f"main has {len(main.params)} parameters, but {len(names)} input names were given")
        inputs = tuple(_spec(name, p.ty) for name, p in zip(names, main.params, strict=True))
        for position, (parameter, spec) in enumerate(zip(main.params, inputs, strict=True)):
            self.values[parameter] = self.add(new_buffer(BufferKind.INPUT, spec.nbytes, offset=position))
        results = self.walk(main)
        types = _leaf_types(main.body.body.ty)
        if len(results) != len(output_names):
            raise CompilerError(f"main has {len(results)} results, but {len(output_names)} output names were given")
        outputs = tuple(_spec(name, ty) for name, ty in zip(output_names, types, strict=True))
        empty = {index for index, buffer in enumerate(self.buffers) if not buffer.bytes}
        steps = live(self.steps, results, empty)
        buffers, uses = tuple(self.buffers), tuple(self.uses)
        return Graph(inputs, outputs, steps, buffers, results, self.constants(), uses=uses)

    def walk(self, function: Expr) -> tuple[int, ...]:
        """Adds the steps of a function whose parameters are known; the buffers of its results."""
        for block in function.body.blocks:
            for binding in block.bindings:
                with _reading(binding):
                    self.values[binding.var] = self.bind(binding)
        return _leaves(self.value(function.body.body))

    def body(self, name: str, operands: Sequence[int]) -> tuple[list[GraphStep], tuple[int, ...]]:
        """The steps of the body of a loop or a branch, apart, and the buffers of its results."""
        function = self.module[name]
        self.values.update(zip(function.params, operands, strict=True))
        outside, self.steps = self.steps, []
        results = self.walk(function)
        inside, self.steps = self.steps, outside
        return inside, results

    def add(self, buffer: Buffer) -> int:
        self.buffers.append(buffer)
        return len(self.buffers) - 1

    def bind(self, binding: Binding) -> _Value:
        value = binding.value
        if isinstance(value, relax.Call):
            operator = str(getattr(value.op, "name", value.op))
            if operator == "relax.call_tir":
                return self.call(binding.var, value)
            if operator == "relax.call_tir_inplace":
                return self.call_inplace(binding.var, value)
            if operator == BRANCH:
                return self.branch(binding.var, value)
            if operator == LOOP:
                return self.loop(binding.var, value)
            if operator == "relax.reshape":
                return self.value(value.args[0])
            raise CompilerError(f"operator {operator} is left in main after fusion")
        return self.value(value)

    def call(self, var: Var, call: Call) -> _Value:
        function = str(call.args[0].name_hint)
        if len(call.args) != 2 or not isinstance(self.module[function], tirx.PrimFunc):
            raise CompilerError(f"call_tir of {function!r} is not a plain call of a PrimFunc")
        inputs = _leaves(tuple(self.value(argument) for argument in call.args[1].fields))
        specs = [_spec(_hint(var), ty) for ty in _leaf_types(var.ty)]
        outputs = tuple(self.add(new_buffer(BufferKind.WORKSPACE, spec.nbytes)) for spec in specs)
        parameters = len(self.module[function].params)
        if parameters != len(inputs) + len(outputs):
            raise CompilerError(
                f"{function!r} has {parameters} parameters, but is called with {len(inputs) + len(outputs)} tensors"
            )
        self.steps.append(GraphCall(function, inputs, outputs, _sources(var)))
        return outputs if isinstance(var.ty, relax.TupleType) else outputs[0]

    def call_inplace(self, var: Var, call: Call) -> _Value:
        """A kernel that writes a part of its last operand: the rest of it stays."""
        operands = _leaves(tuple(self.value(argument) for argument in call.args[1].fields))
        if [int(index) for index in call.attrs.inplace_indices] != [len(operands) - 1]:
            raise CompilerError("a kernel works in place on other than its last operand")
        self.steps.append(GraphCall(str(call.args[0].name_hint), operands[:-1], operands[-1:], _sources(var)))
        return operands[-1]

    def like(self, index: int) -> int:
        """A new buffer of the size of another."""
        return self.add(new_buffer(BufferKind.WORKSPACE, self.buffers[index].bytes))

    def room_for(self, ty: Type) -> int:
        """A new buffer for a tensor."""
        return self.add(new_buffer(BufferKind.WORKSPACE, _spec("", ty).nbytes))

    def branch(self, var: Var, call: Call) -> _Value:
        """Both branches leave their results in the same buffers."""
        parts = branch_of(call)
        (condition,) = _leaves(self.value(parts.condition))
        captures = [leaf for each in parts.captures for leaf in _leaves(self.value(each))]
        places = tuple(self.room_for(ty) for ty in _leaf_types(var.ty))
        sides = []
        for name in (parts.then, parts.otherwise):
            inside, results = self.body(name, captures)
            sides.append(graph_bodies.branch_of(inside, results, places, self.buffers, _sources(var)))
        self.steps.append(GraphBranch(condition, sides[0], sides[1]))
        return places

    def loop(self, var: Var, call: Call) -> _Value:
        """A buffer for each state, which the condition is too, and for the slices of all turns."""
        parts, sources = loop_of(call), _sources(var)
        begin = [*([] if parts.condition is None else [parts.condition]), *parts.carried]
        first = [leaf for each in begin for leaf in _leaves(self.value(each))]
        states = [self.like(each) for each in first]
        self.steps += [GraphCopy(source, state, sources) for source, state in zip(first, states, strict=True)]
        captures = [leaf for each in parts.captures for leaf in _leaves(self.value(each))]
        counter = self.add(new_buffer(BufferKind.WORKSPACE, _COUNTER_BYTES))
        carried = states[len(states) - len(parts.carried) :]
        inside, results = self.body(parts.body, [counter, *carried, *captures])
        slices = results[len(states) :]
        stacked = tuple(self.room_for(ty) for ty in _leaf_types(var.ty)[len(carried) :])
        kept = [GraphCopy(each, together, sources, counter) for each, together in zip(slices, stacked, strict=True)]
        body = graph_bodies.turn_of(inside, states, results[: len(states)], kept, self.buffers, self.like, sources)
        condition = None if parts.condition is None else states[0]
        if isinstance(parts.count, tvm.ir.GenericConst):
            self.steps.append(GraphLoop(body, counter, int(parts.count.value.numpy()), None, condition))
        else:
            (counted,) = _leaves(self.value(parts.count))
            self.steps.append(GraphLoop(body, counter, 0, counted, condition))
        return (*carried, *stacked)

    def value(self, expr: Expr) -> _Value:
        if isinstance(expr, relax.Var):
            return self.values[expr]
        if isinstance(expr, relax.Tuple):
            return tuple(self.value(field) for field in expr.fields)
        if isinstance(expr, relax.TupleGetItem):
            items = self.value(expr.tuple_value)
            assert isinstance(items, tuple)
            item: _Value = items[int(expr.index)]
            return item
        if isinstance(expr, tvm.ir.GenericConst):
            return self.constant(expr)
        raise CompilerError(f"{type(expr).__name__} is left in main after fusion")

    def constant(self, expr: Expr) -> int:
        contents = expr.value.numpy().tobytes()
        if contents not in self.contents:
            self.contents[contents] = self.add(
                new_buffer(BufferKind.CONSTANT, len(contents), offset=self.constant_bytes)
            )
            self.constant_bytes += align(len(contents))
        self.uses.append(self.contents[contents])
        return self.contents[contents]

    def constants(self) -> Constants:
        return Constants(tuple(self.contents), tuple(self.buffers[i].offset for i in self.contents.values()))


def _reading(binding: Binding) -> AbstractContextManager[None]:
    """A block that reads a binding, and names its kernel where that fails, or else what it is called."""
    call = binding.value
    if isinstance(call, relax.Call) and call.args and isinstance(call.args[0], tvm.ir.GlobalVar):
        return reading(str(call.args[0].name_hint), _sources(binding.var))
    return failing_in(f"node '{_hint(binding.var)}'", "the graph cannot be read")


def _sources(var: Var) -> tuple[str, ...]:
    return tuple(dict.fromkeys(_hint(var).split("+")))


def _hint(var: Var) -> str:
    return str(var.name)


def _leaves(value: _Value) -> tuple[int, ...]:
    return (value,) if isinstance(value, int) else tuple(leaf for item in value for leaf in _leaves(item))


def _leaf_types(ty: Type) -> list[Type]:
    return [leaf for field in ty.fields for leaf in _leaf_types(field)] if isinstance(ty, relax.TupleType) else [ty]


def _spec(name: str, ty: Type) -> TensorSpec:
    shape = getattr(ty, "shape", None)
    if not isinstance(shape, relax.ShapeExpr) or not all(isinstance(d, tvm.tirx.IntImm) for d in shape.values):
        raise CompilerError(f"a tensor without a static shape is left in main: {ty}", where=name)
    return TensorSpec(name, tuple(int(d) for d in shape.values), str(ty.dtype))
