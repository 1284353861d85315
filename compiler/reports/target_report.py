"""What `targets` tells: this machine, the targets there are, and what each still needs. Works without TVM."""

from __future__ import annotations

import importlib.util
from typing import Any

from ...errors import ToolError
from ...targets.host import HostFacts, read_host
from ...targets.toolchain import find_toolchain
from ...targets.x86.levels import dot_units, level_of
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
    return level_of(host.features).isa if host.machine == "x86_64" else None


def _units(host: HostFacts) -> list[str]:
    """What multiplies narrow operands here."""
    if host.machine != "x86_64":
        return []
    return [unit.name for unit in dot_units(host.features, level_of(host.features))]


def _rows(host: HostFacts) -> list[dict[str, Any]]:
    try:
        has_tvm = importlib.util.find_spec("tvm") is not None
    except ImportError:
        has_tvm = False
    try:
        find_toolchain("x86_64-unknown-linux-gnu")
        missing = "" if has_tvm else "needs apache-tvm to compile; libraries run"
    except ToolError as error:
        missing = error.what
    works = not missing
    planned = "comes with its code generator, in a later version"
    return [
        {
            "target": "host",
            "code": "LLVM",
            "works": works and _level(host) is not None,
            "note": missing or (f"{_level(host)}, detected" if _level(host) else f"{host.machine}: {planned}"),
        },
        {"target": "x86_64-linux-gnu", "code": "LLVM", "works": works, "note": missing or "SSE2; more with --mcpu"},
        {"target": "aarch64, armv7, riscv64", "code": "LLVM", "works": False, "note": planned},
        {"target": "cuda", "code": "CUDA", "works": False, "note": planned},
        {"target": "cortex-m", "code": "C", "works": False, "note": planned},
    ]
