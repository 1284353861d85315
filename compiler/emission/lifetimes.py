"""How long each buffer is needed, read off a tree of steps by numbering it from top to bottom.

0  call                       A loop and a branch have a number of their own, at which they read what decides
1  loop:                      them; the steps inside follow. Both sides of a branch count as if one ran after the
2      call                   other, so that a buffer of one side can lie where a buffer of the other does.
3      branch:
4          call               A turn of a loop comes after the steps below it, too: a buffer that the loop and
5        otherwise: call      something outside of it use, one that a turn leaves for the next, and the loop's
6  call                       condition are needed from the loop's own number to the last one inside.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace

from ..library.plan import Branch, Buffer, Call, Equal, Loop, Numbers, Scalar, Step


def with_lifetimes(buffers: Sequence[Buffer], steps: Sequence[Step]) -> list[Buffer]:
    """The buffers with the first and the last of the steps between which their contents matter."""
    numbering = _Numbering()
    numbering.number(steps)
    spans = dict(numbering.uses)
    for first, last, inside, kept in numbering.loops:
        for i in inside:
            begin, end = numbering.uses[i]
            if i in kept or begin < first or end > last:
                spans[i] = min(spans[i][0], first), max(spans[i][1], last)
    unused = 0, -1
    return [
        replace(buffer, first_step=spans.get(i, unused)[0], last_step=spans.get(i, unused)[1])
        for i, buffer in enumerate(buffers)
    ]


@dataclass
class _Numbering:
    """The first and last number at which each buffer is used; each loop's numbers, buffers, and those it keeps."""

    following: int = 0
    uses: dict[int, tuple[int, int]] = field(default_factory=dict)
    loops: list[tuple[int, int, set[int], set[int]]] = field(default_factory=list)

    def number(self, steps: Iterable[Step]) -> set[int]:
        """Numbers steps; the buffers that they use."""
        used: set[int] = set()
        for step in steps:
            used |= self._number(step)
        return used

    def _number(self, step: Step) -> set[int]:
        if isinstance(step, Call):
            return self._use(step.arguments)
        if isinstance(step, Branch):
            decides = [] if isinstance(step.condition, Equal) else [step.condition]
            return self._use(decides) | self.number((*step.then, *step.otherwise))
        if isinstance(step, Numbers):
            return self._use(step.destinations)
        if isinstance(step, Loop):
            return self._loop(step)
        return self._use([step.source, step.destination, *([] if step.turn is None else [step.turn])])

    def _loop(self, loop: Loop) -> set[int]:
        first = self.following
        kept = {*loop.carried, *([] if loop.condition is None else [loop.condition])}
        own = [] if loop.counter is None else [loop.counter]
        read = [loop.count.buffer] if isinstance(loop.count, Scalar) else []
        inside = self._use([*kept, *own, *read]) | self.number(loop.body)
        self.loops.append((first, self.following - 1, inside, kept))
        return inside

    def _use(self, buffers: Iterable[int]) -> set[int]:
        """Notes that buffers are used at the next number."""
        used = set(buffers)
        for i in used:
            self.uses[i] = self.uses.get(i, (self.following,))[0], self.following
        self.following += 1
        return used
