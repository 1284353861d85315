"""The order of steps: of those that depend on nothing but each other's results, the one that takes the least memory.

A search over sets of steps that are done (Liberis and Lane, "Neural networks on microcontrollers: saving memory at
inference via operator reordering", 2019): what is alive after a set does not depend on the order in it, so of all
orders of one set the one with the lowest peak is kept. Sets of the same size are one level. While a level holds no more
than `_MOST_SETS` the result is exact; of a larger one those of the lowest peak go on.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass

from ...sizes import largest
from ..library.plan import Buffer, BufferKind, Bytes
from .graph_steps import GraphStep, read_by, written_by

_MOST_SETS = 128


@dataclass(frozen=True)
class _Done:
    """A set of steps that are done: what is alive after it, the steps that may come next, its best order's peak."""

    alive: Bytes
    ready: tuple[int, ...]
    peak: Bytes
    order: tuple[int, ...]


def in_order(
    steps: Sequence[GraphStep],
    buffers: Sequence[Buffer],
    results: Collection[int],
    scratch: Callable[[GraphStep], Bytes],
) -> tuple[GraphStep, ...]:
    """The steps in the order that takes the least memory; as they stand where none takes less.

    Loops and branches are one step each.

    Args:
        buffers: what steps read and write.
        results: buffers that are read afterwards, whose memory is the caller's.
        scratch: what a step takes besides the buffers that other steps use.
    """
    search = _Search(steps, buffers, results, scratch)
    best = search.best()
    if best.peak >= search.as_they_stand().peak:
        return tuple(steps)
    return tuple(steps[number] for number in best.order)


class _Search:
    """Sets of steps are integers, a bit each."""

    def __init__(
        self,
        steps: Sequence[GraphStep],
        buffers: Sequence[Buffer],
        results: Collection[int],
        scratch: Callable[[GraphStep], Bytes],
    ) -> None:
        read, written = [read_by(step) for step in steps], [written_by(step) for step in steps]
        self._used = [
            [i for i in read_ | written_ if buffers[i].kind is BufferKind.WORKSPACE and i not in results]
            for read_, written_ in zip(read, written, strict=True)
        ]
        self._users: dict[int, int] = {}
        for number, used in enumerate(self._used):
            for index in used:
                self._users[index] = self._users.get(index, 0) | 1 << number
        self._bytes = {index: largest(buffers[index].bytes) for index in self._users}
        self._scratch = [scratch(step) for step in steps]
        self._needs = _dependencies(read, written)
        self._enables: list[list[int]] = [[] for _ in steps]
        for number, needs in enumerate(self._needs):
            for before in range(len(steps)):
                if needs >> before & 1:
                    self._enables[before].append(number)

    @property
    def _nothing(self) -> _Done:
        return _Done(0, tuple(number for number, needs in enumerate(self._needs) if not needs), 0, ())

    def best(self) -> _Done:
        """The order of the lowest peak that is found."""
        level = {0: self._nothing}
        for _ in self._needs:
            following: dict[int, _Done] = {}
            for done, known in level.items():
                for number in known.ready:
                    after, made = done | 1 << number, self._with(done, known, number)
                    if after not in following or made.peak < following[after].peak:
                        following[after] = made
            kept = following
            if len(following) > _MOST_SETS:
                best = sorted(following.items(), key=lambda each: (each[1].peak, each[1].alive, each[1].order))
                kept = dict(best[:_MOST_SETS])
            level = kept
        (whole,) = level.values()
        return whole

    def as_they_stand(self) -> _Done:
        """The steps in the order given."""
        done, known = 0, self._nothing
        for number in range(len(self._needs)):
            known = self._with(done, known, number)
            done |= 1 << number
        return known

    def _with(self, done: int, known: _Done, number: int) -> _Done:
        """A set with one more step."""
        after = done | 1 << number
        during = known.alive + sum(self._bytes[i] for i in self._used[number] if not self._users[i] & done)
        freed = sum(self._bytes[i] for i in self._used[number] if not self._users[i] & ~after)
        enabled = (each for each in self._enables[number] if not self._needs[each] & ~after)
        return _Done(
            during - freed,
            (*(each for each in known.ready if each != number), *enabled),
            max(known.peak, during + self._scratch[number]),
            (*known.order, number),
        )


def _dependencies(read: Sequence[Collection[int]], written: Sequence[Collection[int]]) -> list[int]:
    """For each step the steps that have to come before it: who writes what it reads, who read what it overwrites."""
    needs = [0] * len(read)
    writer: dict[int, int] = {}
    readers: dict[int, int] = {}
    for number in range(len(read)):
        for index in read[number]:
            if index in writer:
                needs[number] |= 1 << writer[index]
            readers[index] = readers.get(index, 0) | 1 << number
        for index in written[number]:
            before = readers.get(index, 0) | (1 << writer[index] if index in writer else 0)
            needs[number] |= before & ~(1 << number)
            writer[index], readers[index] = number, 0
    return needs
