"""The arena that TensorFlow Lite for Microcontrollers takes for a model, by its package for Python, `tflite-micro`.

Its interpreter there is that of microcontrollers, compiled for this machine. What it keeps of tensors and operators is
larger here by pointers of eight bytes.
"""

from __future__ import annotations

import re
import subprocess
from dataclasses import dataclass
from pathlib import Path

_ENOUGH = 4 << 20
_PROGRAM = """
import sys
from tflite_micro.python.tflite_micro import runtime
runtime.Interpreter.from_file(sys.argv[1], arena_size=int(sys.argv[2])).print_allocations()
"""


@dataclass(frozen=True)
class Arena:
    """Bytes of tensors that are computed, and of all."""

    tensors: int
    total: int


def arena_of(path: Path, python: str) -> Arena:
    """The arena of a .tflite model, as an environment with the package tells it."""
    done = subprocess.run([python, "-c", _PROGRAM, str(path), str(_ENOUGH)], check=True, capture_output=True, text=True)
    found = dict(re.findall(r"Arena allocation (\w+) (\d+) bytes", done.stdout + done.stderr))
    return Arena(int(found["head"]), int(found["total"]))
