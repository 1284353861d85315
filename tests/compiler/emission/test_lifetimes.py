"""Loops and branches in the plan: whatever runs, no buffer loses its contents to another one while they are needed."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from tilewright.compiler.emission.lifetimes import with_lifetimes
from tilewright.compiler.emission.memory import plan_memory
from tilewright.compiler.library.plan import (
    ALIGNMENT,
    Branch,
    Buffer,
    BufferKind,
    Call,
    Copy,
    Loop,
    Region,
    Scalar,
    Step,
    new_buffer,
)
from tilewright.sizes import Dimension, Size, value_of

N, M = Dimension("n", 3), Dimension("m", 5)
BUFFERS = 7
INDEX = st.integers(0, BUFFERS - 1)
CALLS = st.builds(lambda used: Call(0, tuple(used), ()), st.lists(INDEX, min_size=1, max_size=2))
COPIES = st.builds(lambda a, b: Copy(a, b, ()), INDEX, INDEX).filter(lambda copy: copy.source != copy.destination)
SIZES = st.sampled_from([64, 64, 64, 100, N.size * 40, N.size * M.size * 8 + 64, 0])
REGIONS = st.sampled_from(["arena", "arena", "fast"])


def trees(steps: st.SearchStrategy[Step]) -> st.SearchStrategy[Step]:
    bodies = st.lists(steps, max_size=4).map(tuple)
    loops = st.builds(
        Loop,
        st.one_of(st.integers(0, 3), st.builds(Scalar, INDEX)),
        bodies,
        counter=st.none() | INDEX,
        condition=st.none() | INDEX,
        carried=st.lists(INDEX, max_size=2).map(tuple),
    )
    return st.one_of(loops, st.builds(Branch, INDEX, bodies, bodies))


INNER = st.recursive(CALLS | COPIES, trees, max_leaves=8)
# Writes first, so that there is something to lose, and a loop that is long enough to lose it.
STEPS = st.builds(
    lambda written, body, carried, after: [
        *(Call(0, (i,), ()) for i in written),
        Loop(2, tuple(body), carried=tuple(carried)),
        *after,
    ],
    st.lists(INDEX, max_size=3),
    st.lists(INNER, min_size=2, max_size=6),
    st.lists(INDEX, max_size=2),
    st.lists(INNER, max_size=3),
)
RUNS = 12  # of each plan: other turns, branches and dimensions


def used(steps: Sequence[Step]) -> list[int]:
    """Every use of a buffer, in any step."""
    found: list[int] = []
    for step in steps:
        if isinstance(step, Call):
            found += step.arguments
        elif isinstance(step, Copy):
            found += [step.source, step.destination]
        elif isinstance(step, Branch):
            found += [step.condition, *used(step.then), *used(step.otherwise)]
        else:
            count = [step.count.buffer] if isinstance(step.count, Scalar) else []
            found += [*count, *(i for i in (step.counter, step.condition) if i is not None), *used(step.body)]
    return found


@dataclass
class Machine:
    """Runs steps on one memory a region, and knows what each buffer should hold: the number of its last write.

    A call reads all its arguments but the last, which it writes. How often loops turn, and which way branches go, is
    chance, whatever the buffers that decide it hold.
    """

    buffers: Sequence[Buffer]
    values: dict[str, int]
    chance: random.Random
    uses: list[int]
    memory: dict[tuple[str, int], int] = field(default_factory=dict)
    holds: dict[int, int] = field(default_factory=dict)
    writes: int = 0

    def lines(self, index: int) -> list[tuple[str, int]]:
        buffer = self.buffers[index]
        end = buffer.offset + value_of(buffer.bytes, self.values)
        return [(buffer.region, line) for line in range(buffer.offset // ALIGNMENT, -(-end // ALIGNMENT))]

    def read(self, index: int) -> None:
        if index in self.holds:
            assert {self.memory[line] for line in self.lines(index)} <= {self.holds[index]}

    def write(self, index: int) -> None:
        self.writes += 1
        self.holds[index] = self.writes
        self.memory.update(dict.fromkeys(self.lines(index), self.writes))

    def run(self, steps: Sequence[Step]) -> None:
        for step in steps:
            if isinstance(step, Call):
                for i in step.arguments[:-1]:
                    self.read(i)
                self.write(step.arguments[-1])
            elif isinstance(step, Copy):
                self.read(step.source)
                self.write(step.destination)
            elif isinstance(step, Branch):
                self.read(step.condition)
                self.run(step.then if self.chance.random() < 0.5 else step.otherwise)
            else:
                self.loop(step)

    def loop(self, loop: Loop) -> None:
        if isinstance(loop.count, Scalar):
            self.read(loop.count.buffer)
        inside = used([loop])
        own = {i for i in inside if inside.count(i) == self.uses.count(i)}
        forgotten = own - {*loop.carried, loop.condition}
        for _ in range(self.chance.randint(0, 3)):
            if loop.condition is not None:
                self.read(loop.condition)
            if loop.counter is not None:
                self.write(loop.counter)
            self.run(loop.body)
            # What a turn may not leave for the next one.
            for i in forgotten:
                self.holds.pop(i, None)
        if loop.condition is not None:
            self.read(loop.condition)
        for i in own:
            self.holds.pop(i, None)


@settings(max_examples=400, deadline=None)
@given(st.data(), STEPS)
def test_whatever_runs_what_is_read_is_what_was_written_last(data: Any, steps: list[Step]) -> None:
    sizes: list[Size] = [data.draw(SIZES) for _ in range(BUFFERS)]
    given_buffers = [Buffer(BufferKind.WORKSPACE, size, 0, 0, -1, data.draw(REGIONS)) for size in sizes]
    placed, regions = plan_memory(with_lifetimes(given_buffers, steps))
    room = {region.name: region.bytes for region in regions}

    for seed in range(RUNS):
        chance = random.Random(seed)
        values = {each.name: chance.choice([each.bound, chance.randint(0, each.bound)]) for each in (N, M)}
        machine = Machine(placed, values, chance, used(steps))
        machine.run(steps)
        assert all(line * ALIGNMENT < room[name] for name, line in machine.memory)


def spans(steps: Sequence[Step], count: int) -> list[tuple[int, int]]:
    buffers = [new_buffer(BufferKind.WORKSPACE, 64)] * count
    return [(each.first_step, each.last_step) for each in with_lifetimes(buffers, steps)]


def call(*arguments: int) -> Call:
    return Call(0, arguments, ())


def test_what_is_live_across_a_loop_lives_all_of_it() -> None:
    # 0: weights that every turn reads; 1: carried; 2: of one turn alone; 3: read behind the loop.
    steps = [call(0), call(1), Loop(4, (call(0, 2), call(2, 1), call(3))), call(3, 1)]

    assert spans(steps, 4) == [(0, 5), (1, 6), (3, 4), (2, 6)]
    assert spans([Loop(4, (call(0), call(1), call(2)), carried=(1,))], 3) == [(1, 1), (0, 3), (3, 3)]
    nested = Loop(4, (call(1), Loop(2, (call(2), call(1))), call(2)), condition=0)
    assert spans([call(0), nested], 3) == [(0, 6), (2, 5), (3, 6)]


def test_both_sides_of_a_branch_share_memory() -> None:
    steps = [call(0), Branch(0, (call(1), call(1, 3)), (call(2), call(2, 3))), call(3)]
    buffers = [new_buffer(BufferKind.WORKSPACE, size) for size in (64, 640, 640, 64)]

    placed, regions = plan_memory(with_lifetimes(buffers, steps))

    assert [(each.first_step, each.last_step) for each in placed] == [(0, 1), (2, 3), (4, 5), (3, 6)]
    assert placed[1].offset == placed[2].offset and regions == (Region("arena", 704),)


def test_regions_are_planned_apart() -> None:
    buffers = [Buffer(BufferKind.WORKSPACE, 100, 0, 0, -1, region) for region in ("arena", "fast", "arena")]

    placed, regions = plan_memory(with_lifetimes(buffers, [call(0, 1, 2)]))

    assert regions == (Region("arena", 256), Region("fast", 128))
    assert sorted((each.region, each.offset) for each in placed) == [("arena", 0), ("arena", 128), ("fast", 0)]


def test_memory_is_planned_at_the_bounds() -> None:
    buffers = [new_buffer(BufferKind.WORKSPACE, size) for size in (N.size * 64, 64)]

    placed, regions = plan_memory(with_lifetimes(buffers, [call(0, 1)]))

    assert [each.offset for each in placed] == [0, 192] and regions == (Region("arena", 256),)
