"""How contractions are tiled: the choices of the contraction template, and what each of them takes."""

from __future__ import annotations

import math
from collections.abc import Iterator

from ...targets.target import Target
from ..tensorir.expressions import dtype_bits
from .choices import Space
from .contraction import MultiplyAddChoice, Workload, as_chosen, in_bands, taps, tile_columns
from .cutting import Tiles, best, cuts, slices
from .steps_of_k import LoopsOverK, can_write_out, loaded_at_once, loads_of, loops_over_k
from .taps import share_inside

# A panel of B larger than this share of L1 comes from L2 for every tile of rows.
_L1_SHARE = 0.45
_EARLY_LOADS = 2
# Of a row's loads for the steps that are written out LLVM begins the second one early, too.
_LOADS_HELD = 2
# Of a loop over k: the pointer to B, the count, the jump.
_LOOP_INSTRUCTIONS = 3
# What a row's bounds take, in what a vector of sums takes. At 56x56, 24 channels to 144, 4x3 took 0.85 of 6x2's time.
_OF_ROW = 0.5


def _registers_used(rows: int, vectors: int, k_step: int, target: Target) -> int:
    # One register holds the broadcast element of A, unless the multiply-add itself broadcasts it from memory; or each
    # row has one for elements of several steps, and a few loads begin early.
    broadcast = 0 if target.broadcasts_operands else 1
    if loaded_at_once(k_step, target) > 1:
        broadcast = rows * min(loads_of(k_step, target), _LOADS_HELD) + _EARLY_LOADS
    product = 0 if target.has_fma else 1
    # What a single row multiplies by is not needed again; where one instruction starts at a time, nothing waits for it.
    loaded = min(vectors, _EARLY_LOADS) if rows == 1 and target.core.single_issue else vectors
    return rows * vectors + loaded + broadcast + product


def tile_cycles(workload: Workload, tile: MultiplyAddChoice, target: Target, k_splits: int = 1) -> float:
    """Estimated cycles of one core for one tile of a slice of k, B in the caches.

    A panel that comes from L2 does so in slices, too: they gain nothing on one core.
    """
    core, columns = target.core_for(workload.accumulator), tile_columns(workload, tile, target)
    rows, vectors = tile.rows, tile.vectors
    # Where a tile may reach into the next line, or end behind the last row, each row has an address, which is bounded;
    # where not all results may be there, rows have branches.
    apart, partial = workload.line % rows > 0, workload.columns % columns > 0
    depth = math.prod(workload.k) * share_inside(taps(workload, target), as_chosen(workload, tile).offset_axes, rows)
    loads = rows * loads_of(tile.k_step, target) / tile.k_step + vectors
    step = core.together(rows * vectors / core.fmas_per_cycle, loads / core.loads_per_cycle)
    step = max(step, core.fma_latency) + core.beside * _instructions_beside(tile, target, apart=apart)
    if math.prod(workload.k) * columns * dtype_bits(workload.rhs) // 8 > target.l1_bytes * _L1_SHARE:
        step = max(step, vectors / core.l2_vectors_per_cycle)
    once = core.tile_overhead * rows * (vectors + _OF_ROW * (apart + partial))
    return depth / k_splits * (step + core.step_overhead / tile.k_step) + once


def _instructions_beside(tile: MultiplyAddChoice, target: Target, *, apart: bool) -> float:
    """Instructions of a step of k beside multiply-adds: loads, pointers that move on, and the loop's own.

    Rows at one distance have one pointer, those `apart` one each.
    """
    once = tile.rows * loads_of(tile.k_step, target) + (tile.rows if apart else 1) + _LOOP_INSTRUCTIONS
    return once / tile.k_step + tile.vectors / target.core.vectors_a_load


def cycles(workload: Workload, tile: MultiplyAddChoice, target: Target) -> float:
    """Estimated cycles of one core for the whole contraction with this tile, B in the caches."""
    panels = math.ceil(workload.columns / tile_columns(workload, tile, target))
    return workload.batch * math.ceil(workload.rows / tile.rows) * panels * tile_cycles(workload, tile, target)


def tiles_of(workload: Workload, choice: MultiplyAddChoice, target: Target) -> Tiles:
    """The tiles of a choice."""
    part = workload.sliced(choice.k_splits)
    columns = tile_columns(part, choice, target)
    panels = math.ceil(part.columns / columns)
    lines = math.ceil(columns * dtype_bits(part.accumulator) / 8 / target.core.line_bytes)
    each = tile_cycles(workload, choice, target, choice.k_splits)
    return Tiles(
        part.batch,
        math.ceil(part.rows / choice.rows),
        panels,
        each,
        *part.product_bytes,
        1 if choice.rows > 1 else workload.rows + 1,  # tiles of one row ask for nothing ahead
        choice.k_splits,
        each + choice.rows * lines * target.core.line_apart,
        part.product_bytes[1] / panels / (target.core.l2_vectors_per_cycle * target.core.line_bytes),
    )


def estimate(workload: Workload, choice: MultiplyAddChoice, target: Target) -> float:
    """Estimated cycles until all cores are done, when B comes from memory."""
    return tiles_of(workload, choice, target).elapsed_of(choice, target)


def space(workload: Workload, target: Target) -> Space[MultiplyAddChoice]:
    """All register tiles that fit, cut in every way."""
    return cuts(
        lambda: register_tiles(workload, target),
        lambda tile: math.ceil(workload.rows / tile.rows),
        lambda tile: slices(as_chosen(workload, tile).k[-1] // tile.k_step, math.prod(workload.k), target),
        target,
        lambda tile: workload.image_line // tile.rows if in_bands(workload, target) else 0,
    )


def default(workload: Workload, target: Target) -> MultiplyAddChoice:
    """The choice the machine's numbers give: the fewest estimated cycles."""
    return best(space(workload, target), lambda choice: tiles_of(workload, choice, target), target)


def register_tiles(workload: Workload, target: Target) -> Iterator[MultiplyAddChoice]:
    """Every tile of sums that fits the registers; first those that read less for each product, or else wide ones.

    Of equals the first is taken.
    """
    tiles = _register_tiles(workload, target)
    if target.written_steps == 1 or target.core.single_issue:
        yield from tiles
    else:  # nothing is loaded beside an instruction for nothing, so that what counts are all loads
        yield from sorted(
            tiles, key=lambda tile: loads_of(tile.k_step, target) / (tile.k_step * tile.vectors) + 1 / tile.rows
        )


def _register_tiles(workload: Workload, target: Target) -> Iterator[MultiplyAddChoice]:
    """All of them, wide ones first."""
    registers, loops = target.registers_for(workload.accumulator), [LoopsOverK()]
    if workload.columns > 1 and workload.lhs == "float32":
        loops = loops_over_k(workload.k, workload.runs, target)
    most = 2 if workload.columns == 1 else registers if target.core.single_issue else registers // 2
    for vectors in reversed(range(1, most)):
        for rows in range(1, min(target.core.addressed_rows, workload.rows) + 1):
            if in_bands(workload, target) and workload.image_line % rows:
                continue
            for each in loops:
                written = can_write_out(each.k_step, rows, vectors, target)
                if written and _registers_used(rows, vectors, each.k_step, target) <= registers:
                    yield MultiplyAddChoice(rows=rows, vectors=vectors, k_step=each.k_step, k=each.k)
