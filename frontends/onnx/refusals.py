"""Collects what an import meets and cannot convert, so that one error lists all of it."""

from __future__ import annotations

from ...errors import UnsupportedError, UnsupportedOperatorError
from .alternatives import HINT, advice
from .node import Node

_MOST_LINES = 25


class Refusals:
    """The nodes without a converter, and those that a converter refused, in the order in which they were met."""

    def __init__(self, where: str) -> None:
        self._where = where
        self._lines: list[str] = []
        self._errors: list[UnsupportedError] = []
        self._operators = False

    def no_converter(self, node: Node) -> None:
        """Records a node whose operator is not supported."""
        known = advice(node.source.domain, node.op_type)
        self._lines.append(node.label + (f": {known}" if known else ""))
        self._operators = True

    def add(self, error: UnsupportedError, node: Node) -> None:
        """Records why a converter refused a node."""
        self._lines.append(f"{node.label}: {error.what}")
        self._errors.append(error)
        if error.where is None or error.where == node.label:
            error.where = f"{self._where}: {node.label}"

    def report(self) -> None:
        """Raises what was recorded, if anything was.

        Raises:
            UnsupportedOperatorError: operators are not supported.
            UnsupportedError: nodes use operators in a way that is not supported; the error itself if it is only one.
        """
        if not self._lines:
            return
        if not self._operators and len(self._errors) == 1:
            raise self._errors[0]
        count = len(self._lines)
        details = self._lines[:_MOST_LINES]
        if count > _MOST_LINES:
            details.append(f"and {count - _MOST_LINES} more")
        nodes = f"{count} node{'s' if count > 1 else ''}"
        if self._operators:
            what = f"the model has {nodes} with operators that are not supported"
            raise UnsupportedOperatorError(what, where=self._where, details=details, hint=HINT)
        hints = dict.fromkeys(error.hint for error in self._errors if error.hint)
        raise UnsupportedError(
            f"the model has {nodes} that are not supported", where=self._where, details=details, hint="; ".join(hints)
        )
