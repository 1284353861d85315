"""What a choice makes of the machine, in a few numbers that all templates have in common; nothing is compiled.

A profile follows the loops of its template from the inside: what a tile needs of registers, what of the caches its
inner loops, its tasks and the whole kernel read again, how much comes from each of them, and into how many tasks it is
cut. Templates without a row here are told apart by their estimates and their choices' own numbers.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any

from ...targets.target import FLOAT32_BITS, Target
from ..templates import attention, contraction, dot_product, rows_choice, window_choice, winograd
from ..templates.attention import AttentionChoice, Heads
from ..templates.contraction import Workload
from ..templates.cutting import CutChoice
from ..templates.dot_product_choice import DotProductChoice
from ..templates.rows_choice import Rows, RowsChoice
from ..templates.template import Decision
from ..templates.window_choice import WindowChoice, Windows
from ..templates.winograd_choice import WinogradChoice, tiling_of
from ..tensorir.expressions import dtype_bits

_FLOAT_BYTES = FLOAT32_BITS // 8
_CACHE_SHARE = 0.5  # of a cache that what is read again and again may take to stay in it


@dataclass(frozen=True)
class Profile:
    """How a choice uses a machine.

    Attributes:
        flops: useful operations.
        used: the share of what is computed that is useful; the rest are tails of tiles and vectors.
        registers: of the tile, over those there are.
        products_per_load: multiply-adds of the inner loop for each vector or element that it loads.
        tasks: iterations of the parallel loop.
        inner_bytes: what the inner loops read again: it should stay in L1.
        block_bytes: what a task reads again: it should stay in L2.
        total_bytes: all operands and results, each once.
        l1_bytes, l2_bytes, l3_bytes: that come from each cache, of all tasks together.
    """

    flops: float
    used: float
    registers: float
    products_per_load: float
    tasks: int
    inner_bytes: float
    block_bytes: float
    total_bytes: float
    l1_bytes: float
    l2_bytes: float
    l3_bytes: float


def profile_of(decision: Decision[Any, Any], target: Target) -> Profile | None:
    """The profile of a way to compute a workload; None for templates that have none, as those of grids."""
    make = _PROFILES.get(decision.template.name)
    return None if make is None or target.grid is not None else make(decision.workload, decision.choice, target)


def _of_contraction(workload: Workload, choice: CutChoice, target: Target) -> Profile:
    unit = target.unit(choice.unit) if isinstance(choice, DotProductChoice) else None
    lanes = unit.lanes if unit is not None else workload.lanes(target)
    registers = unit.registers if unit is not None else target.num_vector_registers
    if isinstance(choice, DotProductChoice):
        workload = workload.with_k(choice.k)
    sums = choice.row_registers * choice.vectors if isinstance(choice, DotProductChoice) else _sums(choice)
    return _of_tiles(workload, choice, lanes, sums / registers, target)


def _sums(choice: Any) -> int:
    """Registers of the sums of a tile."""
    return int(choice.tile_rows * choice.vectors)


def _of_tiles(workload: Workload, choice: Any, lanes: int, registers: float, target: Target) -> Profile:
    """The loops of `contraction.py`: tiles of rows below each other stream past one panel of B."""
    part = workload.sliced(choice.k_splits)
    depth, size = math.prod(part.k), dtype_bits(part.rhs) // 8
    rows, columns = choice.tile_rows, choice.vectors * lanes
    down, panels = math.ceil(part.rows / rows), math.ceil(part.columns / columns)
    blocks = math.ceil(down / choice.row_tiles)
    tasks = part.batch * blocks * panels
    tiles = part.batch * down * panels
    panel, a_tile = depth * columns * size, rows * depth * size
    a, b, c = part.product_bytes
    block = a / blocks
    panel_stays = panel <= target.l1_bytes * _CACHE_SHARE
    block_stays = block + panel <= target.l2_bytes * _CACHE_SHARE
    return Profile(
        flops=workload.flops,
        used=part.rows * part.columns / (down * rows * panels * columns),
        registers=registers,
        products_per_load=rows * choice.vectors / (rows + choice.vectors),
        tasks=tasks,
        inner_bytes=panel + a_tile,
        block_bytes=block + panel,
        total_bytes=part.batch * (a + b + c),
        l1_bytes=tiles * (panel + a_tile),
        l2_bytes=tiles * a_tile + (tasks if panel_stays else tiles) * panel,
        l3_bytes=tasks * panel + part.batch * (blocks if block_stays else blocks * panels) * block + part.batch * c,
    )


def _of_winograd(workload: Workload, choice: WinogradChoice, target: Target) -> Profile:
    tiling = tiling_of(workload, choice.outputs)
    inner = tiling.contraction(tiling.count)
    lanes = inner.lanes(target)
    product = _of_tiles(inner, choice.tile, lanes, choice.rows * choice.vectors / target.num_vector_registers, target)
    blocks = math.ceil(tiling.count / choice.block)
    # The transformed pixels and the products of a block lie between the stages.
    between = choice.block * tiling.points * (tiling.channels + tiling.columns) * _FLOAT_BYTES
    own = math.prod(axis.outputs for axis in tiling.axes)
    pixels = tiling.count * own / (tiling.images * tiling.height * tiling.width)
    return replace(
        product,
        flops=tiling.flops,
        used=product.used / pixels,
        tasks=blocks * choice.column_tasks,
        block_bytes=between,
        l2_bytes=product.l2_bytes + 2 * blocks * between,
    )


def _of_attention(workload: Heads, choice: AttentionChoice, target: Target) -> Profile:
    blocks = attention.block_count(workload, choice)
    products = []
    for inner, tile in (
        (workload.scores, choice.scores),
        (workload.values(workload.queries, workload.keys), choice.values),
    ):
        products.append(_of_contraction(inner, tile, target))
    first, second = products
    scores = choice.block * workload.keys * _FLOAT_BYTES
    return Profile(
        flops=first.flops + second.flops,
        used=(first.flops + second.flops) / (first.flops / first.used + second.flops / second.used),
        registers=max(first.registers, second.registers),
        products_per_load=min(first.products_per_load, second.products_per_load),
        tasks=blocks,
        inner_bytes=max(first.inner_bytes, second.inner_bytes),
        block_bytes=scores + workload.keys * (workload.depth + workload.value_depth) * _FLOAT_BYTES,
        total_bytes=first.total_bytes + second.total_bytes,
        l1_bytes=first.l1_bytes + second.l1_bytes,
        l2_bytes=first.l2_bytes + second.l2_bytes + 2 * blocks * scores,
        l3_bytes=first.l3_bytes + second.l3_bytes,
    )


def _of_windows(workload: Windows, choice: WindowChoice, target: Target) -> Profile:
    results, terms = math.prod(workload.output), math.prod(workload.offsets)
    tasks = window_choice.block_count(workload, choice)
    channels = choice.vectors * choice.lanes
    panels = math.ceil(workload.channels / channels)
    positions = math.ceil(workload.output[-2] / choice.positions) if len(workload.output) > 1 else 1
    width = workload.output[-2] if len(workload.output) > 1 else 1
    used = workload.channels * width / (panels * channels * positions * choice.positions)
    line = workload.offsets[-1] if workload.offsets else 1
    step = workload.strides[-1] if workload.strides else line
    read = min(choice.positions * line, (choice.positions - 1) * step + line)
    sums = choice.positions * choice.vectors
    vectors = results / used / choice.lanes * terms
    loads_each = choice.vectors * (read + line * workload.weighted) / (line * sums)
    row = channels * choice.panels * width * terms / line * _FLOAT_BYTES
    return Profile(
        flops=2.0 * results * terms,
        used=used * min(1.0, choice.lanes / target.lanes()),
        registers=2 * sums / target.num_vector_registers,
        products_per_load=1 / loads_each,
        tasks=tasks,
        inner_bytes=row,
        block_bytes=row * choice.rows,
        total_bytes=2.0 * results * _FLOAT_BYTES,
        l1_bytes=vectors * loads_each * choice.lanes * _FLOAT_BYTES,
        l2_bytes=tasks * row * choice.rows,
        l3_bytes=2.0 * results * _FLOAT_BYTES,
    )


def _of_rows(workload: Rows, choice: RowsChoice, target: Target) -> Profile:
    size = dtype_bits(workload.dtype) // 8
    width = choice.width(workload.dtype, target)
    length = workload.length / choice.parts
    total = float(workload.count * workload.length * size)
    return Profile(
        flops=float(workload.count * workload.length * (1 + workload.functions)),
        used=length // width * width / length if length >= width else 1 / width,
        registers=choice.registers / target.num_vector_registers,
        products_per_load=1.0,
        tasks=workload.count * choice.parts,
        inner_bytes=length * size,
        block_bytes=length * size,
        total_bytes=total * (2 if workload.stays else 1),
        l1_bytes=total * (3 if workload.stays else 1),
        l2_bytes=total * (2 if workload.stays else 1),
        l3_bytes=total,
    )


_PROFILES: Mapping[str, Callable[[Any, Any, Target], Profile]] = MappingProxyType(
    {
        contraction.TEMPLATE: _of_contraction,
        dot_product.TEMPLATE: _of_contraction,
        winograd.TEMPLATE: _of_winograd,
        winograd.OF_INTEGERS: _of_winograd,
        attention.ATTENTION: _of_attention,
        window_choice.TEMPLATE: _of_windows,
        rows_choice.ROWS: _of_rows,
    }
)
