"""What `targets` tells: this machine, the targets there are, and what each still needs. Works without TVM."""

from __future__ import annotations

import importlib.util
from typing import Any

from ...errors import ToolError
from ...targets.architectures import ARCHITECTURES
from ...targets.cortex_m.processors import PROCESSORS
from ...targets.host import HostFacts, read_host
from ...targets.toolchain import find_toolchain
from ..runners.microcontroller import BOARDS, missing_tools
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
    table = Table(("target", "code", "works here", "note"))
    for row in found["targets"]:
        table.add(row["target"], row["code"], "yes" if row["works"] else "no", row["note"])
    level = "".join(f", {name}" for name in (host["level"], *host["units"]) if name)
    return [f"this machine: {host['cpu']} ({host['machine']}{level}), {host['cores']} cores, {caches}", table]


def _level(host: HostFacts) -> str | None:
    return host.architecture.level_of(host.features).isa if host.architecture else None


def _units(host: HostFacts) -> list[str]:
    """What multiplies narrow operands here."""
    return [unit.name for unit in host.architecture.units_of(host.features)] if host.architecture else []


def _rows(host: HostFacts) -> list[dict[str, Any]]:
    missing = {name: _missing(f"{name}-unknown-linux-gnu") for name in ARCHITECTURES}
    planned = "comes with its code generator, in a later version"
    level, here = _level(host), missing[host.architecture.name] if host.architecture else ""
    note = f"{level}, detected" if level else f"{host.machine}: {planned}"
    return [
        {"target": "host", "code": "LLVM", "works": level is not None and not here, "note": here or note},
        *(
            {
                "target": each.triple,
                "code": "LLVM",
                "works": not missing[each.name],
                "note": missing[each.name] or f"{each.levels[-1].isa}; more with --mcpu",
            }
            for each in ARCHITECTURES.values()
        ),
        {"target": "aarch64, armv7, riscv64", "code": "LLVM", "works": False, "note": planned},
        {"target": "cuda", "code": "CUDA", "works": False, "note": planned},
        *(
            {
                "target": f"{each.architecture}-none-{each.environment}",
                "code": "C",
                "works": True,
                "note": f"{each.name}, {each.isa}; --emit c{_emulated(each.name)}",
            }
            for each in PROCESSORS
        ),
    ]


def _emulated(cpu: str) -> str:
    """What running code for a processor here takes."""
    lacking = missing_tools()
    return f"; to run it here install {', '.join(lacking)}" if lacking else f"; runs here on {BOARDS[cpu].machine}"


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
