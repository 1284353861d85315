"""Heaps in memory (Williams, Algorithm 232, 1964), as statements of a kernel."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from tvm import tirx

from .ir_types import Buffer, Scalar, Stmt
from .tensorir_statements import int64, load, sequence, store, variables

Entry = Sequence[Scalar]


class HeapVariables:
    """What sinks into a heap, where it is, and whether it goes on."""

    def __init__(self, memory: Sequence[Buffer]) -> None:
        self.held = [variables(1, str(each.dtype), "held") for each in memory]
        self.hole, self.child = variables(1, "int64", "hole"), variables(1, "int64", "child")
        self.later = variables(1, "int32", "later")

    @property
    def all(self) -> list[Buffer]:
        """What a kernel with a heap keeps."""
        return [*self.held, self.hole, self.child, self.later]


class Heap:
    """The statements of a heap whose root comes after all others in it."""

    def __init__(
        self,
        memory: Sequence[Buffer],
        place: Callable[[Scalar], Sequence[Scalar]],
        compare: Callable[[Entry, Entry, Buffer], Sequence[Stmt]],
        keeps: HeapVariables,
    ) -> None:
        """A heap of the first elements of a line.

        Args:
            memory: buffers of which an entry has an element each.
            place: where the entry of a number is in them.
            compare: statements that set a variable (int32) to 1 if the one of two entries comes after the other, else
                to 0.
        """
        self._memory, self._place, self._compare, self._keeps = memory, place, compare, keeps

    def at(self, number: Scalar) -> Entry:
        """An entry."""
        return [load(each, *self._place(number)) for each in self._memory]

    def put(self, number: Scalar, entry: Entry) -> list[Stmt]:
        """Sets an entry."""
        return [store(each, new, *self._place(number)) for each, new in zip(self._memory, entry, strict=True)]

    def replace(self, number: Scalar, entry: Entry, end: Scalar) -> list[Stmt]:
        """An entry comes in place of one, and goes where it belongs there or below; the heap ends at `end`."""
        return [*self._hold(entry), *self._sink(number, end)]

    def settle(self, turn: Scalar, end: Scalar) -> list[Stmt]:
        """A turn of making a heap of `end` entries in any order: there are end // 2."""
        start = end // 2 - 1 - turn
        return self.replace(start, self.at(start), end)

    def take(self, end: Scalar) -> list[Stmt]:
        """The root goes to `end`, the last place, and what was there into the heap, which ends there now."""
        return [*self._hold(self.at(end)), *self.put(end, self.at(int64(0))), *self._sink(int64(0), end)]

    def _hold(self, entry: Entry) -> list[Stmt]:
        return [store(each, new, 0) for each, new in zip(self._keeps.held, entry, strict=True)]

    def _sink(self, start: Scalar, end: Scalar) -> list[Stmt]:
        """Puts what is held where it belongs, at a number or below, in a heap that ends at `end`."""
        keeps = self._keeps
        hole, child, held = load(keeps.hole, 0), load(keeps.child, 0), [load(each, 0) for each in keeps.held]
        other = tirx.min(child + 1, end - 1)
        is_later = load(keeps.later, 0) != tirx.const(0, "int32")
        down = [*self.put(hole, self.at(child)), store(keeps.hole, child, 0), store(keeps.child, child * 2 + 1, 0)]
        step = [
            *self._compare(self.at(other), self.at(child), keeps.later),
            store(keeps.child, tirx.Select(is_later, other, child), 0),
            *self._compare(self.at(child), held, keeps.later),
            tirx.IfThenElse(is_later, sequence(down), store(keeps.child, end, 0)),
        ]
        return [
            store(keeps.hole, start, 0),
            store(keeps.child, start * 2 + 1, 0),
            tirx.While(child < end, sequence(step)),
            *self.put(hole, held),
        ]
