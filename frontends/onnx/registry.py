"""The table of operators: which function converts which ONNX operator from which opset on.

A converter registers itself, so that adding an operator touches one place:

    @operator("Softmax", since=13)
    def softmax(node: Node) -> Result: ...
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import TypeAlias

from .node import Node, Result

Converter: TypeAlias = Callable[[Node], Result]


@dataclass(frozen=True)
class Entry:
    """One row: `converter` takes `op_type` of `domain` from opset `since` up to the next row's `since`."""

    domain: str
    op_type: str
    since: int
    converter: Converter


_table: dict[tuple[str, str], list[Entry]] = {}


def operator(*op_types: str, since: int = 1, domain: str = "") -> Callable[[Converter], Converter]:
    """Registers a converter for operators, from an opset on."""

    def register(converter: Converter) -> Converter:
        for op_type in op_types:
            entries = _table.setdefault((domain, op_type), [])
            if any(entry.since == since for entry in entries):
                raise ValueError(f"{op_type} has two converters since opset {since}")
            entries.append(Entry(domain, op_type, since, converter))
            entries.sort(key=lambda entry: entry.since)
        return converter

    return register


def find_converter(domain: str, op_type: str, opset: int) -> Converter | None:
    """The converter of an operator as it is in an opset, or None."""
    _load_operators()
    entries = [entry for entry in _table.get((domain, op_type), ()) if entry.since <= opset]
    return entries[-1].converter if entries else None


def registered_operators() -> list[Entry]:
    """Every row of the table, sorted by domain, operator and opset."""
    _load_operators()
    return sorted(
        (entry for entries in _table.values() for entry in entries),
        key=lambda entry: (entry.domain, entry.op_type, entry.since),
    )


@cache
def _load_operators() -> None:
    """Imports every module of `operators`, whose decorators fill the table."""
    package = importlib.import_module(".operators", __package__)
    for module in pkgutil.iter_modules(package.__path__):
        importlib.import_module(f".operators.{module.name}", __package__)
