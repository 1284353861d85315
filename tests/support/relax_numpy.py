"""Relax's operators in plain numpy, for differential tests of what passes do to a graph, without compiling anything."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy_reference import convolution, pad, windows
from tilewright.ir_passes.core.constants import array_of
from tilewright.ir_passes.core.graph import Graph
from tilewright.ir_passes.dialect.evaluation import evaluate, split_item
from tvm import relax

Array = Any
# Given a binding's variable and its value: what stands for it from then on.
Change = Callable[[Any, Array], Array]


def run(module: Any, inputs: Sequence[Array], change: Change = lambda var, value: value) -> list[Array]:
    """The outputs of `main` in float64 where operators have a row here; `change` may replace every value."""
    graph = Graph.read(module)
    known: dict[Any, Any] = dict(zip(graph.params, inputs, strict=True))
    for var, value in graph.bindings:
        result = _value(value, known)
        known[var] = result if isinstance(result, list) else change(var, result)
    return [_leaf(output, known) for output in graph.outputs]


def _value(value: Any, known: Mapping[Any, Any]) -> Any:
    if isinstance(value, relax.TupleGetItem):
        return known[value.tuple_value][value.index]
    name = value.op.name.removeprefix("relax.")
    operands = [each for argument in value.args for each in _leaves(argument, known)]
    if name == "split":
        return [split_item(value, index, operands[0]) for index in range(len(value.ty.fields))]
    row = _ROWS.get(name)
    result = row(value, operands) if row is not None else evaluate(value, operands)
    assert result is not None, name
    assert result.shape == tuple(int(dim) for dim in value.ty.shape), name
    return result


def _leaves(argument: Any, known: Mapping[Any, Any]) -> list[Array]:
    if isinstance(argument, relax.Tuple):
        return [each for field in argument.fields for each in _leaves(field, known)]
    leaf = _leaf(argument, known)
    return [] if leaf is None else [leaf]


def _leaf(expr: Any, known: Mapping[Any, Any]) -> Any:
    return known.get(expr) if isinstance(expr, relax.Var) else array_of(expr)


def _numbers(values: Any) -> tuple[int, ...]:
    return tuple(int(each) for each in values)


def _last(array: Array) -> Array:
    return np.moveaxis(array, 1, -1)


def _convolution(call: Any, operands: list[Array]) -> Array:
    attrs = call.attrs
    data, weights = map(_last, operands)
    result = convolution(
        data, weights, _numbers(attrs.strides), _numbers(attrs.padding), _numbers(attrs.dilation), int(attrs.groups)
    )
    return np.moveaxis(result, -1, 1)


def _pool(reduce: Callable[..., Array], fill: float) -> Callable[[Any, list[Array]], Array]:
    def pooled(call: Any, operands: list[Array]) -> Array:
        attrs = call.attrs
        size = _numbers(attrs.pool_size)
        data = pad(_last(operands[0].astype(np.float64)), _numbers(attrs.padding), fill)
        view = windows(data, size, _numbers(attrs.strides), _numbers(attrs.dilation))
        rank = len(size)
        return np.moveaxis(reduce(view, axis=tuple(range(1 + rank, 1 + 2 * rank))), -1, 1)

    return pooled


def _softmax(call: Any, operands: list[Array]) -> Array:
    wide = operands[0].astype(np.float64)
    axis = int(call.attrs.axis)
    powers = np.exp(wide - wide.max(axis=axis, keepdims=True))
    return powers / powers.sum(axis=axis, keepdims=True)


def _layer_norm(call: Any, operands: list[Array]) -> Array:
    wide, axes = operands[0].astype(np.float64), _numbers(call.attrs.axes)
    centred = wide - wide.mean(axis=axes, keepdims=True)
    normal = centred / np.sqrt((centred**2).mean(axis=axes, keepdims=True) + float(call.attrs.epsilon))
    return normal * operands[1] + operands[2]


def _group_norm(call: Any, operands: list[Array]) -> Array:
    data, gamma, beta = operands
    groups = int(call.attrs.num_groups)
    parts = data.astype(np.float64).reshape(data.shape[0], groups, -1)
    centred = parts - parts.mean(axis=2, keepdims=True)
    normal = centred / np.sqrt((centred**2).mean(axis=2, keepdims=True) + float(call.attrs.epsilon))
    along = (-1, *[1] * (data.ndim - 2))
    return normal.reshape(data.shape) * gamma.reshape(along) + beta.reshape(along)


_ROWS: Mapping[str, Callable[[Any, list[Array]], Array]] = {
    **{f"nn.conv{rank}d": _convolution for rank in (1, 2, 3)},
    **{f"nn.max_pool{rank}d": _pool(np.max, -np.inf) for rank in (1, 2)},
    **{f"nn.avg_pool{rank}d": _pool(np.mean, 0.0) for rank in (1, 2)},
    "nn.softmax": _softmax,
    "nn.layer_norm": _layer_norm,
    "nn.group_norm": _group_norm,
    "nn.silu": lambda call, operands: operands[0] / (1 + np.exp(-operands[0].astype(np.float64))),
    "matmul": lambda call, operands: np.matmul(*(each.astype(np.float64) for each in operands)),
}
