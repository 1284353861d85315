"""The C code with which a library asks cpuid, before it runs, for what it was compiled for (`cpu_check.c`)."""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce
from importlib import resources
from operator import or_

from ...errors import CompilerError
from .features import ROWS, CpuBit

_TYPE = "typedef struct { unsigned leaf, subleaf, index, bit; } cpu_bit;"


def cpu_check(features: Sequence[str]) -> str:
    """Defines ``cpu_is_supported`` for code that needs these features, as LLVM names them.

    Raises:
        CompilerError: a feature is not in the table, so the library could not check for it.
    """
    unknown = [name for name in features if name not in ROWS]
    if unknown:
        raise CompilerError("the target requires features that no library knows how to check", details=unknown)
    return check_of([ROWS[name].bit for name in features])


def check_of(bits: Sequence[CpuBit]) -> str:
    """The same for bits of cpuid."""
    rows = [f"  {{{bit.leaf}u, {bit.subleaf}, {bit.index}, {bit.bit}}}," for bit in bits]
    state = reduce(or_, (bit.state for bit in bits), 0)
    needs = [_TYPE, "static const cpu_bit cpu_needs[] = {", *rows, "};", f"#define CPU_STATE {state}u", ""]
    return "\n".join(needs) + (resources.files(__package__) / "cpu_check.c").read_text()
