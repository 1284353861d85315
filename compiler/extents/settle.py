"""The import for the largest sizes becomes one for all: what depends on sizes says so."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import tvm
from tvm import relax

from ...frontends import ImportedModel
from ...ir_passes.core.constants import constant
from ...ir_passes.core.functions import joined, split
from ...ir_passes.core.graph import Binding, Graph
from ...ir_passes.dialect.sized import count_of, numbers_of, size, sized, start_of
from ...ir_types import Expr, IRModule, Var
from ...sizes import in_c
from .seen import Seen, differ, is_counted, known_array
from .sized_constants import Band, Moved, Sizes, band, moved


def settled(large: ImportedModel, seen: Seen, sizes: Sizes) -> ImportedModel:
    """The import for the largest sizes, in which what depends on sizes says so; bodies of loops and branches, too.

    Args:
        large: that import.
        seen: what those for other sizes have in its place.
        sizes: what all of them are for, in order.

    Raises:
        UnsupportedError: the model is another one for other sizes; the node is named.
    """
    parts = split(large.module)
    return replace(large, module=joined({name: _settled(name, part, seen, sizes) for name, part in parts.items()}))


def _settled(name: str, part: IRModule, seen: Seen, sizes: Sizes) -> IRModule:
    """One function."""
    graph, ends = Graph.read(part), seen.settled_ends()
    write = _Writer(sizes)
    differing = {number for function, number, _ in seen.differing if function == name}
    for number, (var, value) in enumerate(graph.bindings):
        where = f"node '{var.name}'"
        if var in ends:
            write.bind(var, ends[var].call(value))
        elif is_counted(value):
            write.bind(var, write.counted(var, [value, *seen.found.get((name, number, 0), [])], where))
        elif isinstance(value, tvm.ir.Call) and number in differing:
            write.bind(var, write.call(value, name, number, seen, where))
        else:
            write.bind(var, value)
    return replace(graph, bindings=tuple(write.bindings)).write(part)


class _Writer:
    """The bindings of a model, with those of sizes before the first that reads them."""

    def __init__(self, sizes: Sizes) -> None:
        self.bindings: list[Binding] = []
        self._sizes = sizes
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
            whole = len(arrays) == len(self._sizes.values)
            found = (moved(arrays, self._sizes) or band(arrays, self._sizes)) if whole else None
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
        start = self._sizes.affine([start_of(each) for each in calls])
        count = self._sizes.affine([count_of(each) for each in calls])
        if start is None or count is None:
            differ(where, "it counts from a number that is no sum of sizes, or up to one")
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
