"""What imports for other sizes have where that for the largest may differ from them; and the error for what may not."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, NoReturn, TypeAlias

import tvm

from ...errors import UnsupportedError
from ...ir_passes.core.constants import array_of
from ...ir_passes.dialect.interpolation import NAME, sampled_of
from ...ir_passes.dialect.sized import COUNTED
from ...ir_types import Call, Expr, Var
from .ends import AllBut, End
from .sized_constants import begins

Ends: TypeAlias = dict[Var, End | AllBut]
Place: TypeAlias = tuple[str, int, int]  # a function, a binding of it, and one of the constants that this reads
_KEPT = 1 << 22  # elements: masks, not weights


@dataclass
class Seen:
    """What witnesses have where they may differ; they themselves are not kept, weights and all.

    Attributes:
        shapes: of the outputs, of each witness.
        ends: of each witness what is taken from the end of an axis.
        found: by place: one of each witness, those of no more than `_KEPT` elements.
        differing: those that are not the beginning of the one for the largest sizes.
        calls: by function and binding: of each witness the interpolation, whose tables say how they were computed.
    """

    shapes: list[tuple[tuple[int, ...], ...]] = field(default_factory=list)
    ends: list[Ends] = field(default_factory=list)
    found: dict[Place, list[Expr]] = field(default_factory=dict)
    differing: set[Place] = field(default_factory=set)
    calls: dict[tuple[str, int], list[Call]] = field(default_factory=dict)

    def see(self, place: Place, large: Expr, other: Expr, *, beyond: bool) -> None:
        """Notes one of a witness, which may be for sizes beyond the largest."""
        if known_array(other).size <= _KEPT:
            self.found.setdefault(place, []).append(other)
        if not begins(known_array(large), known_array(other), beyond=beyond):
            self.differing.add(place)

    def settled_ends(self) -> Ends:
        """What is taken from the end of an axis; a witness whose axis is as long as the largest says nothing.

        Raises:
            UnsupportedError: witnesses contradict each other.
        """
        ends: Ends = {}
        for each in self.ends:
            for var, end in each.items():
                known = ends.setdefault(var, end)
                if known != end:
                    differ(f"node '{var.name}'", "which part of a tensor it takes depends on a size")
        return {var: end for var, end in ends.items() if end.says}


def known_array(expr: Expr) -> Any:
    """The array of a constant."""
    array = array_of(expr)
    assert array is not None
    return array


def is_counted(value: Expr) -> bool:
    """Whether a value is what a model counts."""
    return isinstance(value, tvm.ir.Call) and getattr(value.op, "name", "") == COUNTED


def is_sampled(value: Expr) -> bool:
    """Whether a value is an interpolation that says how its tables were computed."""
    return isinstance(value, tvm.ir.Call) and getattr(value.op, "name", "") == NAME and bool(sampled_of(value))


_LEAVE_OUT = "leave that dimension out of --range, or compile a library for each size"
IN_MULTIPLES = (
    "write sizes that the model divides as multiples, for it rounds others: --shape x=1x3x4*Hx4*W; or leave that "
    "dimension out of --range"
)


def differ(where: str, why: str, hint: str = _LEAVE_OUT) -> NoReturn:
    """Raises the error that a model is another one for other sizes."""
    raise UnsupportedError(
        f"the model cannot be compiled for a range of sizes: {why}",
        where=where,
        hint=hint,
    )
