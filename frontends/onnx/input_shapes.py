"""Fixes the shapes and values of a model's inputs from what the user gave, and says what is still unknown."""

from __future__ import annotations

import operator
from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np
import onnx_ir as ir

from ...dimension_names import DimensionNames
from ...errors import ShapeError, UnsupportedError, UsageError
from .limits import check_tensor

# A dimension as a model gives it, None where it says nothing.
_Dim: TypeAlias = "int | str | None"

_SEQUENCE_WORDS = ("seq", "len", "token", "time")
_SUGGESTED_TOKENS = "128"
_SUGGESTED_PIXELS = "224"


def real_inputs(model: ir.Model) -> list[ir.Value]:
    """The inputs a caller must give. Inputs with an initializer have a default and count as constants."""
    return [value for value in model.graph.inputs if value.name not in model.graph.initializers]


def apply_shapes(
    model: ir.Model, shapes: Mapping[str, Sequence[int]], bindings: Mapping[str, np.ndarray[Any, Any]], where: str
) -> None:
    """Makes every input's shape static, in place; `where` names the model in errors.

    A symbolic dimension (ONNX dim_param) that one input fixes is fixed by that in all of them, and so are sums and
    products of those. Shapes of bound inputs come from their values. A dimension that is written as 0 or less (as some
    converters do) is unknown.

    Raises:
        UsageError: a name is no input of the model.
        ShapeError: a shape has the wrong rank or contradicts a fixed dimension, one symbol would have two values, a
            tensor would be too large, or a dimension is still unknown; then the hint is the option to add.
    """
    inputs = {str(value.name): value for value in real_inputs(model)}
    for name in [*shapes, *bindings]:
        if name not in inputs:
            known = ", ".join(f"'{each}'" for each in inputs) or "none"
            raise UsageError(f"the model has no input '{name}'", hint=f"its inputs are: {known}")
    declared = {name: value.shape for name, value in inputs.items()}
    given = {name: _given_shape(name, shape) for name, shape in shapes.items()}
    for name, array in bindings.items():
        if not isinstance(array, np.ndarray):
            raise UsageError("a bound value must be a numpy array", where=f"input '{name}'")
        given[name] = tuple(array.shape)
    symbols: dict[str, tuple[int, str]] = {}
    for name, shape in given.items():
        _bind_symbols(inputs[name], shape, symbols)
        inputs[name].shape = ir.Shape(shape)
    names = DimensionNames({symbol: value for symbol, (value, _) in symbols.items()})
    names.solve()
    for name, value in inputs.items():
        dims = _dims(value)
        if dims is not None and name not in given:
            value.shape = ir.Shape([_fixed(names, dim) for dim in dims])
    unknown = [value for name, value in inputs.items() if name not in given and _is_unknown(value)]
    if unknown:
        suggested = {value.name: _suggestion(value) for value in unknown}
        options = [f"--shape {name}={shape}" for name, shape in suggested.items()]
        named = any(not size.isdecimal() for shape in suggested.values() for size in shape.split("x"))
        letters = ", with numbers for letters, or --range N=1..32 for each" if named else ""
        raise ShapeError(
            "dimensions of the model's inputs are unknown",
            where=where,
            details=[_unknown_text(value, declared[value.name or ""]) for value in unknown],
            hint=f"add {' '.join(options)}{letters}",
        )
    for value in inputs.values():
        try:
            check_tensor([int(str(dim)) for dim in value.shape or ()])
        except UnsupportedError as error:
            raise ShapeError(error.what, where=f"{where}: input '{value.name}'", hint=error.hint) from error


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


def _given_shape(name: str, shape: Sequence[int]) -> tuple[int, ...]:
    try:
        return tuple(operator.index(dim) for dim in shape)
    except TypeError as error:
        raise UsageError("a shape must be a sequence of whole numbers", where=f"input '{name}'") from error


def _bind_symbols(value: ir.Value, shape: tuple[int, ...], symbols: dict[str, tuple[int, str]]) -> None:
    """Checks a given shape against the model's and records what its symbols become."""
    where = f"input '{value.name}'"
    if any(dim < 0 for dim in shape):
        raise ShapeError(f"the shape {_dims_text(shape)} has a negative dimension", where=where)
    dims = _dims(value)
    if dims is None:
        return
    if len(shape) != len(dims):
        raise ShapeError(
            f"the shape {_dims_text(shape)} has {len(shape)} dimensions, the model's has {len(dims)}",
            where=where,
            hint=f"the model's shape is {_dims_text(dims)}",
        )
    for index, (new, old) in enumerate(zip(shape, dims, strict=True)):
        if isinstance(old, int) and old != new:
            raise ShapeError(
                f"dimension {index} of the shape {_dims_text(shape)} must be {old}",
                where=where,
                hint=f"the model's shape is {_dims_text(dims)}",
            )
        if isinstance(old, str):
            here = f"dimension {index} of input '{value.name}'"
            known, by = symbols.setdefault(old, (new, here))
            if known != new:
                raise ShapeError(f"the dimension '{old}' would be both {known} ({by}) and {new} ({here})", where=where)


def _dims(value: ir.Value) -> list[_Dim] | None:
    """The dimensions that the model gives an input: sizes, symbols, or None; no list when it gives no shape."""
    if value.shape is None:
        return None
    return [(dim if dim > 0 else None) if isinstance(dim, int) else _symbol(dim.value) for dim in value.shape]


def _fixed(names: DimensionNames, dim: _Dim) -> _Dim:
    """A dimension, or what it is known to be."""
    found = names.size(dim) if isinstance(dim, str) else None
    return found if isinstance(found, int) and found >= 0 else dim


def _symbol(name: str | None) -> str | None:
    """A name of a dimension; some exporters write a question mark for one that they do not know."""
    return None if name in (None, "", "?") else name


def _is_unknown(value: ir.Value) -> bool:
    dims = _dims(value)
    return dims is None or not all(isinstance(dim, int) for dim in dims)


def _unknown_text(value: ir.Value, declared: ir.Shape | None) -> str:
    """Which dimensions of an input are unknown."""
    dims = _dims(value)
    if dims is None:
        return f"input '{value.name}': the model gives no shape"
    missing = [
        f"{index} ('{dim}')" if isinstance(dim, str) else f"{index}{_written(given)}"
        for index, (dim, given) in enumerate(zip(dims, declared or dims, strict=True))
        if not isinstance(dim, int)
    ]
    several = len(missing) > 1
    return (
        f"input '{value.name}' of shape {_dims_text(dims)}: "
        f"{'dimensions' if several else 'dimension'} {', '.join(missing)} {'are' if several else 'is'} unknown"
    )


def _written(dim: Any) -> str:
    """A size of 0 says nothing in a model; some want it nevertheless."""
    return " (given as 0; --shape takes a size of 0)" if dim == 0 else ""


def _suggestion(value: ir.Value) -> str:
    """A shape to try: fixed dimensions as they are, 1 for a batch, common sizes where they can be guessed, else N."""
    dims = _dims(value)
    if dims is None:
        return "N"
    texts = []
    for index, dim in enumerate(dims):
        symbol = "" if dim is None else str(dim).lower()
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


def _dims_text(dims: Sequence[_Dim]) -> str:
    """1x3x224x224; symbols between brackets, so that their letters stand apart."""
    return (
        "x".join(f"[{dim}]" if isinstance(dim, str) else "?" if dim is None else str(dim) for dim in dims) or "scalar"
    )
