"""The kernel of a recurrent layer, statement by statement; `recurrent.py` shows the loop nest."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial

from tvm import s_tir, tirx
from tvm.s_tir import Schedule

from ...annotations import ANCHOR, FLOPS, WHOLE
from ...ir_passes.dialect.recurrent import LSTM
from ...ir_types import Buffer, PrimFunc, Scalar, Stmt
from ...targets.target import Target
from ...tensorir_statements import int64, load, loop, sequence, store, tensor, variables, whole
from .recurrent import PANELS, SEQUENCES, TEMPLATE, Recurrence, RecurrentChoice, packed_shape, panels_of
from .recurrent_cells import Phase, phases

# States of which the step before left one, and the step makes another; the others live within a step.
_CARRIED = ("h", "c")


def schedule_kernel(sch: Schedule, choice: RecurrentChoice, target: Target) -> None:
    """Nothing: the loops are those of the choice already."""


def compute(workload: Recurrence, choice: RecurrentChoice, target: Target) -> PrimFunc:
    """The PrimFunc of all steps.

    Its parameters are the operator's operands, weights packed, and its results, in the same order.
    """
    return _Kernel(workload, choice).function()


class _Kernel:
    """The buffers of a kernel, and the loops around its panels."""

    def __init__(self, workload: Recurrence, choice: RecurrentChoice) -> None:
        layer, sizes = workload.layer, (workload.directions, workload.batch, workload.hidden)
        directions, batch, hidden = sizes
        self.workload, self.choice, self.layer = workload, choice, layer
        names = ("h", "c") if layer.kind == LSTM else ("h",)

        def of_kind(shape: Sequence[int], name: str) -> Buffer:
            return tensor(shape, workload.dtype, name)

        self.projected = of_kind((workload.steps, batch, directions * layer.gates * hidden), "projected")
        self.weights = of_kind(packed_shape(workload, choice), "weights")
        self.bias = of_kind((directions, hidden), "bias") if layer.reset_after else None
        self.lengths = tensor((batch,), "int32", "lengths") if layer.lengths else None
        self.initial = {name: of_kind(sizes, f"initial_{name}") for name in names}
        self.peepholes = of_kind((directions, 3 * hidden), "peepholes") if layer.peepholes else None
        self.every = of_kind((workload.steps, *sizes), "every")
        self.last = {name: of_kind(sizes, f"last_{name}") for name in names}
        made = dict.fromkeys(name for each in phases(layer, 0) for name in each.leaves)
        self.states = {name: of_kind((directions, 2, batch, hidden), name) for name in made}

    def function(self) -> PrimFunc:
        """Everything."""
        optional = (self.bias, self.lengths, *self.initial.values(), self.peepholes)
        reads = [self.projected, self.weights, *(each for each in optional if each is not None)]
        writes = [self.every, *self.last.values()]
        body = s_tir.SBlock(
            [],
            [whole(each) for each in reads],
            [whole(each) for each in writes],
            TEMPLATE,
            self._sequences(),
            alloc_buffers=list(self.states.values()),
            annotations={**ANCHOR.entry(TEMPLATE), **FLOPS.entry(self._flops())},
        )
        root = s_tir.SBlock([], [], [], "root", s_tir.SBlockRealize([], True, body))
        attributes = {"tirx.noalias": True, "s_tir": True, **WHOLE.entry()}
        return tirx.PrimFunc([*reads, *writes], s_tir.SBlockRealize([], True, root)).with_attr(attributes)

    def _flops(self) -> int:
        """A multiplication and an addition each term of the products; one each gate, and three for the state."""
        workload, gates = self.workload, self.layer.gates
        cells = workload.directions * workload.steps * workload.batch * workload.hidden
        return cells * (2 * gates * workload.hidden + gates + 3)

    def _sequences(self) -> Stmt:
        """All sequences: so many rows of the batch at a time, and all of one direction before those of another."""
        blocks = self.workload.batch // self.choice.rows
        directions = range(self.workload.directions)

        def body(index: Scalar) -> list[Stmt]:
            direction, first_row = index // blocks, index % blocks * self.choice.rows
            if len(set(self.layer.activations)) == 1:
                return self._steps(0, direction, first_row)
            # Each direction has functions of its own, and so statements of its own.
            one, *others = (sequence(self._steps(each, int64(each), first_row)) for each in directions)
            return [tirx.IfThenElse(direction == 0, one, others[0])]

        parallel = self.choice.across == SEQUENCES and self.choice.threads > 1
        return loop(len(directions) * blocks, body, parallel=parallel)

    def _steps(self, functions: int, direction: Scalar, first_row: Scalar) -> list[Stmt]:
        """The initial state, all steps with the functions of a direction, and the last state."""
        cell = phases(self.layer, functions)
        rows = [first_row + row for row in range(self.choice.rows)]

        def begin(name: str, *place: Scalar) -> Stmt:
            return store(self.states[name], load(self.initial[name], direction, *place), direction, 0, *place)

        def end(name: str, *place: Scalar) -> Stmt:
            value = load(self.states[name], direction, self.workload.steps % 2, *place)
            return store(self.last[name], value, direction, *place)

        def moved(move: Callable[..., Stmt]) -> Stmt:
            def one(name: str, row: Scalar, first: Scalar, unit: Scalar) -> list[Stmt]:
                return [move(name, row, first + unit)]

            def panel(index: Scalar) -> list[Stmt]:
                places = [(name, row) for row in rows for name in self.initial]
                return [self.units(partial(one, *place, self.start(index))) for place in places]

            return loop(panels_of(self.workload, self.choice), panel)

        def step(index: Scalar) -> list[Stmt]:
            return [self._phase(phase, direction, rows, index) for phase in cell]

        return [moved(begin), loop(self.workload.steps, step), moved(end)]

    def _phase(self, phase: Phase, direction: Scalar, rows: Sequence[Scalar], step: Scalar) -> Stmt:
        """A product with a state and what becomes of it, panel by panel."""
        size = len(phase.gates) * len(rows) * self.choice.width

        def panel(index: Scalar) -> list[Stmt]:
            sums = variables(size, self.workload.dtype, "sums")
            tile = [
                _Row(self, phase, sums, direction, step, index, row, number * self.choice.width)
                for number, row in enumerate(rows)
            ]

            def term(k: Scalar) -> list[Stmt]:
                return [each.multiply(gate, k) for each in tile for gate in phase.gates]

            body = sequence(
                [
                    *(each.begin(gate) for each in tile for gate in phase.gates),
                    loop(self.workload.hidden, term),
                    *(each.finish() for each in tile),
                ]
            )
            if self.lengths is not None:
                body = tirx.IfThenElse(
                    tirx.any(*(each.goes_on() for each in tile)), body, _all(each.rest() for each in tile)
                )
            return [s_tir.SBlockRealize([], True, s_tir.SBlock([], [], [], "panel", body, alloc_buffers=[sums]))]

        parallel = self.choice.across == PANELS and self.choice.threads > 1
        return loop(panels_of(self.workload, self.choice), panel, parallel=parallel)

    def start(self, panel: Scalar) -> Scalar:
        """The first hidden unit of a panel."""
        width, hidden = self.choice.width, self.workload.hidden
        return panel * width if hidden % width == 0 else tirx.min(panel * width, int64(hidden - width))

    def units(self, body: Callable[[Scalar], list[Stmt]]) -> Stmt:
        """Statements for every hidden unit of a panel, each for whole registers."""
        lanes = self.choice.lanes

        def vector(index: Scalar) -> list[Stmt]:
            if lanes == 1:
                return body(index)
            # A loop over lanes for each statement.
            return [loop(lanes, one, vectorized=True) for one in _one_by_one(body, index * lanes)]

        return loop(self.choice.vectors, vector, unrolled=True)


def _all(statements: Iterable[Stmt | None]) -> Stmt | None:
    there = [each for each in statements if each is not None]
    return sequence(there) if there else None


def _one_by_one(body: Callable[[Scalar], list[Stmt]], first: Scalar) -> list[Callable[[Scalar], list[Stmt]]]:
    def one(place: int, lane: Scalar) -> list[Stmt]:
        return [body(first + lane)[place]]

    return [partial(one, place) for place in range(len(body(first)))]


@dataclass(frozen=True)
class _Row:
    """One sequence in a panel of a step.

    Attributes:
        row: of the batch.
        first_sum: where its sums begin among those of a gate.
    """

    kernel: _Kernel
    phase: Phase
    sums: Buffer
    direction: Scalar
    step: Scalar
    panel: Scalar
    row: Scalar
    first_sum: int

    def begin(self, gate: int) -> Stmt:
        """The input's part, or the bias of the state's."""

        def first(unit: Scalar) -> list[Stmt]:
            at = _Unit(self, unit)
            if gate == self.phase.from_bias:
                return [at.set_sum(gate, load(self.kernel.bias, self.direction, at.place))]
            return [at.set_sum(gate, at.projected(gate))]

        return self.kernel.units(first)

    def multiply(self, gate: int, k: Scalar) -> Stmt:
        """The product of an element of the state with the weights of a gate, added to its sums."""
        state = load(self.kernel.states[self.phase.state], *self.before(self.phase.state), k)

        def add(unit: Scalar) -> list[Stmt]:
            at = _Unit(self, unit)
            weight = load(self.kernel.weights, self.direction, self.panel, k, gate, unit)
            return [at.set_sum(gate, at.sum(gate) + state * weight)]

        return self.kernel.units(add)

    def finish(self) -> Stmt:
        """What becomes of the sums; behind the end of the sequence the state stays and the result is 0."""
        made, rest = self.kernel.units(lambda unit: self.phase.finish(_Unit(self, unit))), self.rest()
        return made if rest is None else tirx.IfThenElse(self.goes_on(), made, rest)

    def rest(self) -> Stmt | None:
        """What a step behind the end of the sequence leaves, if there is one, and something that the next one reads."""
        carried = [name for name in self.phase.leaves if name in _CARRIED]
        if self.kernel.lengths is None or not carried:
            return None

        def kept(unit: Scalar) -> list[Stmt]:
            at = _Unit(self, unit)
            zero = tirx.const(0, self.kernel.workload.dtype)
            return [*(at.keep(name) for name in carried), at.result(self.step, zero)]

        return self.kernel.units(kept)

    def goes_on(self) -> Scalar:
        """Whether the step is one of the sequence."""
        return self.step < self._end()

    def before(self, name: str) -> tuple[Scalar, ...]:
        """Where in the states' memory it stands, hidden unit apart: as the step, or the phase, before left it."""
        return self.direction, self.step % 2 if name in _CARRIED else int64(0), self.row

    def after(self, name: str) -> tuple[Scalar, ...]:
        """The same for what the step, or the phase, leaves."""
        return self.direction, (self.step + 1) % 2 if name in _CARRIED else int64(0), self.row

    def time(self) -> Scalar:
        """The place in the sequence."""
        backward, steps = self.kernel.layer.backward, self.kernel.workload.steps
        if not any(backward):
            return self.step
        last = int64(steps - 1) if self.kernel.lengths is None else tirx.max(self._end() - 1, int64(0))
        mirrored = last - self.step
        if self.kernel.lengths is not None:
            mirrored = tirx.max(mirrored, int64(0))
        return mirrored if all(backward) else tirx.Select(self.direction == 1, mirrored, self.step)

    def _end(self) -> Scalar:
        """Steps of the sequence."""
        return tirx.min(load(self.kernel.lengths, self.row).astype("int64"), int64(self.kernel.workload.steps))


@dataclass(frozen=True)
class _Unit:
    """A hidden unit of a row, counted from the panel's first; see `recurrent_cells.Place`."""

    of: _Row
    unit: Scalar

    @property
    def place(self) -> Scalar:
        """The hidden unit in the layer."""
        return self.of.kernel.start(self.of.panel) + self.unit

    def sum(self, gate: int) -> Scalar:
        return load(self.of.sums, self._register(gate))

    def set_sum(self, gate: int, value: Scalar) -> Stmt:
        return store(self.of.sums, value, self._register(gate))

    def _register(self, gate: int) -> Scalar:
        choice = self.of.kernel.choice
        return self.of.phase.gates.index(gate) * choice.rows * choice.width + self.of.first_sum + self.unit

    def projected(self, gate: int) -> Scalar:
        workload = self.of.kernel.workload
        column = (self.of.direction * workload.layer.gates + gate) * workload.hidden + self.place
        return load(self.of.kernel.projected, self.of.time(), self.of.row, column)

    def old(self, name: str) -> Scalar:
        return load(self.of.kernel.states[name], *self.of.before(name), self.place)

    def new(self, name: str, value: Scalar) -> Stmt:
        made = store(self.of.kernel.states[name], value, *self.of.after(name), self.place)
        if name != "h":
            return made
        left = load(self.of.kernel.states[name], *self.of.after(name), self.place)
        return sequence([made, self.result(self.of.time(), left)])

    def keep(self, name: str) -> Stmt:
        """Leaves a state as it is."""
        return store(self.of.kernel.states[name], self.old(name), *self.of.after(name), self.place)

    def result(self, time: Scalar, value: Scalar) -> Stmt:
        """Sets the result of a step."""
        return store(self.of.kernel.every, value, time, self.of.direction, self.of.row, self.place)

    def peephole(self, gate: int) -> Scalar:
        hidden = self.of.kernel.workload.hidden
        return load(self.of.kernel.peepholes, self.of.direction, gate * hidden + self.place)
