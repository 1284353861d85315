"""Recurrent layers: RNN, GRU, LSTM. One product for the input of all steps, an operator of our own for the steps."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from types import MappingProxyType

import numpy as np
from tvm import relax

from ....ir_passes.dialect.recurrent import GATES, GRU, LSTM, RNN, Activation, Layer, recurrent
from ..dtypes import NARROW_FLOATS, numpy_dtype
from ..node import Expr, Node, Result, shape_of
from ..registry import operator

_BACKWARD: Mapping[str, tuple[bool, ...]] = MappingProxyType(
    {"forward": (False,), "reverse": (True,), "bidirectional": (False, True)}
)
_DEFAULTS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {RNN: ("tanh",), GRU: ("sigmoid", "tanh"), LSTM: ("sigmoid", "tanh", "tanh")}
)
# The parameters of those functions that have some, as in ONNX's operators of these names; there are none of some names.
_PARAMETERS: Mapping[str, tuple[float | None, ...]] = MappingProxyType(
    {
        "affine": (None, None),
        "elu": (1.0,),
        "hardsigmoid": (0.2, 0.5),
        "leakyrelu": (0.01,),
        "scaledtanh": (None, None),
        "thresholdedrelu": (1.0,),
    }
)
_PLAIN = frozenset({"relu", "sigmoid", "softplus", "softsign", "tanh"})


@operator("RNN")
def rnn(node: Node) -> Result:
    """h = f(x W + h R + b)."""
    return _layer(node, RNN)


@operator("GRU")
def gru(node: Node) -> Result:
    """Gates z and r, and h = (1 - z) g(x W + (r h) R + b) + z h, or with r outside of the product."""
    return _layer(node, GRU)


@operator("LSTM")
def lstm(node: Node) -> Result:
    """Gates i, o and f of h and, through peepholes, of c; c = f c + i g(x W + h R + b), and h = o h(c)."""
    return _layer(node, LSTM)


def _layer(node: Node, kind: str) -> Result:
    given = node.dtype(0)
    ranks = [len(node.shape(index)) for index in range(3)]
    if ranks != [3, 3, 3]:
        raise node.invalid(f"the input and its weights have 3 dimensions each, not {ranks}")
    dtype = "float32" if given in NARROW_FLOATS else given  # sums are kept in float32, and so is the state
    batch_first = node.attr_flag("layout", False)
    x = relax.op.permute_dims(node.expr(0), (1, 0, 2)) if batch_first else node.expr(0)
    x = node.emit(_cast(x, given, dtype))
    steps, batch, _ = shape_of(x)
    directions, rows, _ = node.shape(1)
    layer = _described(node, kind, directions)
    hidden = rows // layer.gates
    state = (directions, batch, hidden)
    _check(node, layer, shape_of(x), hidden)

    def states(index: int) -> Expr:
        if not node.has(index):
            return node.emit(np.zeros(state, dtype))
        value = relax.op.permute_dims(node.expr(index), (1, 0, 2)) if batch_first else node.expr(index)
        value = node.emit(_cast(value, given, dtype))
        if shape_of(value) != state:
            raise node.invalid(f"an initial state is of shape {shape_of(value)}, not of {state}")
        return value

    initial = [states(index) for index in ((5, 6) if kind == LSTM else (5,))]
    if 0 in (steps, batch, hidden):
        results = [node.emit(np.zeros((steps, *state), dtype)), *initial]
    else:
        operands = [_projected(node, layer, x, hidden, dtype), node.emit(_cast(node.expr(2), given, dtype))]
        if layer.reset_after:
            operands.append(_bias_of_state(node, directions, hidden, dtype))
        if layer.lengths:
            operands.append(node.expr(4))
        operands += initial
        if layer.peepholes:
            operands.append(node.emit(_cast(node.expr(7), given, dtype)))
        made = node.emit(recurrent(layer, operands))
        results = [node.emit(relax.TupleGetItem(made, index)) for index in range(len(made.ty.fields))]
    results = [node.emit(_cast(each, dtype, given)) for each in results]
    if not batch_first:
        return results
    return [
        relax.op.permute_dims(results[0], (2, 0, 1, 3)),
        *(relax.op.permute_dims(r, (1, 0, 2)) for r in results[1:]),
    ]


def _described(node: Node, kind: str, directions: int) -> Layer:
    direction = node.attr_str("direction", "forward").lower()
    if direction not in _BACKWARD:
        raise node.invalid(f"the direction '{direction}' is none of {', '.join(_BACKWARD)}")
    backward = _BACKWARD[direction]
    if directions != len(backward):
        raise node.invalid(f"the weights are for {directions} directions, and it goes {direction}")
    functions = list(_functions(node, _DEFAULTS[kind] * directions))
    each = len(_DEFAULTS[kind])
    clip = node.attr_float("clip", math.inf)
    return Layer(
        kind,
        backward,
        tuple(tuple(functions[start : start + each]) for start in range(0, len(functions), each)),
        clip if clip > 0 else math.inf,
        coupled=kind == LSTM and node.attr_flag("input_forget", False),
        reset_after=kind == GRU and node.attr_flag("linear_before_reset", False),
        lengths=node.has(4),
        peepholes=kind == LSTM and node.has(7),
    )


def _functions(node: Node, defaults: tuple[str, ...]) -> Iterator[Activation]:
    """The activations of all directions; parameters go in order to those that have some."""
    names = defaults
    if "activations" in node.attributes:
        names = tuple(name.lower() for name in node.attributes["activations"].as_strings())
    if len(names) != len(defaults):
        raise node.invalid(f"it has {len(names)} activations, and needs {len(defaults)}")
    given = [iter(node.attr_floats(name) or ()) for name in ("activation_alpha", "activation_beta")]
    for name in names:
        if name not in _PLAIN and name not in _PARAMETERS:
            raise node.unsupported(f"the activation '{name}' is not supported")
        found = [next(values, default) for values, default in zip(given, _PARAMETERS.get(name, ()), strict=False)]
        parameters = [each for each in found if each is not None]
        if len(parameters) < len(found):
            raise node.unsupported(f"the activation '{name}' has no parameters, and ONNX has no defaults for it")
        yield Activation(name, *parameters)


def _check(node: Node, layer: Layer, x: tuple[int, ...], hidden: int) -> None:
    """Refuses shapes that do not belong together."""
    directions, gates = len(layer.backward), GATES[layer.kind]
    _, batch, size = x
    said = node.attr_int("hidden_size", hidden)
    expected = {
        1: (directions, gates * said, size),
        2: (directions, gates * said, said),
        3: (directions, 2 * gates * said),
        4: (batch,),
        7: (directions, 3 * said),
    }
    for index, shape in expected.items():
        if node.has(index) and (index != 7 or layer.kind == LSTM) and node.shape(index) != shape:
            raise node.invalid(f"input {index} is of shape {list(node.shape(index))}, not of {list(shape)}")


def _projected(node: Node, layer: Layer, x: Expr, hidden: int, dtype: str) -> Expr:
    """The input of all steps times its weights, and the biases that are added to it: one product."""
    steps, batch, size = shape_of(x)
    columns = len(layer.backward) * layer.gates * hidden
    weights = node.emit(_cast(node.expr(1), node.dtype(1), dtype))
    weights = node.emit(relax.op.permute_dims(node.reshape(weights, (columns, size))))
    product = node.emit(relax.op.matmul(node.reshape(x, (steps * batch, size)), weights))
    if node.has(3):
        bias = node.emit(_cast(node.expr(3), node.dtype(3), dtype))
        of_input, of_state = (_part(node, bias, start * layer.gates * hidden, layer.gates * hidden) for start in (0, 1))
        if layer.reset_after:
            kept = _part(node, of_state, 0, 2 * hidden)
            nothing = node.emit(np.zeros((len(layer.backward), hidden), numpy_dtype(dtype)))
            of_state = node.emit(relax.op.concat([kept, nothing], 1))
        both = node.emit(relax.op.add(of_input, of_state))
        product = node.emit(relax.op.add(product, node.reshape(both, (columns,))))
    return node.emit(node.reshape(product, (steps, batch, columns)))


def _bias_of_state(node: Node, directions: int, hidden: int, dtype: str) -> Expr:
    """A GRU's bias of the state's part of h."""
    if not node.has(3):
        return node.emit(np.zeros((directions, hidden), numpy_dtype(dtype)))
    return _part(node, node.emit(_cast(node.expr(3), node.dtype(3), dtype)), 5 * hidden, hidden)


def _part(node: Node, x: Expr, start: int, size: int) -> Expr:
    return node.emit(relax.op.strided_slice(x, [1], [start], [start + size]))


def _cast(x: Expr, given: str, dtype: str) -> Expr:
    return x if given == dtype else relax.op.astype(x, dtype)
