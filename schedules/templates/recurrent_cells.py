"""What the cells of recurrent layers do with their gates: a table of activations, and RNN, GRU and LSTM by them.

A cell is a list of phases, products with a state that follow one another in a step, and what is done with their sums.
All of it is element-wise in the hidden units, written for one vector of them.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Protocol

from tvm import tirx

from ... import hidden_floats as hidden
from ...ir_passes.dialect.recurrent import GRU, LSTM, RNN, Activation, Layer
from ...ir_types import Scalar, Stmt


def _number(x: Scalar, value: float) -> Scalar:
    return tirx.const(value, str(x.ty.dtype))


def _scaled(x: Scalar, alpha: float, beta: float) -> Scalar:
    return x * _number(x, alpha) + _number(x, beta)


def _hard_sigmoid(x: Scalar, alpha: float, beta: float) -> Scalar:
    return tirx.max(tirx.min(_scaled(x, alpha, beta), _number(x, 1)), _number(x, 0))


def _elu(x: Scalar, alpha: float, beta: float) -> Scalar:
    negative = _number(x, alpha) * hidden.function("expm1", tirx.min(x, _number(x, 0)))
    return tirx.Select(x < _number(x, 0), negative, x)


def _softsign(x: Scalar, alpha: float, beta: float) -> Scalar:
    return x / (_number(x, 1) + tirx.max(x, _number(x, 0) - x))


# ONNX's functions for recurrent layers, of a float and the two parameters.
FUNCTIONS: Mapping[str, Callable[[Scalar, float, float], Scalar]] = MappingProxyType(
    {
        "affine": _scaled,
        "elu": _elu,
        "hardsigmoid": _hard_sigmoid,
        "leakyrelu": lambda x, alpha, beta: hidden.leaky_relu(x, _number(x, alpha)),
        "relu": lambda x, alpha, beta: tirx.max(x, _number(x, 0)),
        "scaledtanh": lambda x, alpha, beta: _number(x, alpha) * hidden.function("tanh", x * _number(x, beta)),
        "sigmoid": lambda x, alpha, beta: hidden.function("sigmoid", x),
        "softplus": lambda x, alpha, beta: hidden.function("softplus", x),
        "softsign": _softsign,
        "tanh": lambda x, alpha, beta: hidden.function("tanh", x),
        "thresholdedrelu": lambda x, alpha, beta: tirx.Select(x > _number(x, alpha), x, _number(x, 0)),
    }
)


class Place(Protocol):
    """Memory of one vector of hidden units of a sequence, in a step."""

    def sum(self, gate: int) -> Scalar:
        """What stands in the register of a gate."""

    def set_sum(self, gate: int, value: Scalar) -> Stmt:
        """Puts something else there."""

    def projected(self, gate: int) -> Scalar:
        """The part of the input."""

    def old(self, name: str) -> Scalar:
        """What the step before left: of `h`, of `c`; or the phase before: of `z`, of `reset`."""

    def new(self, name: str, value: Scalar) -> Stmt:
        """What this step, or this phase, leaves."""

    def peephole(self, gate: int) -> Scalar:
        """A weight of the peepholes, in their order."""


@dataclass(frozen=True)
class Phase:
    """A product with a state and what becomes of it.

    Attributes:
        gates: whose sums it takes, by their place in ONNX's order.
        state: what is multiplied, as `Place.old` names it.
        from_bias: the gate whose sum starts with the state's bias instead of the input's part; -1: none.
        finish: the statements for one vector.
        leaves: what it makes, as `Place.new` names it.
    """

    gates: tuple[int, ...]
    state: str
    finish: Callable[[Place], list[Stmt]]
    leaves: tuple[str, ...]
    from_bias: int = -1


def phases(layer: Layer, direction: int) -> list[Phase]:
    """The phases of a step in a direction."""
    functions = [_clipped(each, layer.clip) for each in layer.activations[direction][:2]]
    # As ONNX Runtime has it, an LSTM's c goes unclipped into the last function.
    functions += [_clipped(each, math.inf) for each in layer.activations[direction][2:]]
    return _CELLS[layer.kind](layer, functions)


_Function = Callable[[Scalar], Scalar]


def _clipped(activation: Activation, limit: float) -> _Function:
    def apply(x: Scalar) -> Scalar:
        if math.isfinite(limit):
            x = tirx.max(tirx.min(x, _number(x, limit)), _number(x, -limit))
        return FUNCTIONS[activation.name](x, activation.alpha, activation.beta)

    return apply


def _rnn(layer: Layer, functions: list[_Function]) -> list[Phase]:
    return [Phase((0,), "h", lambda at: [at.new("h", functions[0](at.sum(0)))], ("h",))]


def _gru(layer: Layer, functions: list[_Function]) -> list[Phase]:
    f, g = functions
    update, reset, new = range(3)

    def mixed(at: Place, z: Scalar) -> Stmt:
        return at.new("h", (_number(z, 1) - z) * at.sum(new) + z * at.old("h"))

    def together(at: Place) -> list[Stmt]:
        return [
            at.set_sum(update, f(at.sum(update))),
            at.set_sum(reset, f(at.sum(reset))),
            at.set_sum(new, g(at.projected(new) + at.sum(reset) * at.sum(new))),
            mixed(at, at.sum(update)),
        ]

    def gates(at: Place) -> list[Stmt]:
        return [at.new("z", f(at.sum(update))), at.new("reset", f(at.sum(reset)) * at.old("h"))]

    def candidate(at: Place) -> list[Stmt]:
        return [at.set_sum(new, g(at.sum(new))), mixed(at, at.old("z"))]

    if layer.reset_after:
        return [Phase((update, reset, new), "h", together, ("h",), from_bias=new)]
    return [Phase((update, reset), "h", gates, ("z", "reset")), Phase((new,), "reset", candidate, ("h",))]


def _lstm(layer: Layer, functions: list[_Function]) -> list[Phase]:
    f, g, h = functions
    into, out, forget, cell = range(4)
    peep_in, peep_out, peep_forget = range(3)

    def with_peephole(at: Place, gate: int, peephole: int, state: Scalar) -> Scalar:
        return at.sum(gate) + at.peephole(peephole) * state if layer.peepholes else at.sum(gate)

    def finish(at: Place) -> list[Stmt]:
        kept = (
            _number(at.sum(into), 1) - at.sum(into)
            if layer.coupled
            else f(with_peephole(at, forget, peep_forget, at.old("c")))
        )
        return [
            at.set_sum(into, f(with_peephole(at, into, peep_in, at.old("c")))),
            at.set_sum(forget, kept),
            at.set_sum(cell, g(at.sum(cell))),
            at.set_sum(cell, at.sum(forget) * at.old("c") + at.sum(into) * at.sum(cell)),
            at.new("c", at.sum(cell)),
            at.set_sum(out, f(with_peephole(at, out, peep_out, at.sum(cell)))),
            at.new("h", at.sum(out) * h(at.sum(cell))),
        ]

    return [Phase((into, out, forget, cell), "h", finish, ("c", "h"))]


_CELLS: Mapping[str, Callable[[Layer, list[_Function]], list[Phase]]] = MappingProxyType(
    {RNN: _rnn, GRU: _gru, LSTM: _lstm}
)
