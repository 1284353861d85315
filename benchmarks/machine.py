"""The machine that numbers were measured on: what a reader has to know of it, and which processors to use."""

from __future__ import annotations

import os
import platform
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tilewright.targets.host import HostFacts, read_host


@dataclass(frozen=True)
class Machine:
    """One machine, as records name it.

    Attributes:
        isa: those flags of /proc/cpuinfo that decide which kernels an engine can use.
        cores: processors that this process may use.
        memory_gib: rounded.
        system: kernel and C library; may differ between runs on the same machine.
    """

    cpu: str
    isa: tuple[str, ...]
    cores: int
    memory_gib: int
    system: str = ""
    python: str = ""

    def same_as(self, other: Machine) -> bool:
        """Whether times of both may stand in one table."""
        return (self.cpu, self.isa, self.cores) == (other.cpu, other.isa, other.cores)

    def __str__(self) -> str:
        return f"{self.cpu}, {self.cores} cores, {self.memory_gib} GiB, {' '.join(self.isa) or 'baseline only'}"


def this_machine() -> Machine:
    """The machine that runs this."""
    host = read_host()
    return Machine(
        cpu=host.model_name,
        isa=_notable_flags(host),
        cores=host.cores,
        memory_gib=round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30),
        system=platform.platform(),
        python=platform.python_version(),
    )


def bfloat16_missing() -> str:
    """Why bfloat16 would only be emulated here, or an empty string."""
    host = read_host()
    if host.architecture is None:
        return f"of a {host.machine} it is not known whether it multiplies bfloat16"
    units = [unit for unit in host.architecture.units if unit.rhs == "bfloat16"]
    if any(host.features.issuperset(unit.required_features) for unit in units):
        return ""
    return f"this CPU has none of {', '.join(unit.name for unit in units)}"


def _notable_flags(host: HostFacts) -> tuple[str, ...]:
    if host.architecture is None:
        return ()
    rows = host.architecture.features.rows
    names = (rows[feature].linux for feature in host.architecture.notable_features)
    return tuple(name for name in names if name in host.flags)


def _siblings(processor: int) -> str:
    path = Path(f"/sys/devices/system/cpu/cpu{processor}/topology/thread_siblings_list")
    try:
        return path.read_text().strip()
    except OSError:
        return str(processor)


def order_processors(available: Sequence[int]) -> list[int]:
    """`available`, such that the first N share as few cores as N processors can."""
    seen: dict[str, int] = {}
    turns = []
    for processor in sorted(available):
        core = _siblings(processor)
        turns.append((seen.get(core, 0), processor))
        seen[core] = seen.get(core, 0) + 1
    return [processor for _, processor in sorted(turns)]
