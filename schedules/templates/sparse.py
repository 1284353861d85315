"""The sparse contraction: constant weights that are mostly zeros, of which blocks with anything else are multiplied.

A block is a panel of columns, whole registers, by one step of k. Those of a panel stand one after the other, and
beside each of them the place in k that it is for. The loop nest:

    parallel (batch, tile of rows, panel)                   cut so that all tasks have as many blocks
        local C[rows, chains, columns] = 0                  in registers
        for block of the panel, `chains` at a time          as many as there are: read from memory
            unrolled chains, rows, unrolled vectors         broadcast A at the block's place, multiply-add
        epilogue(sum of the chains) -> output

What a tile of rows reads of A stays in L1 while panel after panel streams past: it is read here and there, while the
blocks are read in order. Sums of few rows wait for each other, so that they are kept in several chains, added in order:
the same bits whoever computes them. Whether weights are sparse enough is the estimate's to say, which is compared with
that of the dense templates.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial

from ...targets.target import Target
from ..tensorir.expressions import dtype_bits
from .choices import Choice, Space
from .contraction import Workload, in_bands
from .sharing import hand_off, thread_counts
from .sparsity import Sparsity
from .template import fewest_cycles

TEMPLATE = "sparse"
_CHAINS = (1, 2, 4)
_VECTORS = (1, 2, 4)
# Of L1 for what a tile reads of A, of L2 for all blocks.
_L1_SHARE, _L2_SHARE = 0.6, 0.5
# The end of a loop whose length no core foresees, in `tile_overhead`s.
_UNFORESEEN = 8.0


@dataclass(frozen=True)
class SparseChoice(Choice):
    """``rows`` and ``vectors`` of a tile, ``chains`` that its sums are kept in, ``threads`` that share tiles."""

    rows: int
    vectors: int
    chains: int = 1
    threads: int = 1

    @property
    def tile_rows(self) -> int:
        """Rows of a tile of sums."""
        return self.rows


def takes(workload: object, target: Target) -> bool:
    """Contractions whose weights are known and sparse."""
    return (
        isinstance(workload, Workload)
        and workload.sparsity is not None
        and math.prod(workload.k) > 1
        and not in_bands(workload, target)
    )


def space(workload: Workload, target: Target) -> Space[SparseChoice]:
    """All tiles that fit the registers, shared by any number of threads."""
    return Space(partial(_tiles, workload, target), (("threads", lambda choice: thread_counts(target)),))


def _tiles(workload: Workload, target: Target) -> Iterator[SparseChoice]:
    product = 0 if target.has_fma else 1
    broadcast = 0 if target.broadcasts_operands else 1
    for rows in _row_counts(workload, target):
        for vectors in _VECTORS:
            width = vectors * workload.lanes(target)
            if vectors > 1 and (width >= 2 * workload.columns or not _sparsity(workload).stated(width)):
                break
            for chains in _CHAINS:
                registers = rows * vectors * chains + vectors + broadcast + product
                if registers <= target.num_vector_registers and 2 * chains <= math.prod(workload.k):
                    yield SparseChoice(rows, vectors, chains)


def _row_counts(workload: Workload, target: Target) -> Iterator[int]:
    """Rows of a tile: more than there are addresses for only where all of them lie at one distance from each other."""
    for rows in range(1, min(target.num_vector_registers, workload.rows) + 1):
        if rows <= target.core.addressed_rows or workload.line % rows == 0:
            yield rows


def _sparsity(workload: Workload) -> Sparsity:
    assert workload.sparsity is not None
    return workload.sparsity


def width_of(workload: Workload, choice: SparseChoice, target: Target) -> int:
    """Columns of a panel."""
    return choice.vectors * workload.lanes(target)


def row_tiles(workload: Workload, choice: SparseChoice) -> int:
    """Tiles below each other."""
    return math.ceil(workload.rows / choice.rows)


def panels_of(workload: Workload, choice: SparseChoice, target: Target) -> int:
    """Panels of one product."""
    return math.ceil(workload.columns / width_of(workload, choice, target))


def tasks_of(workload: Workload, choice: SparseChoice, target: Target) -> int:
    """Into how many tasks of as many blocks the tiles are cut; 0 where nobody shares them."""
    tiles = workload.batch * row_tiles(workload, choice) * panels_of(workload, choice, target)
    return min(choice.threads, tiles) if min(choice.threads, tiles) > 1 else 0


def estimate(workload: Workload, choice: SparseChoice, target: Target) -> float:
    """Estimated cycles until all cores are done, the blocks from memory."""
    core, width = target.core_for(workload.accumulator), width_of(workload, choice, target)
    blocks, panels = _sparsity(workload).of_width(width), workload.batch * panels_of(workload, choice, target)
    # A panel's last step has chains with nothing in them.
    steps = blocks / choice.chains + panels * (choice.chains - 1) / (2 * choice.chains)
    stored = steps * choice.chains * width * dtype_bits(workload.rhs) / 8
    sums = choice.rows * choice.vectors * choice.chains
    overhead = core.tile_overhead * (_UNFORESEEN + choice.rows * choice.vectors)
    pixel = workload.batch if workload.filter is not None else 1  # groups stand side by side in a pixel
    if choice.rows > _lines_held(pixel * workload.columns * dtype_bits(workload.accumulator) // 8, target):
        overhead += core.line_apart * choice.rows
    step = _step(workload, choice, target, blocks / (panels * math.prod(workload.k)), stored)
    step = max(step, sums / core.fmas_per_cycle)
    used = max(1, tasks_of(workload, choice, target))
    tiles = row_tiles(workload, choice) * panels
    own = row_tiles(workload, choice) * (steps * step + panels * overhead) * math.ceil(tiles / used) / tiles
    first = stored * max(1 / used / core.dram_bytes_per_cycle, 1 / core.dram_shared_bytes_per_cycle)
    return own + first + hand_off(used, target)


default = fewest_cycles(space, estimate)


def _lines_held(stride: int, target: Target) -> int:
    """Lines at a distance from each other that L1 has places for: a power of two leaves it few."""
    return target.l1_bytes // max(math.gcd(stride, target.core.l1_way_bytes), target.core.line_bytes)


def _step(workload: Workload, choice: SparseChoice, target: Target, density: float, stored: float) -> float:
    """Cycles of a step of one panel: a block for each chain.

    Args:
        density: the share of blocks that are stored.
        stored: bytes of all of them.
    """
    core, chains = target.core, choice.chains
    axes = sum(extent > 1 for extent in workload.k)
    loads = chains * (choice.rows + choice.vectors + axes)
    step = core.together(chains * choice.rows * choice.vectors / core.fmas_per_cycle, loads / core.loads_per_cycle)
    step = max(step, core.fma_latency)
    line = core.line_bytes * 8 // dtype_bits(workload.lhs)  # elements of A
    lines = workload.filter.kernel[0] if workload.filter is not None else 1
    read = workload.product_bytes[0] / workload.rows * choice.rows * lines
    apart = workload.k[-1] * dtype_bits(workload.lhs) // 8
    if workload.filter is not None:
        apart *= workload.batch * workload.filter.strides[-1]
    if read > target.l1_bytes * _L1_SHARE or choice.rows > _lines_held(apart, target):
        fetched = (1 - (1 - density) ** line) / (line * density)  # lines of A a block, those that blocks share once
        step = max(step, chains * choice.rows * fetched / core.l2_vectors_per_cycle)
    if stored > target.l2_bytes * _L2_SHARE:
        width = width_of(workload, choice, target)
        shared = core.l3_shared_bytes_per_cycle / max(1, choice.threads)
        step = max(step, chains * width * dtype_bits(workload.rhs) / 8 / min(core.l3_bytes_per_cycle, shared))
    elif stored > target.l1_bytes * _L1_SHARE:
        step = max(step, chains * choice.vectors / core.l2_vectors_per_cycle)
    return step + core.step_overhead
