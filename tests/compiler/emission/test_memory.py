"""The arena: buffers alive together never overlap, and the arena is small."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tilewright.compiler.emission.memory import check, lower_bound, plan_arena
from tilewright.compiler.library.plan import ALIGNMENT, Buffer, BufferKind, align
from tilewright.errors import CompilerError


def workspace(size: int, first: int, last: int, offset: int = 0) -> Buffer:
    return Buffer(BufferKind.WORKSPACE, size, offset, first, last)


@st.composite
def buffers(draw: st.DrawFn) -> Buffer:
    first = draw(st.integers(0, 12))
    kind = draw(st.sampled_from([BufferKind.WORKSPACE] * 5 + [BufferKind.CONSTANT, BufferKind.OUTPUT]))
    return Buffer(kind, draw(st.integers(0, 2000)), 0, first, first + draw(st.integers(-1, 6)))


@given(st.lists(buffers(), max_size=24))
def test_no_two_that_are_alive_together_overlap(given_buffers: list[Buffer]) -> None:
    placed, size = plan_arena(given_buffers)

    # The check here is its own, over bytes and steps, and shares nothing with memory.check.
    owner: dict[tuple[int, int], int] = {}
    for i, buffer in enumerate(placed):
        if buffer.kind is not BufferKind.WORKSPACE:
            assert buffer == given_buffers[i]
            continue
        assert buffer.offset % ALIGNMENT == 0
        for step in range(buffer.first_step, buffer.last_step + 1):
            assert buffer.offset + buffer.bytes <= size
            for line in range(buffer.offset // ALIGNMENT, -(-(buffer.offset + buffer.bytes) // ALIGNMENT)):
                assert owner.setdefault((step, line), i) == i
    assert size % ALIGNMENT == 0
    in_arena = [b for b in given_buffers if b.kind is BufferKind.WORKSPACE]
    assert lower_bound(given_buffers) <= size <= sum(align(b.bytes) for b in in_arena)


def test_a_chain_needs_two_neighbours() -> None:
    chain = [workspace(1000 * (i % 2 + 2), i, i + 1) for i in range(30)]

    assert plan_arena(chain)[1] == lower_bound(chain) == align(2000) + align(3000)


def test_the_best_of_several_orders_is_taken() -> None:
    # By size alone, the two long thin buffers end up above the large ones with a hole between.
    mixed = [workspace(64, 0, 9), workspace(640, 0, 1), workspace(704, 2, 3), workspace(64, 1, 9), workspace(576, 4, 9)]

    assert plan_arena(mixed)[1] == lower_bound(mixed)


@pytest.mark.parametrize(
    "placed",
    [
        [workspace(64, 0, 2, 0), workspace(64, 2, 3, 0)],
        [workspace(65, 0, 2, 0), workspace(64, 1, 1, 64)],
        [workspace(64, 0, 0, 32)],
        [workspace(64, 0, 0, 128)],
    ],
    ids=["same place", "one byte over", "not aligned", "outside"],
)
def test_the_check_finds_what_is_wrong(placed: list[Buffer]) -> None:
    with pytest.raises(CompilerError):
        check(placed, 128)
