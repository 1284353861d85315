"""The architectures that code is generated for: to add one, add its row here."""

from __future__ import annotations

from .architecture import Architecture
from .x86.architecture import X86_64

ARCHITECTURES: dict[str, Architecture] = {row.name: row for row in (X86_64,)}


def architecture_of(name: str) -> Architecture | None:
    """The architecture of the first part of a triple, or of what Linux calls a machine; None: there is none."""
    return next((row for row in ARCHITECTURES.values() if name in (row.name, *row.spellings)), None)
