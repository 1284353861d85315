"""The machine code of a library's functions, and their loops, as `objdump` shows them."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Instruction:
    """One instruction: its address, its name and its operands."""

    address: int
    name: str
    operands: str


Code = tuple[Instruction, ...]


def functions(path: Path) -> dict[str, Code]:
    """The functions of an object file or a library by name."""
    command = ["objdump", "-d", "--no-show-raw-insn", str(path)]
    listing = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    found: dict[str, list[Instruction]] = {}
    inside: list[Instruction] = []
    for line in listing.splitlines():
        if begin := re.match(r"[0-9a-f]+ <(.*)>:$", line):
            inside = found.setdefault(begin[1], [])
        elif each := re.match(r"\s*([0-9a-f]+):\t(\S+)\s*(.*)$", line):
            inside.append(Instruction(int(each[1], 16), each[2], each[3]))
    return {name: tuple(code) for name, code in found.items()}


def innermost_loops(code: Sequence[Instruction], having: str) -> list[Code]:
    """The loops, by their jumps back, that have an instruction of some name and no smaller loop that has one."""
    spans = []
    for each in code:
        target = re.match(r"([0-9a-f]+) <", each.operands)
        if each.name.startswith("j") and target and int(target[1], 16) <= each.address:
            spans.append((int(target[1], 16), each.address))
    inside = {span: tuple(each for each in code if span[0] <= each.address <= span[1]) for span in spans}
    loops = [span for span in spans if any(each.name == having for each in inside[span])]
    return [
        inside[span]
        for span in loops
        if not any(other != span and span[0] <= other[0] and other[1] <= span[1] for other in loops)
    ]
