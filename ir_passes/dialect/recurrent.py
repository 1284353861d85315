"""Our own Relax operator for recurrent layers: all steps of RNN, GRU or LSTM, behind the product with the input.

    relax.tilewright.recurrent(projected, weights, *rest)

with projected (steps, batch, directions * gates * hidden), the input times its weights and all biases that are added
to it, and weights (directions, gates * hidden, hidden), for the state. Gates have ONNX's order: RNN i; GRU z, r, h;
LSTM i, o, f, c. `rest` is, as far as the layer has it: `bias` (directions, hidden), added to the state's part of h
before the reset gate (GRU with `reset_after`); `lengths` (batch), int32; initial h and, of an LSTM, c (directions,
batch, hidden); `peepholes` (directions, 3 * hidden) of i, o, f. The result is a tuple: h of every step (steps,
directions, batch, hidden), 0 beyond a sequence's end; the last h; of an LSTM the last c (directions, batch, hidden).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from types import MappingProxyType

import tvm
from tvm import relax, tirx
from tvm.ir import Op

from ...ir_types import Call, Expr, Node, Type
from .registration import register

NAME = "relax.tilewright.recurrent"
RNN, GRU, LSTM = "rnn", "gru", "lstm"
GATES = MappingProxyType({RNN: 1, GRU: 3, LSTM: 4})


@dataclass(frozen=True)
class Activation:
    """A function of ONNX's list for recurrent layers, by its name in lower case, and its parameters."""

    name: str
    alpha: float = 0.0
    beta: float = 0.0


@dataclass(frozen=True)
class Layer:
    """What a recurrent layer computes; sizes apart.

    Attributes:
        kind: `RNN`, `GRU` or `LSTM`.
        backward: for each direction, whether it goes from the last step to the first.
        activations: of each direction its functions, in ONNX's order.
        clip: what goes into functions lies between -clip and clip.
        coupled: an LSTM's forget gate is 1 minus its input gate.
        reset_after: a GRU's reset gate multiplies the state's part of h, product and bias, and not the state.
        lengths: whether sequences of a batch may end early.
        peepholes: whether an LSTM's gates see c.
    """

    kind: str
    backward: tuple[bool, ...]
    activations: tuple[tuple[Activation, ...], ...]
    clip: float = math.inf
    coupled: bool = False
    reset_after: bool = False
    lengths: bool = False
    peepholes: bool = False

    @property
    def gates(self) -> int:
        """How many products with the state a step has."""
        return GATES[self.kind]


def recurrent(layer: Layer, operands: Sequence[Expr]) -> Expr:
    """A call of the operator on projected, weights and the rest."""
    flags = ("coupled", "reset_after", "lengths", "peepholes")
    functions = [each for direction in layer.activations for each in direction]
    attributes = tvm.ir.make_node(
        "ir.DictAttrs",
        kind=layer.kind,
        backward=[tirx.IntImm("int64", each) for each in layer.backward],
        functions=[each.name for each in functions],
        alphas=[tirx.FloatImm("float64", each.alpha) for each in functions],
        betas=[tirx.FloatImm("float64", each.beta) for each in functions],
        clip=tirx.FloatImm("float64", layer.clip),
        **{flag: tirx.IntImm("int64", getattr(layer, flag)) for flag in flags},
    )
    return tvm.ir.Call(Op.get(NAME), list(operands), attributes)


def layer_of(call: Call) -> Layer:
    """What a call computes."""
    attributes = call.attrs
    backward = tuple(bool(int(each)) for each in attributes["backward"])
    functions = [
        Activation(str(name), float(alpha), float(beta))
        for name, alpha, beta in zip(attributes["functions"], attributes["alphas"], attributes["betas"], strict=True)
    ]
    each = len(functions) // len(backward)
    return Layer(
        str(attributes["kind"]),
        backward,
        tuple(tuple(functions[start : start + each]) for start in range(0, len(functions), each)),
        float(attributes["clip"]),
        *(bool(int(attributes[flag])) for flag in ("coupled", "reset_after", "lengths", "peepholes")),
    )


def _infer_type(call: Call, context: Node) -> Type:
    steps, batch, _ = call.args[0].ty.shape
    directions, _, hidden = call.args[1].ty.shape
    dtype = str(call.args[0].ty.dtype)
    state = relax.TensorType([directions, batch, hidden], dtype)
    every = relax.TensorType([steps, directions, batch, hidden], dtype)
    return relax.TupleType([every, state, state] if str(call.attrs["kind"]) == LSTM else [every, state])


register(NAME, __doc__, _infer_type)
