"""Results on stdout: tables with rich on a terminal, aligned plain text elsewhere, or one JSON object."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

BROKEN_PIPE = 141  # the shell's convention for a process that SIGPIPE ended

_UNITS = ("B", "kB", "MB", "GB", "TB")
_SCALES = ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k"))
_DURATIONS = ((1.0, "s"), (1e-3, "ms"), (1e-6, "us"))
_MAX_CELL = 60  # of plain text; longer cells are cut in the middle, JSON has them whole


@dataclass
class Table:
    """Rows of text under headings. A heading that starts with ``>`` is right-aligned."""

    headings: Sequence[str]
    title: str = ""
    rows: list[tuple[str, ...]] = field(default_factory=list)

    def add(self, *cells: object) -> None:
        """Adds a row: one cell for each heading."""
        if len(cells) != len(self.headings):
            raise ValueError(f"{len(cells)} cells for {len(self.headings)} headings")
        self.rows.append(tuple(str(cell) for cell in cells))

    def plain(self) -> str:
        """The table as aligned text."""
        names = [heading.lstrip(">") for heading in self.headings]
        cells = [names, *([_shortened(cell) for cell in row] for row in self.rows)]
        widths = [max(len(row[column]) for row in cells) for column in range(len(names))]
        lines = [self.title] if self.title else []
        for row in cells:
            aligned = (
                cell.rjust(width) if heading.startswith(">") else cell.ljust(width)
                for cell, width, heading in zip(row, widths, self.headings, strict=True)
            )
            lines.append("  ".join(aligned).rstrip())
        return "\n".join(lines)


def fallbacks(kernels: Iterable[tuple[str, str]]) -> list[str]:
    """A line for each kernel that had to be scheduled plainly: its name, and which template refused it and why."""
    return [f"{name} fell to the plain schedule: {reason}" for name, reason in dict(kernels).items() if reason]


def show(*parts: str | Table) -> None:
    """Prints text and tables on stdout."""
    with _ends_with_its_reader():
        _show(parts)


def _show(parts: Sequence[str | Table]) -> None:
    if not sys.stdout.isatty():
        for part in parts:
            print(part.plain() if isinstance(part, Table) else part)
        return
    from rich import box
    from rich.console import Console
    from rich.table import Table as RichTable

    console = Console()
    for part in parts:
        if isinstance(part, str):
            console.print(part, markup=False, highlight=False)
            continue
        table = RichTable(title=part.title or None, title_justify="left", box=box.SIMPLE_HEAD)
        for heading in part.headings:
            number = heading.startswith(">")  # numbers keep their width; text gives way
            table.add_column(
                heading.lstrip(">"), justify="right" if number else "left", overflow="ellipsis", no_wrap=number
            )
        for row in part.rows:
            table.add_row(*(cell.replace("[", "\\[") for cell in row))
        console.print(table)


def show_json(value: object) -> None:
    """Prints one JSON object on stdout."""
    with _ends_with_its_reader():
        print(json.dumps(value, indent=2, allow_nan=False))


@contextmanager
def _ends_with_its_reader() -> Iterator[None]:
    """When what reads stdout has gone (``| head``), the command ends as a process does that SIGPIPE ended."""
    try:
        yield
        sys.stdout.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise SystemExit(BROKEN_PIPE) from None


def size(count: float) -> str:
    """Bytes for people: ``97.8 MB``."""
    for unit in _UNITS:
        if count < 1000 or unit == _UNITS[-1]:
            break
        count /= 1000
    return f"{count:.0f} B" if unit == "B" else f"{count:.1f} {unit}"


def amount(count: float, unit: str = "") -> str:
    """A large number for people: ``8.2 GFLOP``; ``-`` for nothing."""
    for scale, prefix in _SCALES:
        if abs(count) >= scale:
            return f"{count / scale:.2f} {prefix}{unit}".rstrip()
    return f"{count:g} {unit}".rstrip() if count else "-"


def duration(seconds: float) -> str:
    """A time for people, in the unit that fits: ``1.234 ms``."""
    for scale, unit in _DURATIONS:
        if seconds >= scale:
            return f"{seconds / scale:.3f} {unit}"
    return f"{seconds / 1e-6:.3f} us"


def shape_text(shape: Sequence[object]) -> str:
    """A shape as options write it: ``1x3x224x224``; ``scalar`` when there is none."""
    return "x".join(str(dim) for dim in shape) or "scalar"


def _shortened(cell: str) -> str:
    if len(cell) <= _MAX_CELL:
        return cell
    half = (_MAX_CELL - 3) // 2
    return f"{cell[:half]}...{cell[-half:]}"
