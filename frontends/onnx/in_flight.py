"""Values in flight that are neither arrays nor tensors of Relax: kernels take what they are made of."""

from __future__ import annotations

from dataclasses import dataclass

from .emitter import Expr


@dataclass(frozen=True)
class Narrow:
    """A tensor of a narrow dtype, as bytes.

    Attributes:
        codes: a Relax variable of uint8.
        dtype: what the bytes mean, as numpy spells it.
    """

    codes: Expr
    dtype: str


@dataclass(frozen=True)
class Ragged:
    """A tensor whose extents data decides when the model runs.

    Attributes:
        values: room for the largest that it can be; its elements come first, densely, in their order.
        extents: int64[rank]: what its extents are.
    """

    values: Expr
    extents: Expr

    @property
    def dtype(self) -> str:
        """As numpy spells it."""
        return str(self.values.ty.dtype)

    @property
    def rank(self) -> int:
        """How many dimensions it has."""
        return len(self.values.ty.shape)
