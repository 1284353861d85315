"""How the tiles of a contraction are cut into tasks for cores, and how long the slowest core takes.

    parallel (slice of k, batch, block of rows, panel of columns)      a task: `row_tiles` tiles and one panel of B
        for tile of rows in block

Fewer rows in a block make more tasks, all of the same length, and so do slices of k: the products of a slice are a
contraction of its own, whose sums are added to the others' afterwards, in order. What is best depends on the tile, so
tile and cut are chosen together: the fewest cycles until the last core is done.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from typing import TypeVar

import numpy as np

from ...targets.target import Target
from .choices import Choice, Space
from .sharing import Floats, Integers, hand_off, thread_counts

# A block of rows of A that is larger than this share of L2 is read again for every panel, and so are panels.
_L2_SHARE = 0.5
# Results that are larger than the first share of L2 leave it, unless those of a block of rows are at most the second.
_RESULTS_SHARE, _BLOCK_SHARE = 0.75, 0.11
# How much longer slices of k take than their numbers say.
_SLICED = 1.05
# Slices of k at most, and steps of k in each at least: sums of shorter ones cost more than their products.
_MAX_SLICES, _MIN_STEPS = 16, 16


@dataclass(frozen=True, kw_only=True)
class CutChoice(Choice):
    """A tile, which extending classes say, and how tiles are cut into tasks.

    Attributes:
        row_tiles: in a block of rows.
        k_splits: slices of k, each a contraction of its own.
        threads: that share the tasks at most.
    """

    row_tiles: int = 1
    k_splits: int = 1
    threads: int = 1


T = TypeVar("T", bound=CutChoice)


@dataclass(frozen=True)
class Tiles:
    """All tiles of a contraction, or of its slices.

    Attributes:
        batch: independent products, those of every slice of k counted.
        rows, panels: tiles below and beside each other in one product.
        cycles: that a core takes for a tile, operands in its caches.
        a_bytes, b_bytes, c_bytes: of A, B and results of one product; what neighbouring rows of A share counts once.
        prefetched: tiles in a block from which on the next panel is asked for in time.
        added: slices whose sums are added; 1 where k is whole.
        apart: cycles that a tile takes at least where the panels beside it are computed much later.
        begin: cycles that a task takes before its first tile: until a panel that was in L2 is in L1.
    """

    batch: int
    rows: int
    panels: int
    cycles: float
    a_bytes: float
    b_bytes: float
    c_bytes: float
    prefetched: int
    added: int = 1
    apart: float = 0.0
    begin: float = 0.0

    @property
    def count(self) -> int:
        """Of all."""
        return self.batch * self.rows * self.panels

    def least(self, target: Target) -> float:
        """Cycles that no cut takes fewer than."""
        after = hand_off(2, target) if self.added > 1 and target.cores > 1 else 0.0
        return self.count * self.cycles / target.cores + after + self._sums(target) / target.cores

    def _sums(self, target: Target) -> float:
        """Cycles of one core that adds the sums of slices."""
        read = self.batch * self.c_bytes
        return (read + read / self.added) / target.core.l3_bytes_per_cycle if self.added > 1 else 0.0

    def elapsed(self, row_tiles: Integers, threads: Integers, target: Target) -> Floats:
        """Estimated cycles until the last core is done, B from memory, for every pair of the two."""
        core, cache = target.core, target.l2_bytes * _L2_SHARE
        blocks = -(-self.rows // row_tiles)
        tasks = self.batch * blocks * self.panels
        used = np.minimum(threads, tasks)
        mine = -(-tasks // used)  # the tasks of the slowest core
        # A, where it is not in a core's own cache: once for each block, or for each panel where blocks are large.
        block = self.a_bytes / blocks
        blocks_read = np.where(block > cache, mine, np.where(used > 1, np.ceil(mine / self.panels), 0))
        written = mine * self.c_bytes / (blocks * self.panels)
        moved = blocks_read * block + np.where(written > cache, written, 0)
        l3 = np.minimum(core.l3_bytes_per_cycle, core.l3_shared_bytes_per_cycle / used)
        # Panel by panel all lines of a block are written in parts; large blocks have left the cache in between.
        leaves = self.c_bytes > target.l2_bytes * _RESULTS_SHARE and self.panels > 1
        apart = leaves & (self.c_bytes / blocks > target.l2_bytes * _BLOCK_SHARE)
        tile = np.where(apart, max(self.cycles, self.apart), self.cycles)
        sums = np.maximum(mine * (row_tiles * tile + self.begin), moved / l3)
        # Panels come from memory once, all but the first asked for in time by blocks that are long enough; and where
        # they do not stay in the cache, from L3 for every further block. A panel that one tile reads is a stream.
        panels = np.maximum(np.minimum(mine, self.panels), np.ceil(mine / blocks))
        weights = self.batch * self.b_bytes
        late = (row_tiles < self.prefetched) & ((panels > 1) | (row_tiles == 1))
        dram = np.where(late, core.dram_bytes_per_cycle, core.prefetched_bytes_per_cycle)
        share = panels / (self.batch * self.panels)
        first = weights * np.maximum(share / dram, 1 / core.dram_shared_bytes_per_cycle)
        again = (mine - panels) * self.b_bytes / self.panels if self.b_bytes > cache else 0.0
        cycles: Floats = sums + first + again / l3 + hand_off(used, target)
        return cycles if self.added == 1 else _SLICED * (cycles + self._after(threads, target))

    def elapsed_of(self, cut: CutChoice, target: Target) -> float:
        """The same for one choice."""
        return float(self.elapsed(np.array([cut.row_tiles]), np.array([cut.threads]), target)[0])

    def _after(self, threads: Integers, target: Target) -> Floats:
        """Cycles of adding the sums of slices."""
        used = np.minimum(threads, self.rows)
        return self._sums(target) * np.ceil(self.rows / used) / self.rows + hand_off(threads, target)


def cuts(
    tiles: Callable[[], Iterable[T]],
    rows: Callable[[T], int],
    slices: Callable[[T], Iterable[int]],
    target: Target,
    line: Callable[[T], int] = lambda choice: 0,
) -> Space[T]:
    """All cuts of all tiles.

    Args:
        tiles: choices that are not cut.
        rows: tiles below each other, of a choice.
        slices: numbers of slices of k that there may be, of a tile.
        line: tiles that make a block, of a choice, where nothing else may; else 0.
    """
    fields = (
        ("k_splits", slices),
        ("row_tiles", lambda choice: [line(choice)] if line(choice) else blockings(rows(choice))),
        ("threads", lambda choice: thread_counts(target)),
    )
    return Space(tiles, fields)


def best(space: Space[T], tiles_of: Callable[[T], Tiles], target: Target) -> T:
    """Of a space that `cuts` made the choice of the fewest estimated cycles; of several with as many the first tile's.

    Args:
        tiles_of: the tiles of a choice, whose `k_splits` is settled and whose other cuts do not matter.
    """
    (_, slices), (_, sizes), (_, counts) = space.fields
    uncut = [replace(tile, k_splits=count) for tile in space.starts() for count in slices(tile)]
    found = [(tiles_of(each), each) for each in uncut]
    chosen, fewest = uncut[0], math.inf
    for tiles, choice in sorted(found, key=lambda each: each[0].least(target)):
        if tiles.least(target) >= fewest:
            break
        row_tiles, threads = np.meshgrid([*sizes(choice)], [*counts(choice)])
        cycles = tiles.elapsed(row_tiles, threads, target)
        place = int(cycles.argmin())
        if cycles.flat[place] < fewest:
            fewest = float(cycles.flat[place])
            chosen = replace(choice, row_tiles=int(row_tiles.flat[place]), threads=int(threads.flat[place]))
    return chosen


def blockings(row_tiles: int) -> Iterator[int]:
    """Tiles in a block of rows, most first: of all that make as many blocks the fewest."""
    size = row_tiles
    while size:
        yield size
        size = math.ceil(row_tiles / math.ceil(row_tiles / (size - 1))) if size > 1 else 0


def slices(run: int, steps: int, target: Target) -> Iterator[int]:
    """Numbers of slices of k that its innermost extent `run` can be cut into, `steps` of k in all; a core each."""
    most = max(1, min(_MAX_SLICES, target.cores, steps // _MIN_STEPS))
    return (count for count in range(1, most + 1) if run % count == 0)
