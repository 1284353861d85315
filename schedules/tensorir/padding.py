"""Zeros, or another value, around a tensor."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from tvm import te, tirx

from ...ir_types import Scalar
from .expressions import int64s, scalar_dtype


def padded(
    element: Callable[..., Scalar],
    extents: Sequence[int],
    shape: Sequence[int],
    before: Sequence[int],
    dtype: str,
    attributes: Mapping[str, Any],
    name: str,
    value: float = 0.0,
) -> te.Tensor:
    """A stage of `shape` and `dtype` that holds `element`, of `extents`, and `value` around it.

    Args:
        before: how much of `value` comes before the elements, an axis.
    """

    def at(*index: Any) -> Scalar:
        source, inside = [], []
        for position, extent, first, whole in zip(index, extents, before, shape, strict=True):
            source.append(position - first if first else position)
            inside += [position >= first] if first else []
            inside += [position < first + extent] if first + extent < whole else []
        own = element(*source)
        own = own if scalar_dtype(own) == dtype else own.astype(dtype)
        return tirx.if_then_else(tirx.all(*inside), own, tirx.const(value, dtype)) if inside else own

    return te.compute(int64s(shape), at, name=name, attrs=dict(attributes))


def within(value: Any, index: Any, extent: int, whole: int) -> Any:
    """`value`, or zero where `index`, below `whole`, is not below `extent`."""
    return value if whole == extent else tirx.if_then_else(index < extent, value, tirx.const(0, scalar_dtype(value)))
