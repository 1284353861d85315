"""What is written in place of what depends on sizes: sizes themselves, tables and sizes, parts of bands."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import tvm
from tvm import relax

from ...ir_passes.core.constants import constant
from ...ir_passes.core.graph import Binding
from ...ir_passes.dialect.sized import count_of, numbers_of, size, sized, start_of
from ...ir_types import Expr, Var
from ...sizes import Size, in_c
from .seen import IN_MULTIPLES, Seen, differ, known_array
from .sized_constants import Band, Moved, Sizes, band, moved


class Writer:
    """The bindings of a model, with those of sizes before the first that reads them."""

    def __init__(self, sizes: Sizes) -> None:
        self.bindings: list[Binding] = []
        self.sizes = sizes
        self._known: dict[str, Var] = {}
        self._normalize = relax.BlockBuilder().normalize

    def bind(self, var: Var, value: Expr) -> None:
        """Adds a binding."""
        self.bindings.append((var, value if not value.ty.is_missing() else self._normalize(value)))

    def call(self, value: Expr, function: str, number: int, seen: Seen, where: str) -> Expr:
        """A call with what its constants are made of in their places."""
        place = -1

        def written(argument: Expr) -> Expr:
            nonlocal place
            if isinstance(argument, relax.Tuple):
                return relax.Tuple([written(each) for each in argument.fields])
            if not isinstance(argument, tvm.ir.GenericConst):
                return argument
            place += 1
            if (function, number, place) not in seen.differing:
                return argument
            arrays = [known_array(each) for each in (argument, *seen.found.get((function, number, place), []))]
            whole = len(arrays) == len(self.sizes.values)
            found = (moved(arrays, self.sizes) or band(arrays, self.sizes)) if whole else None
            if found is None:
                differ(
                    where,
                    "a constant that it reads depends on a size, and is not the beginning of the one for the largest",
                )
            hint = where.split("'")[1]
            if isinstance(found, Band):
                return self.emit(self.cut(found, hint), hint)
            plain = not found.table.shape and str(found.table.dtype) == "int64"
            return self.size(in_c(found.size, "")) if plain else self.emit(self.added(found, hint), hint)

        call = tvm.ir.Call(value.op, [written(each) for each in value.args], value.attrs, list(value.ty_args))
        return self._normalize(call)

    def counted(self, var: Var, calls: Sequence[Expr], where: str) -> Expr:
        """What a model counts, as its start and its length depend on sizes."""
        start = self.sizes.affine([start_of(each) for each in calls])
        count = self.sizes.affine([count_of(each) for each in calls])
        if start is None or count is None:
            differ(where, "it counts from a number that is no sum of sizes, or up to one", IN_MULTIPLES)
        if isinstance(start, int):
            numbers = constant(numbers_of(calls[0]))
        else:
            numbers = self.emit(self.added(Moved(numbers_of(calls[0], 0), start), str(var.name)), str(var.name))
        return (
            relax.op.reshape(numbers, [count_of(calls[0])])
            if isinstance(count, int)
            else sized(numbers, in_c(count, ""))
        )

    def added(self, numbers: Moved, hint: str) -> Expr:
        """A table and a size."""
        dtype = str(numbers.table.dtype)
        number = self.size(in_c(numbers.size, ""))
        wide = number if dtype == "int64" else self.emit(relax.op.astype(number, dtype), hint)
        return relax.op.add(constant(numbers.table), wide)

    def cut(self, found: Band, hint: str) -> Expr:
        """Elements of a band."""
        places = self.emit(relax.op.add(constant(found.places), self.size(in_c(found.size, ""))), hint)
        return relax.op.take(constant(found.numbers), places, 0, mode="wrap")

    def vector(self, numbers: Any, count: Size, hint: str) -> Expr:
        """A vector, of which so many elements are there."""
        whole = constant(numbers)
        return whole if isinstance(count, int) else self.emit(sized(whole, in_c(count, "")), hint)

    def size(self, text: str) -> Var:
        """The variable that is a size."""
        if text not in self._known:
            self._known[text] = self.emit(size(text), "size")
        return self._known[text]

    def emit(self, value: Expr, hint: str) -> Var:
        """A new variable."""
        value = self._normalize(value)
        var = relax.DataflowVar(hint, value.ty)
        self.bindings.append((var, value))
        return var
