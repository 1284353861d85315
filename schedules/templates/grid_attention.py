"""Attention by grids: products, softmax and sums of values, each of them a grid; scores are in memory between them.

It computes what `attention.py` computes. Both products are tiles of `simt.py`, whose rows are as many for both.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from tvm.s_tir import Schedule

from ...annotations import ANCHOR
from ...targets.target import Target
from ..tensorir import blocks
from . import grid, grid_rows, simt, simt_schedule
from .attention import PROBABILITIES, PRODUCTS, RESULT, SCORES, SUMS, AttentionChoice, Heads, rows_of
from .rows_choice import ROWS
from .simt import SimtChoice


def takes(workload: object, target: Target) -> bool:
    """Attention in float32."""
    return isinstance(workload, Heads) and workload.dtype == workload.scores.accumulator


def space(workload: Heads, target: Target) -> Iterator[AttentionChoice]:
    """All pairs of tiles of as many rows, and threads for a row of scores."""
    for scores in _whole(simt.space(workload.scores, target)):
        for values in _whole(simt.space(workload.values(workload.queries, workload.keys), target)):
            if _rows(values) == _rows(scores):
                for softmax in grid_rows.space(rows_of(workload, scores, target), target):
                    yield AttentionChoice(scores, values, softmax)


def _whole(choices: Iterator[SimtChoice]) -> Iterator[SimtChoice]:
    """Those that do not cut k."""
    return (choice for choice in choices if choice.k_splits == 1)


def _rows(choice: SimtChoice) -> tuple[int, int]:
    return choice.rows, choice.row_tiles


def default(workload: Heads, target: Target) -> AttentionChoice:
    """The fewest estimated cycles of both products together."""
    best: dict[tuple[int, int], list[SimtChoice]] = {}
    sums = workload.values(workload.queries, workload.keys)
    for sizes in (workload.scores, sums):
        fastest: dict[tuple[int, int], SimtChoice] = {}
        for choice in sorted(_whole(simt.space(sizes, target)), key=lambda each: simt.estimate(sizes, each, target)):
            fastest.setdefault(_rows(choice), choice)
        for rows, choice in fastest.items():
            best.setdefault(rows, []).append(choice)
    pairs = [pair for pair in best.values() if len(pair) == len((workload.scores, sums))]
    scores, values = min(pairs, key=lambda pair: _cycles(workload, pair[0], pair[1], target))
    return AttentionChoice(scores, values, grid_rows.default(rows_of(workload, scores, target), target))


def estimate(workload: Heads, choice: AttentionChoice, target: Target) -> float:
    """Estimated cycles until the last block of the last grid is done."""
    assert isinstance(choice.scores, SimtChoice) and isinstance(choice.values, SimtChoice)
    rows = replace(rows_of(workload, choice.scores, target), functions=1)
    products = _cycles(workload, choice.scores, choice.values, target)
    return products + grid_rows.estimate(rows, choice.softmax, target)


def _cycles(workload: Heads, scores: SimtChoice, values: SimtChoice, target: Target) -> float:
    sums = workload.values(workload.queries, workload.keys)
    return simt.estimate(workload.scores, scores, target) + simt.estimate(sums, values, target)


def schedule_kernel(sch: Schedule, choice: AttentionChoice, target: Target) -> None:
    """Schedules a kernel around the two contractions and the softmax of one attention."""
    assert isinstance(choice.scores, SimtChoice) and isinstance(choice.values, SimtChoice)
    products, scores, probabilities, sums, result = map(sch.get_sblock, (PRODUCTS, SCORES, PROBABILITIES, SUMS, RESULT))
    blocks.inline_producers(sch, blocks.anchors(sch))
    blocks.absorb_consumers(sch, result)
    stages = [each for each in blocks.anchors(sch) if ANCHOR.of(sch.get(each)) == ROWS][:-1]  # not the probabilities
    done = simt_schedule.schedule_sums(sch, sums, result, choice.values)
    if choice.softmax.registers:
        done |= grid_rows.schedule_rows(sch, stages, probabilities, choice.softmax, target)
    done |= simt_schedule.schedule_sums(sch, products, scores, choice.scores)
    grid.schedule_rest(sch, done)
