"""Several memories: tensors that are used most go into the first one that has room for them.

A microcontroller has a little memory beside its core and more of it farther away. How much a tensor is used is how
often a byte of it is read or written. A kernel reads an operand for each multiply-add: from its scratch, where it has
some, which for a convolution is a band of lines, and else from its inputs; all others it reads or writes once. Tensors
are tried in the regions in the order given, and stay where the planner still finds a place for all that are there.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace

from ...errors import RegionError
from ...sizes import largest
from ..library.plan import ARENA, Buffer, BufferKind, Bytes, Call, Kernel, Step, leaves
from .lifetimes import names_of_steps
from .memory import lower_bound, peak_step, plan_arena

_OPERAND_BYTES = 4
_KIB = 1024


def into_regions(
    buffers: Sequence[Buffer],
    steps: Sequence[Step],
    kernels: Sequence[Kernel],
    limits: Mapping[str, Bytes],
    unit: Bytes,
) -> list[Buffer]:
    """The buffers, those of the workspace each with its region.

    Args:
        buffers: with their lifetimes.
        steps: what uses them.
        kernels: of the library.
        limits: the regions, the fastest first, with their sizes.
        unit: what offsets are multiples of.

    Raises:
        RegionError: they do not fit.
    """
    placed = list(buffers)
    uses = _uses(buffers, steps, kernels)
    inside: dict[str, list[int]] = {name: [] for name in limits}
    workspace = [i for i, each in enumerate(buffers) if each.kind is BufferKind.WORKSPACE]
    for index in sorted(workspace, key=lambda i: (-uses[i], largest(buffers[i].bytes), i)):
        for name, limit in limits.items():
            together = [*inside[name], index]
            if _fits([buffers[i] for i in together], limit, unit):
                inside[name] = together
                placed[index] = replace(buffers[index], region=name)
                break
        else:
            raise too_big(buffers, steps, limits, unit)
    return placed


def _fits(buffers: Sequence[Buffer], limit: Bytes, unit: Bytes) -> bool:
    return lower_bound(buffers, unit) <= limit and plan_arena(buffers, unit)[1] <= limit


def _uses(buffers: Sequence[Buffer], steps: Sequence[Step], kernels: Sequence[Kernel]) -> list[float]:
    """For each buffer how often a byte of it is read or written, by what is known of kernels."""
    uses = [0.0] * len(buffers)
    for step in leaves(steps):
        if isinstance(step, Call):
            kernel = kernels[step.kernel]
            own = len(step.arguments) - len(kernel.scratch)
            read = step.arguments[own:] or step.arguments[: own - 1]
            read = tuple(i for i in read if buffers[i].kind is BufferKind.WORKSPACE)
            read_bytes = max(1, sum(largest(buffers[i].bytes) for i in read))
            for index in step.arguments:
                many = kernel.flops / 2 * _OPERAND_BYTES / read_bytes if index in read else 1.0
                uses[index] += max(1.0, many)
        else:
            for index in (step.source, step.destination):
                uses[index] += 1.0
    return uses


def too_big(buffers: Sequence[Buffer], steps: Sequence[Step], limits: Mapping[str, Bytes], unit: Bytes) -> RegionError:
    """What does not fit where, and what would."""
    needed, number = lower_bound(buffers, unit), peak_step(buffers, unit)
    names = names_of_steps(steps)
    alive = [b for b in buffers if b.kind is BufferKind.WORKSPACE and b.first_step <= number <= b.last_step]
    sizes = sorted((largest(b.bytes) for b in alive), reverse=True)
    together = " in all; a tensor lies in one region" if len(limits) > 1 else ""
    return RegionError(
        f"the model's tensors do not fit the memory: step {number} needs {needed} bytes at a time",
        where=", ".join(
            f"--arena {limit}" if name == ARENA else f"--region {name}={limit}" for name, limit in limits.items()
        ),
        details=[
            f"the step computes {names[number] if names else 'nothing'}",
            f"its tensors: {', '.join(map(str, sizes))} bytes",
            f"there are {sum(limits.values())} bytes{together}",
        ],
        hint=f"{math.ceil(needed / _KIB)}K or a little more would do, or a smaller input; `tilewright inspect MODEL "
        "--memory memory.svg`, with the same --target, draws it",
    )
