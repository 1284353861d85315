"""The machine this runs on: its CPU, features, caches and processors, read from Linux, without TVM."""

from __future__ import annotations

import os
import platform
from dataclasses import dataclass
from pathlib import Path

from .architecture import Architecture
from .architectures import architecture_of

_CPUINFO = Path("/proc/cpuinfo")
_CACHES = Path("/sys/devices/system/cpu/cpu0/cache")
_USUAL_CACHES = {1: 32 << 10, 2: 512 << 10, 3: 8 << 20}
_SUFFIXES = {"K": 1 << 10, "M": 1 << 20, "G": 1 << 30}


@dataclass(frozen=True)
class HostFacts:
    """What the operating system tells of this machine; sizes in bytes."""

    machine: str
    model_name: str
    flags: frozenset[str]  # as Linux names them
    cores: int
    l1_bytes: int
    l2_bytes: int
    l3_bytes: int

    @property
    def architecture(self) -> Architecture | None:
        """Its architecture; None: there is no code for it."""
        return architecture_of(self.machine)

    @property
    def features(self) -> frozenset[str]:
        """What the processor has and Linux supports, as LLVM names it."""
        return self.architecture.features.from_linux(self.flags) if self.architecture else frozenset()


def parse_cpuinfo(text: str) -> tuple[str, frozenset[str]]:
    """The model's name and the flags of the first processor in the text of /proc/cpuinfo."""
    name, flags = "unknown CPU", frozenset[str]()
    for line in text.splitlines():
        key, _, value = line.partition(":")
        if key.strip() == "model name":
            name = value.strip()
        elif key.strip() in ("flags", "Features"):
            flags = frozenset(value.split())
            break
        elif key.strip() == "isa":  # rv64imafdcv_zicsr_zba
            letters, *names = value.strip().split("_")
            flags = frozenset([*letters[len("rv64") :], *names])
            break
    return name, flags


def _cpuinfo() -> tuple[str, frozenset[str]]:
    try:
        return parse_cpuinfo(_CPUINFO.read_text())
    except OSError:
        return parse_cpuinfo("")


def read_caches(folder: Path = _CACHES) -> tuple[int, int, int]:
    """Bytes of the data caches of levels 1 to 3 that Linux describes in a folder; for those it does not, a guess."""
    found: dict[int, int] = {}
    for index in sorted(folder.glob("index*")):
        try:
            if (index / "type").read_text().strip() != "Instruction":
                found.setdefault(int((index / "level").read_text()), _bytes((index / "size").read_text().strip()))
        except (OSError, ValueError):
            continue
    l1, l2, l3 = (found.get(level) or guess for level, guess in _USUAL_CACHES.items())
    # A guess fits between the levels that are known.
    l2 = max(l1, l2)
    return l1, l2, max(l2, l3)


def _bytes(size: str) -> int:
    """``512K`` in bytes."""
    unit = _SUFFIXES.get(size[-1:])
    return int(size[:-1]) * unit if unit else int(size)


def available_cores() -> int:
    """Processors this process may run on."""
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # not Linux
        return os.cpu_count() or 1


def read_host() -> HostFacts:
    """Reads the facts of this machine; what is not to be found has a cautious default."""
    name, flags = _cpuinfo()
    l1, l2, l3 = read_caches()
    return HostFacts(
        machine=platform.machine(),
        model_name=name,
        flags=flags,
        cores=available_cores(),
        l1_bytes=l1,
        l2_bytes=l2,
        l3_bytes=l3,
    )
