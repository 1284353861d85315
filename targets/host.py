"""The machine this runs on: its CPU, features, caches and processors, read from Linux, without TVM."""

from __future__ import annotations

import os
import platform
from dataclasses import dataclass
from pathlib import Path

_CPUINFO = Path("/proc/cpuinfo")
_CACHES = Path("/sys/devices/system/cpu/cpu0/cache")
_SUFFIXES = {"K": 1 << 10, "M": 1 << 20, "G": 1 << 30}

# Linux and LLVM name some features differently.
_LLVM_NAMES = {
    "abm": "lzcnt",
    "amx_bf16": "amx-bf16",
    "amx_int8": "amx-int8",
    "amx_tile": "amx-tile",
    "avx512_bf16": "avx512bf16",
    "avx512_vnni": "avx512vnni",
    "bmi1": "bmi",
    "cx16": "cx16",
    "pni": "sse3",
    "sse4_1": "sse4.1",
    "sse4_2": "sse4.2",
}


@dataclass(frozen=True)
class HostFacts:
    """What the operating system tells of this machine; sizes in bytes."""

    machine: str
    model_name: str
    features: frozenset[str]
    cores: int
    l1_bytes: int
    l2_bytes: int
    l3_bytes: int


def _cpuinfo() -> tuple[str, frozenset[str]]:
    name, features = "unknown CPU", frozenset[str]()
    try:
        lines = _CPUINFO.read_text().splitlines()
    except OSError:
        return name, features
    for line in lines:
        key, _, value = line.partition(":")
        if key.strip() == "model name":
            name = value.strip()
        elif key.strip() in ("flags", "Features"):
            features = frozenset(_LLVM_NAMES.get(flag, flag) for flag in value.split())
            break
    return name, features


def _cache_bytes(level: int, default: int) -> int:
    for index in sorted(_CACHES.glob("index*")):
        try:
            if int((index / "level").read_text()) != level or (index / "type").read_text().strip() == "Instruction":
                continue
            size = (index / "size").read_text().strip()
            return int(size[:-1]) * _SUFFIXES[size[-1]]
        except (OSError, ValueError, KeyError):
            continue
    return default


def available_cores() -> int:
    """Processors this process may run on."""
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # not Linux
        return os.cpu_count() or 1


def read_host() -> HostFacts:
    """Reads the facts of this machine; what is not to be found has a cautious default."""
    name, features = _cpuinfo()
    return HostFacts(
        machine=platform.machine(),
        model_name=name,
        features=features,
        cores=available_cores(),
        l1_bytes=_cache_bytes(1, 32 << 10),
        l2_bytes=_cache_bytes(2, 512 << 10),
        l3_bytes=_cache_bytes(3, 8 << 20),
    )
