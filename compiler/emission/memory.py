"""Memory planning: gives every workspace buffer an offset in its region so that buffers alive together never overlap.

Greedy placement by several orders (Pisarchyk and Lee, "Efficient Memory Management for Deep Neural Net Inference",
2020, call the first one greedy-by-size), and by a few changes of these; the order with the smallest arena wins. Sizes
count at the bounds of their dimensions. Peak memory is then known before anything runs, and `check` proves the result.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from itertools import accumulate

from ...errors import CompilerError
from ...sizes import largest
from ..library.plan import ALIGNMENT, Buffer, BufferKind, Bytes, Region, align

# Sort keys: each places the buffers that are hardest to fit first, by another idea of hard.
_ORDERS: tuple[Callable[[Buffer], tuple[int, ...]], ...] = (
    lambda b: (-largest(b.bytes), b.first_step),
    lambda b: (-largest(b.bytes) * (b.last_step - b.first_step + 1), b.first_step),
    lambda b: (b.first_step - b.last_step, -largest(b.bytes), b.first_step),
    lambda b: (b.first_step, -largest(b.bytes)),
    lambda b: (-b.last_step, -largest(b.bytes)),
)

# Where no order reaches the lower bound, orders near to them are tried: so many, for so many buffers at most.
_SHUFFLES, _MOST_SHUFFLED = 100, 64


def plan_memory(buffers: Sequence[Buffer], unit: Bytes = ALIGNMENT) -> tuple[tuple[Buffer, ...], tuple[Region, ...]]:
    """Places the workspace buffers, those of each region apart; the others are returned as they are.

    Args:
        buffers: with their lifetimes and regions.
        unit: what offsets are multiples of.

    Returns:
        The buffers in the order given, and the regions that they are in.
    """
    placed = list(buffers)
    regions = []
    for name in dict.fromkeys(b.region for b in buffers if b.kind is BufferKind.WORKSPACE):
        inside = [i for i, b in enumerate(buffers) if b.kind is BufferKind.WORKSPACE and b.region == name]
        found, size = plan_arena([buffers[i] for i in inside], unit)
        regions.append(Region(name, size))
        for i, buffer in zip(inside, found, strict=True):
            placed[i] = buffer
    return tuple(placed), tuple(regions)


def plan_arena(buffers: Sequence[Buffer], unit: Bytes = ALIGNMENT) -> tuple[tuple[Buffer, ...], Bytes]:
    """Places the workspace buffers in one arena, at multiples of `unit`; the others are returned as they are.

    Returns:
        The buffers in the order given, and the size of the arena in bytes.
    """
    best: dict[int, Bytes] = {}
    best_size: Bytes | None = None
    for offsets in _placements(buffers, unit):
        size = max((offsets[i] + _room(buffers[i], unit) for i in offsets), default=0)
        if best_size is None or size < best_size:
            best, best_size = offsets, size
    placed = tuple(replace(b, offset=best[i]) if i in best else b for i, b in enumerate(buffers))
    check(placed, best_size or 0, unit)
    return placed, best_size or 0


def lower_bound(buffers: Sequence[Buffer], unit: Bytes = ALIGNMENT) -> Bytes:
    """The most bytes alive during one step: no arena can be smaller."""
    return max(alive_bytes(buffers, unit).values(), default=0)


def peak_step(buffers: Sequence[Buffer], unit: Bytes = ALIGNMENT) -> int:
    """The first step at which so many are alive."""
    alive = alive_bytes(buffers, unit)
    return max(alive, key=lambda step: (alive[step], -step), default=0)


def alive_bytes(buffers: Sequence[Buffer], unit: Bytes = ALIGNMENT) -> dict[int, Bytes]:
    """The bytes alive from each step on at which they change."""
    change: dict[int, Bytes] = {}
    for b in _in_arena(buffers):
        change[b.first_step] = change.get(b.first_step, 0) + _room(b, unit)
        change[b.last_step + 1] = change.get(b.last_step + 1, 0) - _room(b, unit)
    return dict(zip(sorted(change), accumulate(change[step] for step in sorted(change)), strict=True))


def check(buffers: Sequence[Buffer], arena_bytes: Bytes, unit: Bytes = ALIGNMENT) -> None:
    """Proves that the placement is sound: inside the arena, aligned, and disjoint whenever two are alive together.

    Raises:
        CompilerError: it is not.
    """
    # Sweep over the steps: only buffers alive together are compared.
    active: list[Buffer] = []
    for b in sorted(_in_arena(buffers), key=lambda b: b.first_step):
        if b.offset < 0 or b.offset % unit or b.offset + largest(b.bytes) > arena_bytes:
            raise CompilerError(f"the arena of {arena_bytes} bytes does not hold a buffer: {b}")
        active = [a for a in active if a.last_step >= b.first_step]
        for a in active:
            if a.offset < b.offset + largest(b.bytes) and b.offset < a.offset + largest(a.bytes):
                raise CompilerError(f"two buffers that are alive together overlap in the arena: {a} and {b}")
        active.append(b)


def _room(buffer: Buffer, unit: Bytes) -> Bytes:
    return align(largest(buffer.bytes), unit)


def _in_arena(buffers: Sequence[Buffer]) -> list[Buffer]:
    return [b for b in buffers if b.kind is BufferKind.WORKSPACE and largest(b.bytes) and b.first_step <= b.last_step]


def _placements(buffers: Sequence[Buffer], unit: Bytes) -> Iterator[dict[int, Bytes]]:
    workspace = [i for i, b in enumerate(buffers) if b.kind is BufferKind.WORKSPACE]
    bound = lower_bound(buffers, unit)
    orders = [_ordered(buffers, workspace, order) for order in _ORDERS]
    generator = random.Random(0)  # the same orders in every compile
    if 1 < len(workspace) <= _MOST_SHUFFLED:
        orders += [_shuffled(orders[count % len(_ORDERS)], generator) for count in range(_SHUFFLES)]
    for order in orders:
        offsets = _place(buffers, order, unit)
        yield offsets
        if max((offsets[i] + _room(buffers[i], unit) for i in offsets), default=0) == bound:
            return  # no order can do better


def _ordered(
    buffers: Sequence[Buffer], workspace: Sequence[int], order: Callable[[Buffer], tuple[int, ...]]
) -> list[int]:
    """The buffers of the workspace by a key."""
    return sorted(workspace, key=lambda i: (*order(buffers[i]), i))


def _shuffled(order: Sequence[int], generator: random.Random) -> list[int]:
    """An order with a few buffers earlier or later than they were."""
    changed = list(order)
    for _ in range(generator.randint(1, 3)):
        changed.insert(generator.randrange(len(changed)), changed.pop(generator.randrange(len(changed))))
    return changed


def _place(buffers: Sequence[Buffer], order: Sequence[int], unit: Bytes) -> dict[int, Bytes]:
    """Puts each buffer in the smallest gap it fits among those placed before and alive with it."""
    offsets: dict[int, Bytes] = {}
    for i in order:
        buffer = buffers[i]
        busy = sorted(
            (offset, offset + _room(buffers[j], unit))
            for j, offset in offsets.items()
            if buffers[j].overlaps_in_time(buffer)
        )
        end, best_gap, best_offset = 0, None, None
        for start, stop in busy:
            gap = start - end
            if gap >= largest(buffer.bytes) and (best_gap is None or gap < best_gap):
                best_gap, best_offset = gap, end
            end = max(end, stop)
        offsets[i] = end if best_offset is None else best_offset
    return offsets
