"""A tensor in flight whose elements no kernel computes with."""

from __future__ import annotations

from dataclasses import dataclass

from .emitter import Expr


@dataclass(frozen=True)
class Narrow:
    """Elements of a narrow dtype, as bytes.

    Attributes:
        codes: a Relax variable of uint8.
        dtype: what the bytes mean, as numpy spells it.
    """

    codes: Expr
    dtype: str
