"""Fixes the shapes and values of a model's inputs from what the user gave, and says what is still unknown."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx_ir as ir

from ...errors import ShapeError, UsageError

_SEQUENCE_WORDS = ("seq", "len", "token", "time")
_SUGGESTED_TOKENS = "128"
_SUGGESTED_PIXELS = "224"


def real_inputs(model: ir.Model) -> list[ir.Value]:
    """The inputs a caller must give. Inputs with an initializer have a default and count as constants."""
    return [value for value in model.graph.inputs if value.name not in model.graph.initializers]


def apply_shapes(
    model: ir.Model, shapes: Mapping[str, Sequence[int]], bindings: Mapping[str, np.ndarray[Any, Any]]
) -> None:
    """Makes every input's shape static, in place.

    A symbolic dimension (ONNX dim_param) that one input fixes is fixed by that in all of them. Shapes of bound inputs
    come from their values.

    Raises:
        UsageError: a name is no input of the model.
        ShapeError: a shape has the wrong rank or contradicts a fixed dimension, one symbol would have two values, or
            a dimension is still unknown; then the hint is the option to add.
    """
    inputs = {str(value.name): value for value in real_inputs(model)}
    for name in [*shapes, *bindings]:
        if name not in inputs:
            known = ", ".join(f"'{each}'" for each in inputs) or "none"
            raise UsageError(f"the model has no input '{name}'", hint=f"its inputs are: {known}")
    given = {name: tuple(int(dim) for dim in shape) for name, shape in shapes.items()}
    given.update({name: tuple(array.shape) for name, array in bindings.items()})
    symbols: dict[str, tuple[int, str]] = {}
    for name, shape in given.items():
        _bind_symbols(inputs[name], shape, symbols)
        inputs[name].shape = ir.Shape(shape)
    for value in inputs.values():
        if value.shape is not None:
            value.shape = ir.Shape([symbols.get(_symbol(dim), (dim, ""))[0] for dim in value.shape])
    unknown = [value for value in inputs.values() if _is_unknown(value)]
    if unknown:
        options = [f"--shape {value.name}={_suggestion(value)}" for value in unknown]
        raise ShapeError(
            "dimensions of the model's inputs are unknown",
            details=[f"input '{value.name}' has shape {_shape_text(value)}" for value in unknown],
            hint=f"add {' '.join(options)}",
        )


def apply_bindings(model: ir.Model, bindings: Mapping[str, np.ndarray[Any, Any]]) -> None:
    """Turns inputs into constants, in place. The dtype must be the input's own.

    Raises:
        UsageError: a value has another dtype than its input.
    """
    for name, array in bindings.items():
        value = next(each for each in model.graph.inputs if each.name == name)
        if value.dtype is not None and value.dtype.numpy() != array.dtype:
            raise UsageError(
                f"input '{name}' has dtype {value.dtype.numpy()}, the value bound to it has {array.dtype}",
                hint=f"convert the value with .astype('{value.dtype.numpy()}')",
            )
        model.graph.inputs.remove(value)
        value.const_value = ir.tensor(np.ascontiguousarray(array).reshape(array.shape), name=name)
        model.graph.register_initializer(value)


def _bind_symbols(value: ir.Value, shape: tuple[int, ...], symbols: dict[str, tuple[int, str]]) -> None:
    """Checks a given shape against the model's and records what its symbols become."""
    where = f"input '{value.name}'"
    if any(dim < 0 for dim in shape):
        raise ShapeError(f"the shape {_dims_text(shape)} has a negative dimension", where=where)
    if value.shape is None:
        return
    if len(shape) != len(value.shape):
        raise ShapeError(
            f"the shape {_dims_text(shape)} has {len(shape)} dimensions, the model's has {len(value.shape)}",
            where=where,
            hint=f"the model's shape is {_shape_text(value)}",
        )
    for index, (new, old) in enumerate(zip(shape, value.shape, strict=True)):
        # Some converters write an unknown dimension as 0, so that 0 may be replaced.
        if isinstance(old, int) and old not in (0, new):
            raise ShapeError(
                f"dimension {index} of the shape {_dims_text(shape)} must be {old}",
                where=where,
                hint=f"the model's shape is {_shape_text(value)}",
            )
        symbol = _symbol(old)
        if symbol:
            known, by = symbols.setdefault(symbol, (new, str(value.name)))
            if known != new:
                raise ShapeError(
                    f"the dimension '{symbol}' would be both {known} (input '{by}') and {new} (input '{value.name}')",
                    where=where,
                )


def _symbol(dim: int | ir.SymbolicDim) -> str:
    return "" if isinstance(dim, int) else str(dim.value or "")


def _is_unknown(value: ir.Value) -> bool:
    return value.shape is None or any(not isinstance(dim, int) for dim in value.shape)


def _suggestion(value: ir.Value) -> str:
    """A shape to try: fixed dimensions as they are, 1 for a batch, common sizes where they can be guessed, else N."""
    if value.shape is None:
        return "N"
    dims = list(value.shape)
    texts = []
    for index, dim in enumerate(dims):
        symbol = _symbol(dim).lower()
        if isinstance(dim, int):
            texts.append(str(dim))
        elif index == 0 or "batch" in symbol:
            texts.append("1")
        elif any(word in symbol for word in _SEQUENCE_WORDS):
            texts.append(_SUGGESTED_TOKENS)
        elif len(dims) == 4:
            texts.append(_SUGGESTED_PIXELS)
        else:
            texts.append("N")
    return "x".join(texts)


def _shape_text(value: ir.Value) -> str:
    if value.shape is None:
        return "unknown"
    return _dims_text([dim if isinstance(dim, int) else _symbol(dim) or "?" for dim in value.shape])


def _dims_text(dims: Sequence[object]) -> str:
    return "x".join(str(dim) for dim in dims) or "scalar"
