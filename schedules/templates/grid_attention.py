"""Attention by grids: products, softmax and sums of values, each of them a grid; scores are in memory between them.

It computes what `attention.py` computes. Both products are tiles of `tensor_cores.py` where a unit multiplies their
dtype, or of `simt.py`; what both have in common are the rows of a tile, and how many slabs of k it holds.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from types import ModuleType

from tvm.s_tir import Schedule

from ...annotations import ANCHOR
from ...targets.target import Target
from ..tensorir import blocks
from ..tensorir.blocks import Block
from . import grid, grid_rows, simt, simt_schedule, tensor_cores, tensor_cores_schedule
from .attention import PROBABILITIES, PRODUCTS, RESULT, SCORES, SUMS, AttentionChoice, Heads, rows_of
from .contraction import Workload
from .rows_choice import ROWS
from .simt import SimtChoice
from .tensor_cores import TensorChoice

Tile = SimtChoice | TensorChoice


def takes(workload: object, target: Target) -> bool:
    """Attention in float32, or whatever tensor cores multiply; no integers."""
    if not isinstance(workload, Heads) or workload.integers is not None:
        return False
    return workload.dtype == workload.scores.accumulator or _template(workload, target) is tensor_cores


def _template(workload: Heads, target: Target) -> ModuleType:
    """What computes both products."""
    both = all(tensor_cores.takes(each, target) for each in _products(workload))
    return tensor_cores if both else simt


def _products(workload: Heads) -> tuple[Workload, Workload]:
    return workload.scores, workload.values(workload.queries, workload.keys)


def space(workload: Heads, target: Target) -> Iterator[AttentionChoice]:
    """All pairs of tiles with what they have in common, and threads for a row of scores."""
    scores, values = (list(_whole(each, workload, target)) for each in _products(workload))
    for first in scores:
        for second in values:
            if _common(second) == _common(first):
                for softmax in grid_rows.space(rows_of(workload, first, target), target):
                    yield AttentionChoice(first, second, softmax)


def _whole(product: Workload, workload: Heads, target: Target) -> Iterator[Tile]:
    """Tiles of a product that do not cut k."""
    return (choice for choice in _template(workload, target).space(product, target) if choice.k_splits == 1)


def _common(choice: Tile) -> tuple[object, ...]:
    if isinstance(choice, TensorChoice):
        return choice.unit, choice.pieces, choice.warps, choice.steps, choice.stages
    return choice.rows, choice.row_tiles


def default(workload: Heads, target: Target) -> AttentionChoice:
    """The fewest estimated cycles of both products together."""
    best: dict[tuple[object, ...], list[Tile]] = {}
    for product in _products(workload):
        fastest: dict[tuple[object, ...], Tile] = {}
        for choice in sorted(_whole(product, workload, target), key=lambda each: _cycles_of(product, each, target)):
            fastest.setdefault(_common(choice), choice)
        for common, choice in fastest.items():
            best.setdefault(common, []).append(choice)
    pairs = [pair for pair in best.values() if len(pair) == len(_products(workload))]
    scores, values = min(pairs, key=lambda pair: _cycles(workload, pair[0], pair[1], target))
    return AttentionChoice(scores, values, grid_rows.default(rows_of(workload, scores, target), target))


def estimate(workload: Heads, choice: AttentionChoice, target: Target) -> float:
    """Estimated cycles until the last block of the last grid is done."""
    assert isinstance(choice.scores, Tile) and isinstance(choice.values, Tile)
    rows = replace(rows_of(workload, choice.scores, target), functions=1)
    products = _cycles(workload, choice.scores, choice.values, target)
    return products + grid_rows.estimate(rows, choice.softmax, target)


def _cycles(workload: Heads, scores: Tile, values: Tile, target: Target) -> float:
    pairs = zip(_products(workload), (scores, values), strict=True)
    return sum(_cycles_of(product, choice, target) for product, choice in pairs)


def _cycles_of(product: Workload, choice: Tile, target: Target) -> float:
    if isinstance(choice, TensorChoice):
        return tensor_cores.estimate(product, choice, target)
    return simt.estimate(product, choice, target)


def schedule_kernel(sch: Schedule, choice: AttentionChoice, target: Target) -> None:
    """Schedules a kernel around the two contractions and the softmax of one attention."""
    assert isinstance(choice.scores, Tile) and isinstance(choice.values, Tile)
    products, scores, probabilities, sums, result = map(sch.get_sblock, (PRODUCTS, SCORES, PROBABILITIES, SUMS, RESULT))
    blocks.inline_producers(sch, blocks.anchors(sch))
    blocks.absorb_consumers(sch, result)
    stages = [each for each in blocks.anchors(sch) if ANCHOR.of(sch.get(each)) == ROWS][:-1]  # not the probabilities
    done = _schedule_sums(sch, sums, result, choice.values, target)
    if choice.softmax.registers:
        done |= grid_rows.schedule_rows(sch, stages, probabilities, choice.softmax, target)
    done |= _schedule_sums(sch, products, scores, choice.scores, target)
    grid.schedule_rest(sch, done)


def _schedule_sums(sch: Schedule, anchor: Block, writer: Block, choice: Tile, target: Target) -> set[str]:
    if isinstance(choice, TensorChoice):
        return tensor_cores_schedule.schedule_sums(sch, anchor, writer, choice, target)
    return simt_schedule.schedule_sums(sch, anchor, writer, choice)
