"""The boards with a Cortex-M processor that qemu-system-arm emulates: a row each."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType


@dataclass(frozen=True)
class Board:
    """A board that qemu emulates.

    Attributes:
        machine: qemu's name.
        vectors, flash, ram: addresses; those of flash and RAM with their sizes in bytes.
        clock_hz: of the processor.
    """

    machine: str
    vectors: int
    flash: int
    flash_bytes: int
    ram: int
    ram_bytes: int
    clock_hz: int = 25_000_000


# By processor. There is no board with a Cortex-M0+: a Cortex-M3 runs its instructions.
_M3 = Board("mps2-an385", 0, 0x400, (4 << 20) - 0x400, 0x2000_0000, 4 << 20)
BOARDS: Mapping[str, Board] = MappingProxyType(
    {
        "cortex-m0plus": _M3,
        "cortex-m3": _M3,
        "cortex-m4": Board("mps2-an386", 0, 0x400, (4 << 20) - 0x400, 0x2000_0000, 4 << 20),
        "cortex-m7": Board("mps2-an500", 0, 0x400, (4 << 20) - 0x400, 0x2000_0000, 4 << 20),
        "cortex-m33": Board(
            "mps2-an505", 0x1000_0000, 0x1000_0400, (4 << 20) - 0x400, 0x3800_0000, 2 << 20, 20_000_000
        ),
        "cortex-m55": Board("mps3-an547", 0, 0x0100_0000, 2 << 20, 0x2100_0000, 2 << 20, 32_000_000),
    }
)
