"""How windows are cut: the choices of the window template, and what each of them takes."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from ...targets.target import FLOAT32_BITS, Target
from . import plain
from .choices import Choice
from .sharing import best_threads, elapsed, thread_counts

TEMPLATE = "window"

# Offsets up to which neighbouring positions share their loads; larger windows are means over space.
_SHARED_OFFSETS = 81
_MAX_POSITIONS = 8
# Registers of channels in a tile; of several positions more were never faster.
_MAX_VECTORS, _MAX_SHARED_VECTORS = 4, 2
# What a block reads again and again stays in L1 if it takes no more than this share of it.
_L1_SHARE = 0.75
# What another choice has to leave of the time to be taken, and one of more parts.
_CLEARLY_LESS, _PARTS_GAIN = 0.98, 0.8
# Of a loop over offsets, each time, beside loads and sums.
_LOOP_INSTRUCTIONS = 3


@dataclass(frozen=True)
class Windows:
    """What windows are combined.

    Attributes:
        output: extents of the result, channels last.
        offsets: extents of a window.
        strides, dilation: of the windows, an axis of `offsets`; none where windows are whole axes.
        weighted: whether there is a weight for every offset and channel.
        accumulator: the dtype of sums.
    """

    output: tuple[int, ...]
    offsets: tuple[int, ...]
    strides: tuple[int, ...] = ()
    dilation: tuple[int, ...] = ()
    weighted: bool = False
    accumulator: str = "float32"

    @property
    def is_whole(self) -> bool:
        """Whether each window is whole axes of the data."""
        return not self.strides

    @property
    def channels(self) -> int:
        """Of the result and of the data."""
        return self.output[-1]

    @property
    def shares(self) -> bool:
        """Whether neighbouring positions may share what they load."""
        return len(self.output) > 2 and math.prod(self.offsets) <= _SHARED_OFFSETS


@dataclass(frozen=True)
class WindowChoice(Choice):
    """How windows are combined.

    Attributes:
        positions, vectors, lanes: of a tile: neighbouring windows, and registers of so many channels.
        rows: of output in a block, along the longest of the axes of space (of its tiles, where that is the last one).
        panels: tiles of channels in a block.
        parts: that the outermost axis of whole windows is reduced in.
        threads: that share the blocks at most.
    """

    positions: int
    vectors: int
    lanes: int
    rows: int
    panels: int
    parts: int = 1
    threads: int = 1


def takes(workload: object, target: Target) -> bool:
    """Windows."""
    return isinstance(workload, Windows)


def space(workload: Windows, target: Target) -> Iterator[WindowChoice]:
    """All tiles that fit the registers, in blocks of halves of what there is."""
    most = plain.lanes_for(workload.channels, target)
    for lanes in (1 << power for power in reversed(range(most.bit_length()))):
        for tile in _tiles(workload, lanes, target):
            for block in _blocks(workload, tile, target):
                for threads in thread_counts(target):
                    yield replace(block, threads=threads)


def default(workload: Windows, target: Target) -> WindowChoice:
    """The fewest estimated cycles; of nearly equals the first: of few vectors and panels, and of many rows."""
    best: tuple[float, WindowChoice] | None = None
    for tile in _tiles(workload, plain.lanes_for(workload.channels, target), target):
        for block in _blocks(workload, tile, target):
            cycles, blocks = _cycles(workload, block, target), block_count(workload, block)
            choice = replace(block, threads=best_threads(cycles, blocks, target))
            needed = estimate(workload, choice, target)
            if best is None or needed < best[0] * (_PARTS_GAIN if choice.parts > best[1].parts else _CLEARLY_LESS):
                best = needed, choice
    assert best is not None
    return best[1]


def estimate(workload: Windows, choice: WindowChoice, target: Target) -> float:
    """Estimated cycles until all cores are done, data in the caches."""
    shared = elapsed(_cycles(workload, choice, target), block_count(workload, choice), choice.threads, target)
    if choice.parts == 1:
        return shared
    vectors = math.prod(workload.output) / choice.lanes
    return shared + vectors * choice.parts * max(1 / target.core.loads_per_cycle, 1 / target.core.l2_vectors_per_cycle)


def _tiles(workload: Windows, lanes: int, target: Target) -> Iterator[WindowChoice]:
    """Tiles of so many lanes; those of most positions first, which read weights the least often."""
    shares = workload.shares and (lanes > 1 or target.lanes() == 1)
    most = min(workload.output[-2], _MAX_POSITIONS) if shares else 1
    for vectors in range(1, _MAX_VECTORS + 1):
        if math.ceil(workload.channels / lanes) % vectors == 0:
            for positions in range(most, 0, -1):
                used = _registers_used(positions, vectors, lanes, target)
                fits = used <= target.registers_for(workload.accumulator)
                if fits and (positions == 1 or vectors <= _MAX_SHARED_VECTORS):
                    yield WindowChoice(positions, vectors, lanes, 1, 1)


def _registers_used(positions: int, vectors: int, lanes: int, target: Target) -> int:
    """Those of sums, of what is loaded once for all positions, and of weights.

    A processor that does one thing at a time gains nothing by loads that are early.
    """
    if lanes > 1 and target.core.single_issue:
        return positions * vectors + 2 * vectors
    return 2 * positions * vectors + (vectors if positions > 1 else 0)


def _blocks(workload: Windows, tile: WindowChoice, target: Target) -> Iterator[WindowChoice]:
    """Ways to cut a tile's work; whole windows into parts for several cores alone."""
    loops = loops_over_space(workload.output, tile.positions)
    for parts in parts_of(workload) if target.cores > 1 else [1]:
        for rows in _halvings(loops[cut_loop(loops)]):
            for panels in reversed([*_halvings(_panels(workload, tile))]):
                yield replace(tile, rows=rows, panels=panels, parts=parts)


def parts_of(workload: Windows) -> list[int]:
    """Numbers of parts that whole windows of many elements may be reduced in."""
    many = workload.is_whole and math.prod(workload.offsets) > _SHARED_OFFSETS
    first = workload.offsets[0] if many else 1
    return [each for each in range(1, first + 1) if first % each == 0]


def loops_over_space(output: Sequence[int], positions: int) -> list[int]:
    """Extents of the loops outside of a tile but that over panels: those of the last axis count tiles."""
    *outer, _ = output
    return [*outer[:-1], math.ceil(outer[-1] / positions)] if outer else [1]


def cut_loop(loops: Sequence[int]) -> int:
    """Which of these loops is cut into blocks, which hold those behind it: the longest, but not that over images."""
    return max(range(min(1, len(loops) - 1), len(loops)), key=lambda axis: loops[axis])


def _halvings(extent: int) -> Iterator[int]:
    """Iterations in a block: all, a half, a quarter, ... one."""
    blocks = 1
    while blocks < extent:
        yield math.ceil(extent / blocks)
        blocks *= 2
    yield 1


def _panels(workload: Windows, tile: WindowChoice) -> int:
    return math.ceil(workload.channels / (tile.vectors * tile.lanes))


def block_count(workload: Windows, choice: WindowChoice) -> int:
    """Iterations of the parallel loop."""
    loops = loops_over_space(workload.output, choice.positions)
    cut = cut_loop(loops)
    panels = math.ceil(_panels(workload, choice) / choice.panels)
    return choice.parts * math.prod(loops[:cut]) * math.ceil(loops[cut] / choice.rows) * panels


def _cycles(workload: Windows, choice: WindowChoice, target: Target) -> float:
    """Estimated cycles of one core for all blocks, each counted as a whole one."""
    loops = loops_over_space(workload.output, choice.positions)
    cut = cut_loop(loops)
    tiles = choice.rows * math.prod(loops[cut + 1 :]) * choice.panels
    vectors = _lines_of_block(workload, choice, target)
    read = vectors / target.core.l2_vectors_per_cycle
    if choice.panels < _panels(workload, choice):
        # Where a position's channels end, those of the next lie elsewhere, so that nothing fetches them early.
        read += _runs_of_block(workload, choice, vectors, tiles, target) * target.core.line_apart
    offsets = workload.offsets
    if choice.parts > 1:
        offsets = (offsets[0] // choice.parts, *offsets[1:])
    tile = _tile_cycles(workload, choice, offsets, target)
    return block_count(workload, choice) * (tiles * tile + read)


def _tile_cycles(workload: Windows, tile: WindowChoice, offsets: Sequence[int], target: Target) -> float:
    """Estimated cycles of one tile, what it reads in L1."""
    core, sums = target.core_for(workload.accumulator), tile.positions * tile.vectors
    *before, line = offsets or (1,)
    read = line * tile.positions
    if tile.positions > 1 and not workload.is_whole:
        stride, step = workload.strides[-1], workload.dilation[-1]
        read = len({at * stride + offset * step for at in range(tile.positions) for offset in range(line)})
    loads = tile.vectors * (read + line * workload.weighted)
    steps = 1 if tile.positions > 1 else line
    one = core.together(line * sums / core.fmas_per_cycle, loads / core.loads_per_cycle) + steps * core.step_overhead
    # A tile waits for its own sums only as far as the core does not see the next tiles' instructions.
    instructions = math.prod(before) * (line * sums + loads + steps * _LOOP_INSTRUCTIONS)
    seen = min(1.0, instructions / core.instructions_in_flight)
    waits = math.prod(offsets) * core.fma_latency * seen
    return max(math.prod(before) * one, waits) + core.tile_overhead * sums


def _lines_of_block(workload: Windows, choice: WindowChoice, target: Target) -> float:
    """Vectors that a block reads from beyond L1: each once, or for every row again where those of a row do not fit.

    Lines come whole: a block of half a line of channels reads as much as one of a line.
    """
    if workload.is_whole:
        tiles = choice.rows * choice.panels * choice.vectors
        return float(math.prod(workload.offsets) // choice.parts * tiles)
    loops = loops_over_space(workload.output, choice.positions)
    cut = cut_loop(loops) - 1
    axes = list(zip(workload.offsets, workload.strides, workload.dilation, strict=True))
    inside = [1] * cut + [1, *workload.output[cut + 2 : -1]]
    if cut == len(axes) - 1:
        inside[cut] = choice.positions
    reads = [_positions_read(count, *axis) for count, axis in zip(inside, axes, strict=True)]
    vectors = choice.panels * choice.vectors
    vector_bytes = choice.lanes * FLOAT32_BITS // 8
    lines = math.ceil(vectors * vector_bytes / target.core.line_bytes)
    per_position = max(vectors, lines * target.core.line_bytes // (target.vector_bits // 8))
    row = math.prod(reads) * per_position
    if row * vector_bytes > target.l1_bytes * _L1_SHARE * _reached(workload, vectors * vector_bytes, target):
        return float(choice.rows * row * _reads_of_line(workload, choice, target))
    reads[cut] = _positions_read(choice.rows * inside[cut], *axes[cut])
    return float(math.prod(reads) * per_position)


def _reads_of_line(workload: Windows, choice: WindowChoice, target: Target) -> int:
    """How often a line comes from beyond L1 for the tiles whose channels share it: once if those of a tile fit there.

    Where positions lie a power of two apart, few lines do: of those 2 KiB apart, 16 in 8 ways of 4 KiB. At 56x56 pixels
    tiles of 3 such positions, which read 15, took 0.72 of the time of those of 7.
    """
    line_bytes = target.core.line_bytes
    tile_bytes = choice.vectors * choice.lanes * FLOAT32_BITS // 8
    tile = [1] * (len(workload.offsets) - 1) + [choice.positions]
    axes = zip(tile, workload.offsets, workload.strides, workload.dilation, strict=True)
    lines = math.prod(_positions_read(*each) for each in axes)
    fits = lines * line_bytes <= target.l1_bytes * _reached(workload, line_bytes, target)
    return 1 if fits or choice.panels == 1 else max(1, line_bytes // tile_bytes)


def _runs_of_block(workload: Windows, choice: WindowChoice, vectors: float, tiles: int, target: Target) -> float:
    """Runs of neighbouring lines in a block of part of the channels, each of which is waited for.

    Results that one instruction writes a line of need not be fetched while the cores' L2 hold the layer. Beyond it all
    runs are waited for: 56x56 pixels of 2 KiB took 1.64 ms in blocks of one line of channels, each of which comes from
    a page of its own, and 0.75 ms with all channels in a block.
    """
    results = tiles / choice.panels * choice.positions
    elements = math.prod(workload.output) * (1 + math.prod(workload.strides))
    if elements * FLOAT32_BITS // 8 > target.l2_bytes * target.cores:
        return results + vectors / (choice.panels * choice.vectors)
    whole_lines = choice.lanes * FLOAT32_BITS // 8 >= target.core.line_bytes
    return 0.0 if whole_lines else results


def _positions_read(count: int, offsets: int, stride: int, dilation: int) -> int:
    """Positions along an axis that so many neighbouring windows read."""
    return min(count * offsets, (count - 1) * stride + (offsets - 1) * dilation + 1)


def _reached(workload: Windows, block_bytes: int, target: Target) -> float:
    """The part of L1 that holds anything, of so many bytes of channels at every position."""
    core = target.core
    pitch = workload.channels * FLOAT32_BITS // 8
    return min(1.0, math.ceil(block_bytes / core.line_bytes) * core.line_bytes / math.gcd(pitch, core.l1_way_bytes))
