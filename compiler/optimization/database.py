"""What a search knows, in a folder beside the recipe: JSON lines, and a recipe for each treatment of each base.

A line is written whole and down to the disk, so whatever ends a run, the next goes on behind its last line; the time
that was spent by then stands in it. What is in the database is not measured again: a repeated search finds the same.
"""

from __future__ import annotations

import fcntl
import json
import os
import time
import warnings
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from ...errors import DataError, OutputError, RecordsWarning, UsageError
from ..process.places import output_errors
from ..recipes.files import read_recipe, write_recipe
from ..recipes.recipe import Recipe
from .candidate import candidate_of

VERSION = 2
_LINES = "database.jsonl"


@dataclass(frozen=True)
class Row:
    """What a treatment does to a layer, all others being those of the base in floats.

    Attributes:
        base, treatment, layer: which.
        error: the square of what the outputs of the model lose, as a share of them.
        seconds, bytes: of its kernels in a run, and of their constants.
    """

    base: str
    treatment: str
    layer: str
    error: float
    seconds: float
    bytes: int


@dataclass(frozen=True)
class Surveyed:
    """That all rows of a treatment of a base are there; for `float` also what the whole library takes.

    Attributes:
        error: of the base itself, as those of rows.
        seconds, bytes: of one run, and of the file.
    """

    base: str
    treatment: str
    error: float = 0.0
    seconds: float = 0.0
    bytes: int = 0


@dataclass(frozen=True)
class Measured:
    """What came of a candidate.

    Attributes:
        candidate: its key.
        quality, error: on the samples that are held out.
        ratio: of its time to the float library's, which ran in turns with it.
        seconds: of the float library's run; of the first candidate alone, which is that.
        bytes: of the file.
        failed: why there is no library, or "".
        origin: who proposed it: the exact solver, or the generation of the search.
    """

    candidate: str
    quality: float = 0.0
    error: float = 0.0
    ratio: float = 1.0
    seconds: float = 0.0
    bytes: int = 0
    failed: str = ""
    origin: str = ""


def _checked(line: Row | Surveyed | Measured) -> Row | Surveyed | Measured:
    """A line, if what stands in it is what it is to be.

    Raises:
        ValueError, TypeError: it is not.
    """
    for each in fields(line):
        value = getattr(line, each.name)
        if isinstance(value, str) != (each.type == "str") or isinstance(value, bool):
            raise TypeError(each.name)
        if not isinstance(value, str):
            float(value)
    if isinstance(line, Measured):
        candidate_of(line.candidate)
    return line


_KINDS: Mapping[str, type[Any]] = {"row": Row, "surveyed": Surveyed, "measured": Measured}
_ENDED = "ended"  # a run, by itself


class Database:
    """The lines of a search by kind, and its recipes.

    Attributes:
        rows, surveyed, measured: what is known, by what it is of.
        folder: where it is.
    """

    def __init__(self, folder: Path, model: str, key: str | None, since: float | None = None) -> None:
        """Reads what is there, or begins.

        Args:
            model: its checksum.
            key: of the data and all else that results depend on; None takes what is there.
            since: when the work began, by `time.monotonic`; None: now.

        Raises:
            UsageError: another process searches there.
            DataError: the folder holds another search, or none where there must be one.
            OutputError: it cannot be made.
        """
        self.folder = folder
        self.rows: dict[tuple[str, str, str], Row] = {}
        self.surveyed: dict[tuple[str, str], Surveyed] = {}
        self.measured: dict[str, Measured] = {}
        self._before = 0.0
        self._since = time.monotonic() if since is None else since
        place = folder / _LINES
        if place.is_file():
            self._read(place, model, key)
        elif key is None:
            raise DataError(
                "there is no search", where=str(folder), hint="tilewright optimize MODEL --calibration DATA"
            )
        if key is None:
            return
        with output_errors(folder):
            folder.mkdir(parents=True, exist_ok=True)
            self._file = os.open(place, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o666)
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(self._file)
            raise UsageError(
                "another search goes on there", where=str(folder), hint="wait for it, or give another folder"
            ) from None
        end = os.fstat(self._file).st_size
        if not end:
            self._write([{"kind": "search", "version": VERSION, "model": model, "key": key}])
        elif os.pread(self._file, 1, end - 1) != b"\n":  # a line that was cut off stays one line
            os.write(self._file, b"\n")

    def close(self) -> None:
        """Notes the time that was spent, and lets others search there."""
        try:
            self._write([{"kind": _ENDED, "spent": round(self.spent, 3)}])
        finally:
            os.close(self._file)

    @property
    def spent(self) -> float:
        """The seconds of all runs together."""
        return self._before + time.monotonic() - self._since

    def add(self, lines: Iterable[Row | Surveyed | Measured]) -> None:
        """Notes what was found, all of it or nothing.

        Raises:
            OutputError: the disk is full.
        """
        given = list(lines)
        names = {make: kind for kind, make in _KINDS.items()}
        self._write([{"kind": names[type(line)], **asdict(line), "spent": round(self.spent, 3)} for line in given])
        for line in given:
            self._keep(line)

    def recipe(self, name: str) -> Recipe | None:
        """A recipe that was kept; nothing where it is missing or damaged."""
        place = self.place(name)
        return read_recipe(place) if place.is_file() else None

    def keep(self, name: str, recipe: Recipe) -> None:
        """Keeps a recipe.

        Raises:
            OutputError: it cannot be written.
        """
        write_recipe(recipe, self.place(name))

    def place(self, name: str, suffix: str = ".json") -> Path:
        """The file for something by its name."""
        safe = "".join(each if each.isalnum() else "-" for each in name)
        return self.folder / (safe + suffix)

    def _read(self, place: Path, model: str, key: str | None) -> None:
        for number, text in enumerate(place.read_text("utf-8", "replace").splitlines()):
            try:
                line = json.loads(text)
            except ValueError:
                line = None  # a kill cut it off: it is measured again
            if line is None and number:
                continue
            try:
                if number == 0:
                    self._check(line, model, key)
                    continue
                self._before = max(self._before, float(line["spent"]))
                if line["kind"] != _ENDED:
                    make = _KINDS[line["kind"]]
                    self._keep(_checked(make(**{each.name: line[each.name] for each in fields(make)})))
            except (ValueError, KeyError, TypeError):
                if number == 0:
                    raise DataError("the file is no search", where=str(place), hint="remove the folder") from None
                text = f"{place}: line {number + 1} is none that a search writes, and is left out"
                warnings.warn(text, RecordsWarning, stacklevel=2)

    def _check(self, line: Mapping[str, Any], model: str, key: str | None) -> None:
        found = (line["version"], line["model"], line["key"] if key is None else key)
        if found != (VERSION, model, line["key"]):
            raise DataError(
                "the search beside the recipe is of another model, data or way to compile",
                where=str(self.folder),
                hint="give the recipe another name with -o, or remove the folder",
            )

    def _keep(self, line: Row | Surveyed | Measured) -> None:
        if isinstance(line, Row):
            self.rows[line.base, line.treatment, line.layer] = line
        elif isinstance(line, Surveyed):
            self.surveyed[line.base, line.treatment] = line
        else:
            self.measured[line.candidate] = line

    def _write(self, lines: Iterable[Mapping[str, Any]]) -> None:
        data = "".join(json.dumps(line, separators=(",", ":")) + "\n" for line in lines).encode()
        before = os.fstat(self._file).st_size
        try:
            while data:
                data = data[os.write(self._file, data) :]
            os.fsync(self._file)
        except OSError as error:
            os.ftruncate(self._file, before)
            raise OutputError(f"the search cannot be written: {error.strerror}", where=str(self.folder)) from error
