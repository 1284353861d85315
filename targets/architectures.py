"""The architectures that code is generated for: to add one, add its row here."""

from __future__ import annotations

from .architecture import Architecture
from .arm.aarch64 import AARCH64
from .arm.armv7 import ARMV7
from .generic import generic_architecture
from .riscv.architecture import RISCV64
from .x86.architecture import X86_64

ARCHITECTURES: dict[str, Architecture] = {row.name: row for row in (X86_64, AARCH64, ARMV7, RISCV64)}


def architecture_of(name: str) -> Architecture | None:
    """The architecture of the first part of a triple, or of what Linux calls a machine; None: there is none."""
    known = (row for row in ARCHITECTURES.values() if name in (row.name, *row.spellings))
    return next(known, None) or generic_architecture(name)


def architecture_named(name: str) -> Architecture:
    """The architecture of `Target.arch`.

    Raises:
        KeyError: there is none.
    """
    found = architecture_of(name)
    if found is None:
        raise KeyError(name)
    return found
