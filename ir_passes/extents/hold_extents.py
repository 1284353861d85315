"""A model for its largest sizes becomes one for all: what is not there of a tensor is kept out of what is."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from types import MappingProxyType
from typing import Any, TypeAlias

import numpy as np
import tvm
from tvm import relax

from ...annotations import EXTENTS
from ...errors import ShapeError
from ...ir_types import Call, Expr, Type, Var
from ...sizes import Size, SizeExpr, dimensions_of, parse_size, smallest
from ..core.base import GraphPass, PassResult
from ..core.constants import constant
from ..core.functions import joined, split
from ..core.graph import MAIN, Binding, Graph, remove_dead
from ..dialect.held import held
from ..dialect.sized import SIZE, SIZED
from ..dialect.within import within
from ..kernels.kernel_graph import renamed
from .bodies import CALLS
from .digits import Axis, Digit, Extents, bound_of, conditions, flat_conditions, of_sizes, varies, whole
from .rules import RULES
from .step import Step, operator_name, shape_of

# Of a tuple: those of its fields.
_Known: TypeAlias = "Extents | list[Any]"
_SIZE, _SIZED = (name.removeprefix("relax.") for name in (SIZE, SIZED))
# Where a tensor ends, a row a digit that varies: which size, step and bound of the place in memory (`flat_conditions`).
Stop: TypeAlias = list[tuple[int, int, int]]


@dataclass(frozen=True)
class HoldExtents(GraphPass):
    """Follow the sizes of the inputs through `main`, and mask what is not there wherever elements meet (`rules.py`).

    Tensors stay as large as at the bound. `main` gets a parameter, an int64 scalar, for each size that a mask or a loop
    depends on, and so do bodies of loops and branches, which are followed where they are called (`bodies.py`). The
    attribute `EXTENTS` of a function says what these are, how much there is of each output, and what is there of the
    results of the bindings, for `tell_extents`. Contract: what is there of the outputs is what the model computes for
    inputs of these sizes.

    Options:
        inputs: the sizes of each parameter of `main`.
        bounds: of the dimensions, by name.
        rooms: of parameters that states are, by their number: an axis, and how many it has room for.
    """

    inputs: Sequence[Sequence[Size]] = ()
    bounds: Mapping[str, int] = field(default_factory=lambda: MappingProxyType({}))
    rooms: Mapping[int, tuple[int, int]] = field(default_factory=lambda: MappingProxyType({}))

    def __call__(self, module: tvm.IRModule) -> PassResult:
        """Rewrite `main`, and the bodies that it calls."""
        parts = split(module)
        inputs = [of_sizes(sizes, self.bounds) for sizes in self.inputs]
        for number, (axis, room) in self.rooms.items():
            (digit,) = inputs[number][axis]
            inputs[number] = (*inputs[number][:axis], (Digit(room, digit.size),), *inputs[number][axis + 1 :])
        walk = Walk(parts, MAIN, inputs)
        outputs = walk.run()
        return PassResult(joined({MAIN: walk.written(outputs), **walk.bodies}), True)


@dataclass(frozen=True)
class Told:
    """What `EXTENTS` says.

    Attributes:
        inputs, bindings: where each parameter and the result of each binding ends, or what is put behind that, as far
            as somebody reads it.
        outputs: for each output and axis the bounds and sizes of its digits.
        sizes: those that are parameters of `main`, its last ones, as texts.
    """

    inputs: list[Stop]
    bindings: list[Stop]
    outputs: list[list[list[tuple[int, str]]]]
    sizes: list[str]

    @staticmethod
    def of(module: tvm.IRModule) -> Told | None:
        """What a module says; None where everything is static."""
        text = EXTENTS.of(module[MAIN])
        if text is None:
            return None
        told = json.loads(text)
        for name in ("inputs", "bindings"):
            told[name] = [[(size, step, bound) for size, step, bound in stop] for stop in told[name]]
        return Told(**told)


class Walk:
    """One pass over the bindings of a function.

    Attributes:
        sizes: the parameters that it gets, by the sizes that they are.
        bodies: the functions that it calls, as it leaves them, by name.
    """

    def __init__(self, parts: Mapping[str, tvm.IRModule], name: str, inputs: Sequence[Extents]) -> None:
        """Gets ready.

        Args:
            parts: each function as the `main` of a module of its own.
            name: of the function.
            inputs: the extents of its parameters.
        """
        self.parts = parts
        self.module = parts[name]
        self.graph = graph = Graph.read(self.module)
        self.bodies: dict[str, tvm.IRModule] = {}
        self.inputs = list(inputs)
        self.known: dict[Var, _Known] = dict(zip(graph.params, inputs, strict=True))
        self.sizes: dict[SizeExpr, Var] = {}
        self.bindings: list[Binding] = []
        self._normalize = relax.BlockBuilder().normalize
        self._filled: dict[tuple[Any, ...], Var] = {}
        self._reach: dict[Var, dict[int, int]] = {}
        self._own_ends: set[Var] = set()
        self._names: dict[Var, Expr] = {}
        self._made: dict[Expr, Expr] = {}
        self.dimensions = {
            each.name: each
            for sizes in inputs
            for axis in sizes
            for digit in axis
            for each in dimensions_of(digit.size)
        }

    def run(self) -> list[Extents]:
        """Follows the bindings, and gives the extents of the outputs."""
        for var, value in self.graph.bindings:
            value = renamed(value, self._names)
            if isinstance(value, tvm.ir.Call) and operator_name(value) == _SIZE:
                self._names[var] = self._number(str(value.attrs["text"]))
            elif isinstance(value, tvm.ir.Call) and operator_name(value) == _SIZED:
                (bound,) = shape_of(value.ty)
                extents = ((Digit(bound, parse_size(str(value.attrs["text"]), self.dimensions.values())),),)
                self._bind(var, self._normalize(relax.op.reshape(value.args[0], [bound])), extents)
            elif isinstance(value, tvm.ir.Call) and operator_name(value) in CALLS:
                self._bind(var, *CALLS[operator_name(value)](self, var, value))
            elif isinstance(value, tvm.ir.Call):
                self._call(var, value)
            else:
                self._bind(var, value, self._of(value))
        return [self.tensor(output) for output in self.graph.outputs]

    def inside(self, name: str, inputs: Sequence[Extents], sizes: Iterable[SizeExpr]) -> Walk:
        """What follows a function that this one calls: one that has these sizes as parameters already."""
        walk = Walk(self.parts, name, inputs)
        walk.dimensions = {**self.dimensions, **walk.dimensions}
        for size in sizes:
            walk.scalar(size)
        return walk

    def written(self, outputs: Sequence[Extents]) -> tvm.IRModule:
        """The function as it is then, and what its attribute says, as a module of its own."""
        bindings = remove_dead(self.bindings, self.graph.outputs)
        told = Told(
            inputs=[self.stop(each) for each in self.inputs],
            bindings=[self.stop_of(var) for var, _ in bindings],
            outputs=[[[(digit.bound, str(digit.size)) for digit in axis] for axis in each] for each in outputs],
            sizes=[str(size) for size in self.sizes],  # the last: some were met just now
        )
        params = (*self.graph.params, *self.sizes.values())
        module = replace(self.graph, params=params, bindings=tuple(bindings)).write(self.module)
        module.update_func(module.get_global_var(MAIN), EXTENTS.on(module[MAIN], json.dumps(asdict(told))))
        return module

    def stop_of(self, var: Var) -> Stop:
        """Where the result of a binding ends; of what has a value behind it, how far that is read."""
        known = self.known[var]
        if var in self._own_ends:
            return []
        if var not in self._reach or not isinstance(known, tuple):
            return self.stop(known)
        reach = self._reach[var]
        read: list[Axis] = []
        for place, axis in enumerate(known):
            if not varies(axis):
                read.append(axis)
            elif place not in reach:
                read.append(whole([bound_of(axis)])[0])
            else:
                read.append(tuple(Digit(digit.bound, digit.size + reach[place]) for digit in axis))
        return self.stop(tuple(read))

    def stop(self, known: _Known) -> Stop:
        """Where a tensor ends."""
        rows = flat_conditions(known) if isinstance(known, tuple) else []
        for *_, size in rows:
            self.scalar(size)
        places = {size: place for place, size in enumerate(self.sizes)}
        return [(places[size], step, bound) for step, bound, size in rows if isinstance(size, SizeExpr)]

    def _call(self, var: Var, call: Call) -> None:
        step = self._step(var, call)
        rule = RULES.get(step.name)
        if not step.varying():
            self._bind(var, call, _all_of(call.ty))
            return
        if rule is None:
            raise step.refused("it has no rule for that")
        found = rule(step)
        self._check(step, found if isinstance(found, tuple) else ())
        arguments = list(call.args)
        for place in step.fills:
            arguments[place] = self._fill(arguments[place], step, place, var)
            self._read(arguments[place], step.reaches[place])
        hint = str(var.name)
        if step.own_end:
            self._own_ends.add(var)
        if step.instead is not None:
            sizes = [self._size(size) for size in step.sizes]
            value = step.instead([*arguments, *sizes], lambda each, known=None: self._emit(each, hint, known))
        elif step.fills:
            value = tvm.ir.Call(call.op, arguments, call.attrs, list(call.ty_args))
        else:
            value = call
        if value.ty.is_missing():
            value = self._normalize(value)
        several = isinstance(call.ty, relax.TupleType)
        known: _Known = list(found) if several else found  # type: ignore[assignment]  # of one result: its axes
        self._bind(var, value, known)

    def _step(self, var: Var, call: Call) -> Step:
        operands: list[Extents] = []
        fields: dict[int, list[Extents]] = {}
        for place, argument in enumerate(call.args):
            known = self._of(argument)
            operands.append(known if isinstance(known, tuple) else ())
            if isinstance(known, list):
                fields[place] = known
        name = operator_name(call)
        function = self.module[call.args[0]] if name == "call_tir" else None
        return Step(call, name, str(var.name), operands, fields, self._made.get, function=function)

    def _check(self, step: Step, found: tuple[Any, ...]) -> None:
        """Whether all sizes of a result are possible at the lower ends of the ranges."""
        several = isinstance(step.call.ty, relax.TupleType)
        for extents in found if several else (found,):
            for axis in extents:
                if any(isinstance(digit.size, SizeExpr) and smallest(digit.size) < 1 for digit in axis):
                    raise ShapeError(
                        f"at the lower end of a range nothing is left for the operator {step.name}",
                        where=f"node '{step.node}'",
                        hint="begin the range of --range later",
                    )

    def _bind(self, var: Var, value: Expr, known: _Known) -> None:
        self.bindings.append((var, value))
        self.known[var] = known
        self._made[var] = value

    def _emit(self, value: Expr, hint: str, known: Extents | None = None) -> Var:
        value = self._normalize(value)
        var = relax.DataflowVar(hint, value.ty)
        self._bind(var, value, _all_of(value.ty) if known is None else known)
        return var

    def _fill(self, operand: Expr, step: Step, place: int, var: Var) -> Expr:
        """An operand with a value where it is not there."""
        extents, fill, in_sum = step.operands[place], step.fills[place], place in step.in_sums
        key = (operand, fill, in_sum, *(step.reaches[place] if fill is None else ()))
        if key not in self._filled:
            rows = conditions(extents)
            if fill is None:
                rows = [row for row in rows if step.reaches[place].get(row[0])]
            sizes = [self.scalar(size) for *_, size in rows]
            if fill is None:
                call = held(operand, [axis for axis, *_ in rows], sizes)
            else:
                call = within(operand, [row[:3] for row in rows], sizes, fill, in_sum=in_sum)
            filled = self._emit(call, str(operand.name) if isinstance(operand, relax.Var) else str(var.name))
            self.known[filled] = extents
            self._filled[key] = filled
        return self._filled[key]

    def _size(self, size: Size) -> Expr:
        """A size as an int64 scalar."""
        return constant(np.array(size, np.int64)) if isinstance(size, int) else self.scalar(size)

    def _number(self, text: str) -> Expr:
        """What a size is by its text."""
        return self.scalar(parse_size(text, self.dimensions.values()))

    def _read(self, filled: Var, reach: dict[int, int]) -> None:
        """One more reads what was put behind an end: as far as the one who reads farthest."""
        known = self._reach.setdefault(filled, dict(reach))
        for axis in list(known):
            if axis in reach:
                known[axis] = max(known[axis], reach[axis])
            else:
                del known[axis]

    def scalar(self, size: Size) -> Var:
        """The parameter of `main` that a size is."""
        assert isinstance(size, SizeExpr)
        if size not in self.sizes:
            self.sizes[size] = relax.Var(f"size_{len(self.sizes)}", relax.TensorType([], "int64"))
            self.known[self.sizes[size]] = ()
        return self.sizes[size]

    def _of(self, value: Expr) -> _Known:
        if isinstance(value, relax.Var):
            return self.known[value]
        if isinstance(value, relax.Tuple):
            return [self._of(each) for each in value.fields]
        if isinstance(value, relax.TupleGetItem):
            items = self._of(value.tuple_value)
            assert isinstance(items, list)
            item: _Known = items[int(value.index)]
            return item
        return whole(shape_of(value.ty)) if isinstance(value, tvm.ir.GenericConst) else ()

    def tensor(self, value: Expr) -> Extents:
        """What there is of a tensor."""
        known = self._of(value)
        assert isinstance(known, tuple)
        return known

    def size_of(self, value: Expr) -> Size | None:
        """The size that a scalar is; None of one that is none."""
        return next((size for size, scalar in self.sizes.items() if scalar.same_as(value)), None)


def _all_of(ty: Type) -> _Known:
    """A value that is there throughout."""
    if isinstance(ty, relax.TupleType):
        return [_all_of(each) for each in ty.fields]
    return whole(shape_of(ty)) if isinstance(ty, relax.TensorType) else ()
