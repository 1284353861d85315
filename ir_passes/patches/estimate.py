"""How much memory a graph takes before its kernels exist: which tensors will be stored, and which are alive together.

Element-wise operators become part of the kernel before them, so that what they read is not stored, where they alone
read it (`kernels/fusion_groups.py`). Inputs and outputs of the model are the caller's memory.
"""

from __future__ import annotations

from collections.abc import Collection, Hashable, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Value:
    """A tensor that a graph makes.

    Attributes:
        key: its name.
        reads: of what it is made.
        nbytes: its size.
        is_pointwise: whether it is made element by element, or is what it reads by another name.
        scratch: bytes that making it takes besides.
    """

    key: Hashable
    reads: tuple[Hashable, ...]
    nbytes: int
    is_pointwise: bool
    scratch: int = 0


def alive_bytes(values: Sequence[Value], outside: Collection[Hashable], *, in_place: bool) -> dict[Hashable, int]:
    """The bytes alive while each tensor is made, in the order in which they are.

    Args:
        values: what a graph makes, in order.
        outside: keys of tensors that are the caller's.
        in_place: whether element-wise results may take the place of an operand.
    """
    merged = stored_in_stead(values, outside)
    known = {value.key: value for value in values}
    position = {value.key: number for number, value in enumerate(values)}
    last = dict(position)
    for value in values:
        step = position[merged[value.key]]
        for key in value.reads:
            if key in merged:
                last[merged[key]] = max(last[merged[key]], step)
    change = [0] * (len(values) + 1)
    extra = [0] * len(values)
    for value in values:
        step = position[merged[value.key]]
        extra[step] = max(extra[step], value.scratch)
        if merged[value.key] != value.key or value.key in outside:
            continue
        change[step] += value.nbytes
        change[last[value.key] + 1] -= value.nbytes
    found: dict[Hashable, int] = {}
    alive = 0
    for number, value in enumerate(values):
        alive += change[number]
        over = _overwritten(value, known, last, number, outside) if in_place and merged[value.key] == value.key else 0
        found[value.key] = alive + extra[number] - over
    return found


def stored_in_stead(values: Sequence[Value], outside: Collection[Hashable]) -> dict[Hashable, Hashable]:
    """For each tensor the one that is stored in its stead: the last of the kernel that it is computed in."""
    readers: dict[Hashable, list[Value]] = {}
    for value in values:
        for key in dict.fromkeys(value.reads):
            readers.setdefault(key, []).append(value)
    into: dict[Hashable, Hashable] = {}
    taken: set[Hashable] = set()  # kernels that are part of another kernel already
    for value in reversed(values):
        into[value.key] = value.key
        only = readers.get(value.key, [])
        if len(only) == 1 and only[0].is_pointwise and value.key not in outside and only[0].key not in taken:
            into[value.key] = into[only[0].key]
            taken.add(only[0].key)
    return into


def _overwritten(
    value: Value, known: dict[Hashable, Value], last: dict[Hashable, int], step: int, outside: Collection[Hashable]
) -> int:
    """Bytes of an operand that an element-wise result may lie in: it is as large, and read for the last time."""
    if not value.is_pointwise or value.key in outside:
        return 0
    return max(
        (
            known[key].nbytes
            for key in value.reads
            if key in known and key not in outside and last[key] == step and known[key].nbytes == value.nbytes
        ),
        default=0,
    )
