"""What the tuner found, as JSON lines: a line says how long a workload takes with one choice on one machine.

Files merge by concatenation. A line is written whole or not at all: one that a kill cut off is skipped with a message,
and so is one of another format, or whose choice this version of a template does not know.
"""

from __future__ import annotations

import json
import os
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from ...errors import OutputError, RecordsWarning, UsageError
from ...targets.target import Target
from ..templates import choices
from ..templates.keys import key_of
from ..templates.template import Choose, Decision, Template, choose_default

FORMAT = 1
_MOST_PROBLEMS = 5  # that are told of
OK, WRONG, CRASHED, HUNG = "ok", "wrong result", "crashed", "hung"


@dataclass(frozen=True)
class Record:
    """One measured choice.

    Attributes:
        workload: `keys.key_of` it.
        template, choice: how it was computed; the choice as its `repr`.
        seconds: of its kernels in one run, the median; 0 where `state` is not ``ok``.
        ratio: of those seconds to the default choice's, the median of pairs that ran one after the other.
        target, threads: the machine (`fingerprint`) and the threads that shared the work.
        state: ``ok``, or why the choice must not be used.
        software: the version that measured it.
    """

    workload: str
    template: str
    choice: str
    seconds: float
    ratio: float
    target: str
    threads: int
    state: str = OK
    software: str = ""

    @property
    def slowness(self) -> tuple[bool, float, str]:
        """What orders measurements of a workload: failures last."""
        return self.state != OK, self.ratio, self.choice

    def line(self) -> str:
        """As the file has it, with its end."""
        return json.dumps({"format": FORMAT, **asdict(self)}, separators=(",", ":")) + "\n"


def fingerprint(target: Target) -> str:
    """What measured times depend on, of a target: triple, CPU, instruction level and units."""
    return " ".join([target.triple, target.cpu, target.isa, *(unit.name for unit in target.units)])


def read(path: Path) -> tuple[list[Record], list[str]]:
    """The records of a file, and what is wrong with lines that are none.

    Raises:
        UsageError: it is no file, or cannot be read.
    """
    if not path.is_file():
        raise UsageError("there is no such file of records", where=str(path), hint="tilewright tune writes one")
    try:
        text = path.read_text("utf-8", "replace")
    except OSError as error:
        raise UsageError(f"the records cannot be read: {error.strerror}", where=str(path)) from error
    found: list[Record] = []
    problems: list[str] = []
    for number, line in enumerate(text.splitlines(), 1):
        if line.strip():
            try:
                found.append(_parsed(json.loads(line)))
            except (ValueError, TypeError, KeyError) as error:
                problems.append(f"{path}, line {number}: skipped: {str(error) or type(error).__name__}")
    return found, problems


def _parsed(value: Any) -> Record:
    if not isinstance(value, dict):
        raise ValueError("no record")
    if value.get("format") != FORMAT:
        raise ValueError(f"its format is {value.get('format')!r}, and this version reads {FORMAT}")
    known = {field.name: value[field.name] for field in fields(Record) if field.name in value}
    record = Record(**known)
    for field in fields(Record):
        expected = {"float": (int, float), "int": (int,), "str": (str,)}[str(field.type)]
        if not isinstance(getattr(record, field.name), expected) or isinstance(getattr(record, field.name), bool):
            raise ValueError(f"{field.name} is {getattr(record, field.name)!r}")
    choices.parse(record.choice)
    return record


def best(records: Iterable[Record], target: Target, threads: int) -> dict[str, Record]:
    """`best_on` a machine like this target."""
    return best_on(records, fingerprint(target), threads)


def best_on(records: Iterable[Record], machine: str, threads: int) -> dict[str, Record]:
    """For each workload the fastest of the choices that were measured on such a machine with as many threads.

    A choice that failed once is out, and one that was measured several times is as fast as the slowest of these. The
    order of the records makes no difference.
    """
    here = [record for record in records if record.target == machine and record.threads == threads]
    slowest: dict[tuple[str, str], Record] = {}
    for record in here:
        of_choice = (record.workload, record.choice)
        if of_choice not in slowest or record.slowness > slowest[of_choice].slowness:
            slowest[of_choice] = record
    found: dict[str, Record] = {}
    for record in slowest.values():
        known = found.get(record.workload)
        if record.ratio < 1 and record.state == OK and (known is None or record.slowness < known.slowness):
            found[record.workload] = record
    return found


def recorded(found: Mapping[str, Record]) -> Choose:
    """Takes for each workload the choice that was recorded, where its template still has it, and else the default."""

    def choose(templates: Sequence[Template[Any, Any]], workload: Any, target: Target) -> Decision[Any, Any]:
        record = found.get(key_of(workload))
        if record is not None:
            choice = choices.parse(record.choice)
            for template in templates:
                if template.name == record.template and choice in template.space(workload, target):
                    return Decision(template, workload, choice)
        return choose_default(templates, workload, target)

    return choose


def chooser_of(path: str | os.PathLike[str], target: Target) -> Choose:
    """What chooses as a file of records says, for a target with the cores that are planned for.

    Lines that are no records, and a file that says nothing of this machine, are told of in a `RecordsWarning`.

    Raises:
        UsageError: the file cannot be read.
    """
    records, problems = read(Path(path))
    found = best(records, target, target.cores)
    machines = sorted({f"{each.target}, {each.threads} threads" for each in records})
    if records and not any(each.target == fingerprint(target) and each.threads == target.cores for each in records):
        asked = f"{fingerprint(target)}, {target.cores} threads"
        problems.append(f"{path} says nothing of {asked}: only of {'; '.join(machines)}")
    for problem in problems[:_MOST_PROBLEMS]:
        warnings.warn(problem, RecordsWarning, stacklevel=2)
    return recorded(found)


class Writer:
    """Appends records to a file, each batch whole and down to the disk."""

    def __init__(self, path: Path) -> None:
        """Opens the file.

        Raises:
            OutputError: it cannot be written.
        """
        self._path = path
        with _writing(path):
            self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o666)
            end = os.fstat(self._file).st_size
            if end and os.pread(self._file, 1, end - 1) != b"\n":  # a line that was cut off stays one line
                os.write(self._file, b"\n")

    def append(self, records: Iterable[Record]) -> None:
        """Adds records.

        Raises:
            OutputError: the disk is full; nothing of the batch is in the file then.
        """
        data = "".join(record.line() for record in records).encode()
        with _writing(self._path):
            before = os.fstat(self._file).st_size
            try:
                while data:
                    data = data[os.write(self._file, data) :]
                os.fsync(self._file)
            except OSError:
                os.ftruncate(self._file, before)
                raise

    def close(self) -> None:
        """Ends it."""
        os.close(self._file)


@contextmanager
def _writing(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise OutputError(f"the records cannot be written: {error.strerror}", where=str(path)) from error


def lines(records: Iterable[Record]) -> Iterator[str]:
    """The records as lines of a file, in an order of their own: by workload, threads and choice."""
    for record in sorted(records, key=lambda each: (each.target, each.workload, each.threads, each.choice)):
        yield record.line()
