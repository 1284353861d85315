"""What was measured, and the file that a later run goes on with."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from ..measurement import write_file
from .tflm import Arena


@dataclass(frozen=True)
class Row:
    """One model, as one engine makes it, on one processor.

    Attributes:
        dtype: of the model: ``float32`` or ``int8``.
        made_of: a digest of all that the figures depend on.
        flash_bytes: code, constants and initial values of all that its call needs, without libc's.
        ram_bytes: static variables.
        stack_bytes: painted before the run.
        instructions: of an inference.
        error: from the reference's outputs: of floats as a share of the largest, of integers in units.
    """

    model: str
    dtype: str
    cpu: str
    engine: str
    made_of: str
    flash_bytes: int
    ram_bytes: int
    stack_bytes: int
    instructions: int
    error: float

    @property
    def memory_bytes(self) -> int:
        """RAM, wherever it is."""
        return self.ram_bytes + self.stack_bytes


@dataclass
class Results:
    """All that a file holds.

    Attributes:
        rows: by model, processor and engine.
        arenas: of TensorFlow Lite for Microcontrollers, by model.
    """

    rows: dict[tuple[str, str, str], Row] = field(default_factory=dict)
    arenas: dict[str, Arena] = field(default_factory=dict)

    def has(self, model: str, cpu: str, engine: str, made_of: str) -> bool:
        """Whether a row is known, and still says what would be measured."""
        known = self.rows.get((model, cpu, engine))
        return known is not None and known.made_of == made_of

    def add(self, row: Row) -> None:
        """Puts a row in the place of an older one."""
        self.rows[row.model, row.cpu, row.engine] = row

    def write(self, path: Path) -> None:
        """The file, whole or not at all."""
        record = {
            "rows": [asdict(row) for row in self.rows.values()],
            "arenas": {model: asdict(arena) for model, arena in self.arenas.items()},
        }
        write_file(path, json.dumps(record, indent=1) + "\n")


def read_results(path: Path) -> Results:
    """What a file holds; nothing if there is none."""
    if not path.exists():
        return Results()
    record: dict[str, Any] = json.loads(path.read_text())
    results = Results(arenas={model: Arena(**each) for model, each in record["arenas"].items()})
    for each in record["rows"]:
        results.add(Row(**each))
    return results
