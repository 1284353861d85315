"""What was measured, and how it is kept: a JSON file that a later run goes on with."""

from __future__ import annotations

import json
import statistics
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from tilewright.compiler.process.install import written_whole

from .machine import Machine

FORMAT = 1

MEASURED = "measured"
WRONG = "wrong"
FAILED = "failed"
NOT_AVAILABLE = "not available"


@dataclass(frozen=True)
class Measurement:
    """One engine on one model with one number of threads.

    Attributes:
        state: MEASURED; WRONG if its outputs differ from the reference's, so that its times do not count; FAILED or
            NOT_AVAILABLE without times.
        reason: why it is not MEASURED.
        version: the engine's, as installed.
        model_digest: of the ONNX file and its inputs.
        round_ms: the median run of each round, in the order of the rounds; slow engines take part in the first ones.
        runs: in all rounds together.
        error: largest |difference| from the reference's outputs over the largest |reference|; None without reference.
        reference: the engine whose outputs those were.
        load_seconds: until the first outputs.
        build_seconds: of compiling or converting before that.
        date: when it was measured, UTC.
    """

    model: str
    threads: int
    engine: str
    state: str
    reason: str = ""
    version: str = ""
    model_digest: str = ""
    round_ms: tuple[float, ...] = ()
    runs: int = 0
    error: float | None = None
    reference: str = ""
    load_seconds: float = 0.0
    build_seconds: float = 0.0
    date: str = ""

    @property
    def median_ms(self) -> float:
        """Median over the rounds."""
        return statistics.median(self.round_ms)

    @property
    def spread_ms(self) -> float:
        """From the fastest to the slowest round."""
        return max(self.round_ms) - min(self.round_ms)


@dataclass
class Results:
    """All that a file holds, or will hold.

    Attributes:
        run: command, date and source version of the last run that measured something.
    """

    run: Mapping[str, str]
    measurements: list[Measurement]


class RecordsError(Exception):
    """The file of results cannot be gone on with; the text says why and what to do."""


def read_results(path: Path, machine: Machine) -> Results:
    """What `path` holds; nothing if there is no such file.

    Raises: RecordsError if it is damaged, of another format, or from another machine than `machine`.
    """
    way_out = "give another --out, or --fresh to measure everything again"
    if not path.exists():
        return Results({}, [])
    try:
        record = json.loads(path.read_text())
        if record.get("format") != FORMAT:
            raise RecordsError(f"{path} has format {record.get('format')}, and this is {FORMAT}: {way_out}")
        place = Machine(**{**record["machine"], "isa": tuple(record["machine"]["isa"])})
        measurements = [Measurement(**{**each, "round_ms": tuple(each["round_ms"])}) for each in record["measurements"]]
        run = {key: str(record["run"][key]) for key in ("command", "date", "source")}
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise RecordsError(f"{path} is no file of results ({type(error).__name__}: {error}): {way_out}") from error
    if not place.same_as(machine):
        raise RecordsError(f"{path} was measured on another machine ({place}; here: {machine}): {way_out}")
    return Results(run, measurements)


def to_json(machine: Machine, results: Results, summary: Mapping[str, Any]) -> str:
    """The file's text.

    Args:
        summary: what was computed from the measurements, for whoever reads the file; it is not read back.
    """
    engines = {each.engine: each.version for each in results.measurements if each.version}
    record = {
        "format": FORMAT,
        "machine": asdict(machine),
        "run": dict(results.run),
        "engines": engines,
        "summary": summary,
        "measurements": [asdict(each) for each in results.measurements],
    }
    return json.dumps(record, indent=1) + "\n"


def write_file(path: Path, text: str) -> None:
    """Write `path` whole or not at all, with its folder."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with written_whole(path) as file:
        file.write(text.encode())
