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
        # What to say of each node, and the error of the converter, if there is one.
        self._met: list[tuple[str, UnsupportedError | None]] = []

    def no_converter(self, node: Node) -> None:
        """Records a node whose operator is not supported."""
        known = advice(node.source.domain, node.op_type)
        self._met.append((node.label + (f": {known}" if known else ""), None))

    def add(self, error: UnsupportedError, node: Node) -> None:
        """Records why a converter refused a node."""
        self._met.append((f"{node.label}: {error.what}", error))
        if error.where is None or error.where == node.label:
            error.where = f"{self._where}: {node.label}"

    def __len__(self) -> int:
        """How many there are."""
        return len(self._met)

    def forget(self, count: int) -> None:
        """Keeps the first `count` alone: the others were met in an attempt that another one replaces."""
        del self._met[count:]

    def report(self) -> None:
        """Raises what was recorded, if anything was.

        Raises:
            UnsupportedOperatorError: operators are not supported.
            UnsupportedError: nodes use operators in a way that is not supported; the error itself if it is only one.
        """
        if not self._met:
            return
        errors = [error for _, error in self._met if error is not None]
        operators = len(errors) < len(self._met)
        if not operators and len(errors) == 1:
            raise errors[0]
        count = len(self._met)
        details = [line for line, _ in self._met[:_MOST_LINES]]
        if count > _MOST_LINES:
            details.append(f"and {count - _MOST_LINES} more")
        nodes = f"{count} node{'s' if count > 1 else ''}"
        if operators:
            what = f"the model has {nodes} with operators that are not supported"
            raise UnsupportedOperatorError(what, where=self._where, details=details, hint=HINT)
        hints = dict.fromkeys(error.hint for error in errors if error.hint)
        raise UnsupportedError(
            f"the model has {nodes} that are not supported", where=self._where, details=details, hint="; ".join(hints)
        )
