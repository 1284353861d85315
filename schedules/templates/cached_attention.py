"""Attention to a cache: few queries, and so many keys as there are when it runs, read where they lie.

    parallel (head, block of rows), of those that are there
        for key:    scores[rows] = q k * scale + masks           sums over the depth in vectors, rows in registers
        for vector: scores[rows] = exp(scores - largest)         whole vectors: behind the last key -inf
        for key:    sums[rows] += scores * v                     all of a row of values in registers
        result = sums / total

Nothing is packed: each key is read once by a block of rows, as long as it is in a register.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

from ...targets.target import Target
from . import plain
from .choices import Choice
from .sharing import best_threads, elapsed, thread_counts

TEMPLATE = "cached_attention"
_MOST_ROWS = 8
_FLOAT_BYTES = 4
# Vectors that are added to make one number of the lanes of another.
_SPARE_REGISTERS = 4


@dataclass(frozen=True)
class CachedHeads:
    """The sizes of an attention: heads of all texts, queries and keys at most, and depths; of float32.

    Attributes:
        groups: heads of queries that one of keys serves.
        keys_first, values_first: whether heads come before keys, in keys and in values.
        by_text: whether each text has a number of keys of its own.
    """

    batch: int
    heads: int
    queries: int
    keys: int
    depth: int
    value_depth: int
    groups: int = 1
    keys_first: bool = True
    values_first: bool = True
    by_text: bool = False


@dataclass(frozen=True)
class CachedAttentionChoice(Choice):
    """So many ``rows`` of queries at a time, in vectors of ``lanes``; at most so many ``threads`` share the blocks."""

    rows: int
    lanes: int
    threads: int = 1


def takes(workload: object, target: Target) -> bool:
    """Attention to a cache."""
    return isinstance(workload, CachedHeads)


def space(workload: CachedHeads, target: Target) -> Iterator[CachedAttentionChoice]:
    """All blocks of rows whose sums fit the registers, and vectors that divide both depths."""
    most = math.gcd(workload.depth, workload.value_depth, target.lanes())
    for lanes in (1 << power for power in range(most.bit_length())):
        for rows in (each for each in range(1, _MOST_ROWS + 1) if workload.queries % each == 0):
            if rows == 1 or rows * workload.value_depth // lanes <= target.num_vector_registers - _SPARE_REGISTERS:
                yield from (CachedAttentionChoice(rows, lanes, threads) for threads in thread_counts(target))


def default(workload: CachedHeads, target: Target) -> CachedAttentionChoice:
    """The fewest estimated cycles."""
    tiles = {(each.rows, each.lanes) for each in space(workload, target)}
    choices = []
    for rows, lanes in sorted(tiles):
        choice = CachedAttentionChoice(rows, lanes)
        threads = best_threads(_cycles(workload, choice, target), blocks_of(workload, choice), target)
        choices.append(CachedAttentionChoice(rows, lanes, threads))
    return min(choices, key=lambda choice: estimate(workload, choice, target))


def estimate(workload: CachedHeads, choice: CachedAttentionChoice, target: Target) -> float:
    """Estimated cycles until all cores are done, for the most keys."""
    cycles = _cycles(workload, choice, target)
    return elapsed(cycles, blocks_of(workload, choice), choice.threads, target)


def blocks_of(workload: CachedHeads, choice: CachedAttentionChoice) -> int:
    """Iterations of the parallel loop."""
    return workload.batch * workload.heads * (workload.queries // choice.rows)


def _cycles(workload: CachedHeads, choice: CachedAttentionChoice, target: Target) -> float:
    """Estimated cycles of one core: of each key its loads, products for each row, and what makes a number of lanes."""
    core, lanes = target.core, choice.lanes
    vectors = (workload.depth + workload.value_depth) / lanes
    narrower = 2 * math.log2(lanes) + 1  # halves that are added until one lane is left
    products = choice.rows * (vectors + narrower) / core.fmas_per_cycle
    loads = (vectors + choice.rows * vectors / 2) / core.loads_per_cycle
    read = vectors * lanes * _FLOAT_BYTES / (target.vector_bits // 8) / core.l2_vectors_per_cycle
    functions = choice.rows * plain.FUNCTION_STEPS / lanes / core.fmas_per_cycle
    key = max(products, loads, read) + functions + 2 * core.step_overhead
    return blocks_of(workload, choice) * workload.keys * key
