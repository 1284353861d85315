"""The schedule of the attention template; `attention.py` is its algorithm and shows the loop nest."""

from __future__ import annotations

from tvm.s_tir import Schedule

from ...annotations import ANCHOR, STAGE
from ...targets.target import Target
from ..tensorir import blocks
from ..tensorir.blocks import Block
from . import dot_product_schedule, plain, transposition
from .attention import PROBABILITIES, PRODUCTS, RESULT, SCORES, SUMS, AttentionChoice
from .contraction import MultiplyAddChoice
from .contraction_schedule import schedule_sums
from .dot_product import OPERAND
from .rows_choice import ROWS
from .rows_schedule import schedule_stages

_BLOCKS = (PRODUCTS, SCORES, PROBABILITIES, SUMS, RESULT)


def schedule_kernel(sch: Schedule, choice: AttentionChoice, target: Target) -> None:
    """Schedules a kernel around the two contractions and the softmax of one attention."""
    anchors = blocks.anchors(sch)
    products, scores, probabilities, sums, result = map(sch.get_sblock, _BLOCKS)
    blocks.inline_producers(sch, anchors)
    dot_product_schedule.drop_copies(sch, target)
    leftover = blocks.absorb_consumers(sch, result)
    # Where one block has all queries of a head, its keys and values are packed inside of it, and stay in the caches.
    packs = _stages(sch, "pack") if _is_one_block(sch, choice) else []
    before = _stages(sch, "pad", OPERAND, *(() if packs else ("pack",)))
    for block in [*before, *leftover]:
        transposition.schedule_stage(sch, block, choice.threads, target)

    head, row, column = blocks.follow_axes(sch, result, sch.get(sums).writes[0].source)
    block, row = sch.split(row, [None, choice.block])
    sch.reorder(head, block, row, column)
    task = sch.fuse(head, block)
    blocks.share(sch, task, choice.threads)
    schedule_sums(sch, sums, result, choice.values, target)

    stages = [each for each in anchors if ANCHOR.of(sch.get(each)) == ROWS][:-1]  # but for the probabilities
    sch.compute_at(probabilities, task, preserve_unit_loops=True)
    query = sch.get_loops(probabilities)[-2]
    schedule_stages(sch, stages, query, choice.softmax, target)
    plain.vectorize(sch, sch.get_loops(probabilities)[-1], target)
    sch.compute_at(scores, task, preserve_unit_loops=True)
    schedule_sums(sch, products, scores, choice.scores, target)
    for pack in packs:
        transposition.schedule_stage_inside(sch, pack, task, target)


def _stages(sch: Schedule, *kinds: str) -> list[Block]:
    return [block for block in blocks.child_blocks(sch) if STAGE.of(sch.get(block)) in kinds]


def _is_one_block(sch: Schedule, choice: AttentionChoice) -> bool:
    """Whether a block has all queries, and vectors multiply: units have packs of their own form."""
    queries = int(sch.get(sch.get_sblock(SUMS)).iter_vars[1].dom.extent)
    return isinstance(choice.scores, MultiplyAddChoice) and choice.block >= queries
