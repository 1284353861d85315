"""Loops that are recurrent layers: TensorFlow's exporter, and whoever writes RNN, GRU or LSTM as a Loop or a Scan.

A body is one if its next states are those of a cell, of an element of a sequence that is the turn's own, and of
matrices that are known. Then the input of all steps is one product, and the steps are one kernel, as for ONNX's own
operators; a loop of the library would call each of a dozen kernels again and again.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from tvm import relax

from ...ir_passes.core.constants import Array
from ...ir_passes.core.graph import Expr
from ...ir_passes.dialect.recurrent import GRU, LSTM, RNN, Activation, Layer, recurrent
from .cell_values import CellValues, Function, Product, Rest, Source, Sum, Value
from .followed import Followed
from .node import Node, shape_of


@dataclass(frozen=True)
class Cell:
    """What a turn computes.

    Attributes:
        layer: of one direction.
        states: h and, of an LSTM, c: their places in what is carried.
        sequence: (steps, batch, input), a parameter of the body.
        inputs: (input, gates * hidden) and `bias` (gates * hidden), of what is computed for all steps together.
        weights: (gates * hidden, hidden), of the state.
        bias_of_state: (hidden), of a GRU with `reset_after`.
    """

    layer: Layer
    states: tuple[int, ...]
    sequence: Expr
    inputs: Array
    bias: Array
    weights: Array
    bias_of_state: Array | None = None


def steps_of(cell: Cell, sequence: Expr, initial: Sequence[Expr], node: Node) -> list[Expr]:
    """All steps of a cell: h of every step (steps, batch, hidden), and the last states (batch, hidden).

    Args:
        sequence: that of the cell, where the loop stands.
        initial: the states before the first step.
    """
    steps, batch, size = shape_of(sequence)
    columns, hidden = cell.weights.shape
    rows = node.emit(relax.op.matmul(node.reshape(sequence, (steps * batch, size)), node.emit(cell.inputs)))
    rows = node.emit(relax.op.add(rows, node.emit(cell.bias)))
    operands = [node.emit(node.reshape(rows, (steps, batch, columns))), node.emit(cell.weights[None])]
    if cell.bias_of_state is not None:
        operands.append(node.emit(cell.bias_of_state[None]))
    operands += [node.emit(node.reshape(state, (1, batch, hidden))) for state in initial]
    made = node.emit(recurrent(cell.layer, operands))
    every, *last = (node.emit(relax.TupleGetItem(made, place)) for place in range(len(made.ty.fields)))
    shapes = [(steps, batch, hidden), *[(batch, hidden)] * len(last)]
    return [node.emit(node.reshape(each, shape)) for each, shape in zip((every, *last), shapes, strict=True)]


@dataclass(frozen=True)
class _Gate:
    """x W + h R + bias, and what becomes of it."""

    function: str
    terms: tuple[tuple[Value, Array], ...]
    bias: Array

    @property
    def sources(self) -> tuple[Value, ...]:
        """What is multiplied."""
        return tuple(value for value, _ in self.terms)


@dataclass(frozen=True)
class _Found:
    """A cell's gates in ONNX's order, what each reads as the state, and its functions in ONNX's order."""

    kind: str
    states: tuple[int, ...]
    gates: tuple[_Gate, ...]
    functions: tuple[str, ...]
    of_state: tuple[Value, ...]  # for each gate
    reset_after: bool = False
    bias_of_state: Array | None = None


def cell_of(loop: Followed, carried: int, first: int) -> Cell | None:
    """The cell that the body of a loop is, or None.

    Args:
        loop: its turns.
        carried: how many values go from turn to turn.
        first: the place of the first of them among the body's results.
    """
    _, *parameters = loop.graph.params
    moving = [place for place in range(carried) if place not in loop.last]
    values = CellValues(loop.graph, {parameters[place]: place for place in moving})
    nexts = {place: values.of(loop.graph.outputs[first + place]) for place in moving}
    for read in (_lstm, _gru, _rnn):
        found = read(nexts)
        if found is not None:
            return _assembled(found, loop)
    return None


def _rnn(nexts: dict[int, Value | None]) -> _Found | None:
    """h = f(x W + h R + b)."""
    if len(nexts) != 1:
        return None
    ((place, value),) = nexts.items()
    gate = _gate(value)
    state = _state(gate, place)
    if gate is None or state is None:
        return None
    return _Found(RNN, (place,), (gate,), (gate.function,), (state,))


def _gru(nexts: dict[int, Value | None]) -> _Found | None:
    """h = z h + (1 - z) c."""
    if len(nexts) != 1:
        return None
    ((place, value),) = nexts.items()
    for kept, new in _orders(_addends(value)):
        for update, h in _orders(_factors(kept)):
            if not isinstance(h, Source) or h.state != place:
                continue
            for rest, candidate in _orders(_factors(new)):
                if isinstance(rest, Rest) and rest.of is update:
                    found = _gru_of(place, h, _gate(update), candidate)
                    if found is not None:
                        return found
    return None


def _gru_of(place: int, h: Source, update: _Gate | None, candidate: Value) -> _Found | None:
    """The cell of an update gate and a candidate, in which the reset gate multiplies h or its product."""
    if update is None or not isinstance(candidate, Function) or not isinstance(candidate.of, Sum):
        return None
    inner = candidate.of
    inside = _gate(candidate)
    if inside is not None:  # g(x W + (r h) R + b)
        for value in inside.sources:
            for reset, state in _orders(_factors(value)):
                gate = _gate(reset)
                if state is h and gate is not None and gate.function == update.function:
                    functions = (update.function, candidate.name)
                    return _Found(GRU, (place,), (update, gate, inside), functions, (h, h, value))
        return None
    if len(inner.others) != 1:
        return None
    for reset, product in _orders(_factors(inner.others[0])):  # g(x W + b + r (h R + b))
        gate = _gate(reset)
        if gate is None or gate.function != update.function or not isinstance(product, Sum) or product.others:
            continue
        if [value for value, _ in product.terms] == [h]:
            both = _Gate(candidate.name, (*inner.terms, *product.terms), inner.bias)
            functions = (update.function, candidate.name)
            return _Found(GRU, (place,), (update, gate, both), functions, (h, h, h), True, product.bias)
    return None


def _lstm(nexts: dict[int, Value | None]) -> _Found | None:
    """c = f c + i g, h = o k(c)."""
    if len(nexts) != 2:
        return None
    for at_h, at_c in _orders(tuple(nexts)):
        cell = nexts[at_c]
        for out, squashed in _orders(_factors(nexts[at_h])):
            if not isinstance(squashed, Function) or squashed.of is not cell:
                continue
            for kept, new in _orders(_addends(cell)):
                for forget, state in _orders(_factors(kept)):
                    if not isinstance(state, Source) or state.state != at_c:
                        continue
                    for begin, candidate in _orders(_factors(new)):
                        gates = [_gate(each) for each in (begin, out, forget, candidate)]
                        known = tuple(gate for gate in gates if gate is not None)
                        reads = tuple(h for gate in known if (h := _state(gate, at_h)) is not None)
                        same = {gate.function for gate in known[:3]}
                        if len(reads) == 4 and len(same) == 1 and not isinstance(begin, Rest):
                            functions = (known[0].function, known[3].function, squashed.name)
                            return _Found(LSTM, (at_h, at_c), known, functions, reads)
    return None


T = TypeVar("T")


def _orders(pair: Sequence[T]) -> Iterator[tuple[T, T]]:
    """Both orders of two; nothing of anything else."""
    if len(pair) == 2:
        yield pair[0], pair[1]
        yield pair[1], pair[0]


def _factors(value: Value | None) -> tuple[Value, ...]:
    return value.factors if isinstance(value, Product) else ()


def _addends(value: Value | None) -> tuple[Value, ...]:
    plain = isinstance(value, Sum) and not value.terms and not value.bias.any()
    return value.others if isinstance(value, Sum) and plain else ()


def _gate(value: Value | None) -> _Gate | None:
    """A function of rows times matrices and a bias."""
    if isinstance(value, Function) and isinstance(value.of, Sum) and value.of.terms and not value.of.others:
        return _Gate(value.name, value.of.terms, value.of.bias)
    return None


def _state(gate: _Gate | None, place: int) -> Source | None:
    """The state that a gate reads."""
    found = [] if gate is None else [each for each in gate.sources if isinstance(each, Source) and each.state == place]
    return found[0] if len(found) == 1 else None


def _assembled(found: _Found, loop: Followed) -> Cell | None:
    """The matrices of all gates side by side, if what else they read is one sequence, an element a turn in order."""
    elements: list[Source] = []
    inputs, weights = [], []
    hidden = found.gates[0].bias.size
    for gate, state in zip(found.gates, found.of_state, strict=True):
        of_input, of_state = [], []
        for value, matrix in gate.terms:
            if value is state:
                of_state.append(matrix)
            elif isinstance(value, Source) and value.sequence is not None:
                elements.append(value)
                of_input.append(matrix)
            else:
                return None
        if len(of_input) != 1 or len(of_state) != 1 or of_state[0].shape != (hidden, hidden):
            return None
        inputs.append(of_input[0])
        weights.append(of_state[0].T)
    sequence = _in_order(elements, loop)
    if sequence is None:
        return None
    layer = Layer(
        found.kind,
        (False,),
        (tuple(Activation(name) for name in found.functions),),
        reset_after=found.reset_after,
    )
    bias = np.concatenate([gate.bias for gate in found.gates])
    both = np.concatenate(inputs, 1), np.concatenate(weights)
    return Cell(layer, found.states, sequence, both[0], bias, both[1], found.bias_of_state)


def _in_order(elements: Sequence[Source], loop: Followed) -> Expr | None:
    """The sequence whose first element the first turn reads, and so on to the last of both."""
    sequences = [each.sequence for each in elements if each.sequence is not None]
    sequence = sequences[0][0]
    if any(each is not sequence and not each.same_as(sequence) for each, _ in sequences):
        return None
    turns = len(loop.turns)
    for _, place in sequences:
        read = loop.values(place)
        if read is None or shape_of(sequence)[0] != turns or [int(each) for each in read] != list(range(turns)):
            return None
    return sequence
