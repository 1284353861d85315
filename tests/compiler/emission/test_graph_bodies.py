"""Turns and branches with as few copies as can be: they leave what they would if all were copied."""

from __future__ import annotations

import random

import pytest
from tilewright.compiler.emission.graph_bodies import branch_of, turn_of
from tilewright.compiler.emission.graph_steps import GraphCall, GraphCopy, GraphStep
from tilewright.compiler.library.plan import Buffer, BufferKind, new_buffer

Memory = dict[int, object]
SOURCE = ("node",)


def run(steps: tuple[GraphStep, ...] | list[GraphStep], memory: Memory) -> None:
    """Every call gives a value that says what it was made of."""
    for step in steps:
        if isinstance(step, GraphCopy):
            memory[step.destination] = memory[step.source]
        else:
            assert isinstance(step, GraphCall)
            assert not set(step.inputs) & set(step.outputs)
            made = (step.function, *(memory[index] for index in step.inputs))
            memory.update((index, (made, place)) for place, index in enumerate(step.outputs))


def drawn(rng: random.Random, known: int) -> tuple[list[Buffer], list[GraphStep]]:
    """Some calls on the first `known` buffers and on what calls before have made."""
    buffers = [new_buffer(BufferKind.WORKSPACE, 64) for _ in range(known)]
    steps: list[GraphStep] = []
    for number in range(rng.randrange(6)):
        inputs = tuple(rng.sample(range(len(buffers)), min(len(buffers), rng.randrange(1, 3))))
        outputs = tuple(len(buffers) + place for place in range(rng.randrange(1, 3)))
        buffers += [new_buffer(BufferKind.WORKSPACE, 64) for _ in outputs]
        steps.append(GraphCall(f"f{number}", inputs, outputs, SOURCE))
    return buffers, steps


@pytest.mark.parametrize("seed", range(300))
def test_a_turn_leaves_what_its_results_are(seed: int) -> None:
    rng = random.Random(seed)
    count = rng.randrange(1, 4)
    states = list(range(count))
    buffers, steps = drawn(rng, count + 2)
    results = [rng.randrange(len(buffers)) for _ in states]
    kept_at = len(buffers)
    buffers.append(new_buffer(BufferKind.WORKSPACE, 64))
    kept = GraphCopy(rng.randrange(kept_at), kept_at, SOURCE)

    def like(index: int) -> int:
        buffers.append(buffers[index])
        return len(buffers) - 1

    turn = turn_of(steps, states, results, [kept], buffers, like, SOURCE)

    memory: Memory = {index: f"b{index}" for index in range(len(buffers))}
    expected = dict(memory)
    run(steps, expected)
    run(turn, memory)
    assert [memory[state] for state in states] == [expected[result] for result in results]
    assert memory[kept_at] == expected[kept.source]


def test_a_state_that_was_read_before_is_written_in_place() -> None:
    """h -> product -> h: the product has read all of h when the next one is made. A sum reads what it is added to."""
    buffers = [new_buffer(BufferKind.WORKSPACE, 64) for _ in range(4)]
    steps = [GraphCall("product", (0,), (2,), SOURCE), GraphCall("tanh", (2,), (3,), SOURCE)]
    assert turn_of(steps, [0], [3], [], buffers, int, SOURCE)[1:] == (GraphCall("tanh", (2,), (0,), SOURCE),)
    total = [GraphCall("sum", (0, 1), (2,), SOURCE)]
    assert turn_of(total, [0], [2], [], buffers, int, SOURCE) == (*total, GraphCopy(2, 0, SOURCE))


@pytest.mark.parametrize("seed", range(100))
def test_a_branch_leaves_its_results_where_both_do(seed: int) -> None:
    rng = random.Random(seed)
    buffers, steps = drawn(rng, 3)
    results = [rng.randrange(len(buffers)) for _ in range(rng.randrange(1, 4))]
    places = [len(buffers) + index for index in range(len(results))]
    buffers += [new_buffer(BufferKind.WORKSPACE, 64) for _ in places]

    memory: Memory = {index: f"b{index}" for index in range(len(buffers))}
    expected = dict(memory)
    run(steps, expected)
    run(branch_of(steps, results, places, buffers, SOURCE), memory)
    assert [memory[place] for place in places] == [expected[result] for result in results]
