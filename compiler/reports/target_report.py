"""What `targets` tells: this machine, the targets there are, and what each still needs. Works without TVM."""

from __future__ import annotations

import ctypes.util
import importlib.util
import shutil
from typing import Any

from ...errors import ToolError
from ...targets.architecture import Architecture
from ...targets.architectures import ARCHITECTURES
from ...targets.cortex_m.processors import PROCESSORS
from ...targets.cuda.architectures import ARCHITECTURES as GPU_ARCHITECTURES
from ...targets.cuda.nvcc import find_nvcc
from ...targets.cuda.parse import TRIPLE as CUDA
from ...targets.host import HostFacts, read_host
from ...targets.systems import LINUX, System, Triple
from ...targets.toolchain import find_toolchain
from ..codegen.cuda_generator import SOURCES
from ..runners.boards import BOARDS
from ..runners.microcontroller import missing_tools
from .report import Table, size


def describe() -> dict[str, Any]:
    """The host's facts and a row for each target, as JSON takes them."""
    host = read_host()
    return {
        "host": {
            "machine": host.machine,
            "cpu": host.model_name,
            "cores": host.cores,
            "l1_bytes": host.l1_bytes,
            "l2_bytes": host.l2_bytes,
            "l3_bytes": host.l3_bytes,
            "level": _level(host),
            "units": _units(host),
        },
        "targets": _rows(host),
    }


def tables(found: dict[str, Any]) -> list[str | Table]:
    """The same for people."""
    host = found["host"]
    caches = ", ".join(f"L{level} {size(host[f'l{level}_bytes'])}" for level in (1, 2, 3))
    table = Table(("target", "code", "compiles here", "levels", "runs"))
    for row in found["targets"]:
        table.add(row["target"], row["code"], "yes" if row["works"] else "no", row["note"], row["runs"])
    level = "".join(f", {name}" for name in (host["level"], *host["units"]) if name)
    return [
        f"this machine: {host['cpu']} ({host['machine']}{level}), {host['cores']} cores, {caches}",
        table,
        "musl for gnu, other CPUs by --mcpu, other architectures that LLVM knows without numbers of their own",
    ]


def _level(host: HostFacts) -> str | None:
    return host.architecture.level_of(host.features).isa if host.architecture else None


def _units(host: HostFacts) -> list[str]:
    """What multiplies narrow operands here."""
    return [unit.name for unit in host.architecture.units_of(host.features)] if host.architecture else []


def _rows(host: HostFacts) -> list[dict[str, Any]]:
    level = _level(host)
    here = _missing(str(Triple(host.architecture.name, LINUX, _libc(host.architecture)))) if host.architecture else ""
    note = f"{level}, detected" if level else f"{host.machine}: there is no code for it"
    return [
        {
            "target": "host",
            "code": "LLVM",
            "works": level is not None and not here,
            "note": here or note,
            "runs": "here",
        },
        *(_row(each, system, host) for each in ARCHITECTURES.values() for system in each.systems),
        _gpu_row(here),
        *(
            {
                "target": f"{each.architecture}-none-{each.environment}",
                "code": "C",
                "works": True,
                "note": f"{each.name}, {each.isa}",
                "runs": _board(each.name),
            }
            for each in PROCESSORS
        ),
    ]


def _row(architecture: Architecture, system: System, host: HostFacts) -> dict[str, Any]:
    """A target, what compiling for it still needs, and where it can be run."""
    is_linux = system is LINUX
    missing = _missing(str(Triple(architecture.name, system, _libc(architecture) if is_linux else _first(system))))
    levels = " or ".join(level.isa for level in reversed(architecture.levels))
    name = architecture.triple if is_linux else f"{architecture.name}-{system.spellings[0]}"
    runs = "there alone"
    if is_linux:
        qemu = f"qemu-{architecture.emulator}"
        runs = "--device qemu" if shutil.which(qemu) else f"--device qemu needs {qemu} (package qemu-user)"
        runs = "here" if host.architecture is architecture else runs
    return {"target": name, "code": "LLVM", "works": not missing, "note": missing or levels, "runs": runs}


def _gpu_row(missing: str) -> dict[str, Any]:
    """NVIDIA's GPUs, and what compiling for them still needs; `missing` is what compiling for this machine does."""
    needs = ""
    try:
        nvcc = find_nvcc()
        needs = f", by nvcc {nvcc.release[0]}.{nvcc.release[1]}"
    except ToolError as error:
        missing = missing or f"{error.what}: --emit {SOURCES} works"
    names = ", ".join(row.name for row in GPU_ARCHITECTURES)
    has_driver = ctypes.util.find_library("cuda") is not None
    runs = "here" if has_driver else "where an NVIDIA driver is, which is not here"
    return {"target": CUDA, "code": "CUDA", "works": not missing, "note": missing or names + needs, "runs": runs}


def _libc(architecture: Architecture) -> str:
    return f"gnu{architecture.abi}"


def _first(system: System) -> str:
    return next(iter(system.environments), "")


def _board(cpu: str) -> str:
    """Where C sources for a microcontroller can be run."""
    lacking = missing_tools()
    return f"needs {', '.join(lacking)}" if lacking else f"on {BOARDS[cpu].machine}, emulated"


def _missing(triple: str) -> str:
    """What compiling for a target still needs; empty: nothing."""
    try:
        has_tvm = importlib.util.find_spec("tvm") is not None
    except ImportError:
        has_tvm = False
    try:
        find_toolchain(triple)
    except ToolError as error:
        return error.what
    return "" if has_tvm else "needs apache-tvm to compile; libraries run"
