"""The exact solve: which treatment each layer gets, so that the least time or bytes are taken within an error.

Errors of layers add up as squares, times and bytes as they are, so for each limit this is an integer program with one
choice a layer, which HiGHS solves in milliseconds. What layers do to each other it does not know: the search does.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.optimize import Bounds, LinearConstraint, milp

from .candidate import WHOLE, Candidate
from .database import Database, Row
from .front import front_of
from .treatments import FLOAT

# Errors of the outputs, as shares of them, that the front is swept through.
LIMITS = (0.003, 0.006, 0.01, 0.02, 0.03, 0.05, 0.07, 0.1, 0.14, 0.2, 0.3, 0.45, 0.7)
_WEIGHTS = ((1.0, 0.0), (0.0, 1.0), (0.5, 0.5))  # of time and bytes, each as a share of the float model's
_TIE = 1e-6  # of the error, beside what is taken: of equal choices the more exact


@dataclass(frozen=True)
class Predicted:
    """A candidate, and what the database says of it.

    Attributes:
        error: a square, as rows have it.
    """

    candidate: Candidate
    error: float
    seconds: float
    bytes: float


class Table:
    """The database as choices: for each base the options of each layer, and what is the same whatever is chosen."""

    def __init__(self, database: Database, order: Sequence[str]) -> None:
        """Reads it.

        Args:
            order: all layers, in the model's order.
        """
        self.order = order
        self.options: dict[str, dict[str, list[Row]]] = {}
        self._surveyed = {base: line for (base, name), line in database.surveyed.items() if name == FLOAT.name}
        places = {layer: number for number, layer in enumerate(order)}
        rows = sorted(database.rows.values(), key=lambda row: (places.get(row.layer, 0), row.treatment != FLOAT.name))
        for row in rows:
            self.options.setdefault(row.base, {}).setdefault(row.layer, []).append(row)
        self._rows = {(row.base, row.layer, row.treatment): row for row in rows}

    def predicted(self, candidate: Candidate) -> Predicted:
        """What a candidate should lose and take: the base, and the difference that each treatment makes."""
        base = self._surveyed[candidate.base]
        error, seconds, size = base.error, base.seconds, float(base.bytes)
        for layer, treatment in candidate.treated:
            row, own = (self._rows[candidate.base, layer, each] for each in (treatment, FLOAT.name))
            error += row.error
            seconds += row.seconds - own.seconds
            size += row.bytes - own.bytes
        return Predicted(candidate, error, seconds, size)

    def uniform(self) -> list[Predicted]:
        """The whole model with each treatment of all layers that have it, and the bases as they are."""
        layers: dict[str, dict[str, str]] = {}
        for row in self._rows.values():
            if row.base == WHOLE and row.treatment != FLOAT.name and (WHOLE, row.layer, FLOAT.name) in self._rows:
                layers.setdefault(row.treatment, {})[row.layer] = row.treatment
        treated = [Candidate(WHOLE).treating(each, self.order) for each in layers.values()]
        return [self.predicted(each) for each in (*treated, *map(Candidate, self._surveyed)) if not each.is_exact]

    def useful(self, base: str) -> Mapping[str, Sequence[Row]]:
        """For each layer the treatments that no other is better than."""
        return {
            layer: front_of(rows, lambda row: (row.error, row.seconds, row.bytes))
            for layer, rows in self.options.get(base, {}).items()
            if rows[0].treatment == FLOAT.name
        }

    def solved(self) -> list[Predicted]:
        """The front of the exact solve over all bases and limits, the least error first."""
        found: dict[str, Predicted] = {}
        for base in self._surveyed:
            for candidate in [Candidate(base), *self._sweep(base)]:
                found.setdefault(candidate.key, self.predicted(candidate))
        front = front_of(
            sorted(found.values(), key=lambda each: each.error), lambda each: (each.error, each.seconds, each.bytes)
        )
        return sorted(front, key=lambda each: each.error)

    def _sweep(self, base: str) -> Iterator[Candidate]:
        layers = self.useful(base)
        whole = self._surveyed[base]
        rows = [row for each in layers.values() for row in each]
        if not rows:
            return
        choice = np.zeros((len(layers), len(rows)))
        for number, layer in enumerate(layers):
            choice[number] = [row.layer == layer for row in rows]
        errors, seconds, sizes = (
            np.array([getattr(row, name) for row in rows], np.float64) for name in ("error", "seconds", "bytes")
        )
        for limit in LIMITS:
            left = limit**2 - whole.error
            if left < 0:
                continue
            lost = errors / limit**2  # numbers near one: solvers compare with tolerances
            constraints = [LinearConstraint(choice, 1, 1), LinearConstraint(lost[None], -np.inf, left / limit**2)]
            for of_time, of_bytes in _WEIGHTS:
                cost = of_time * seconds / max(whole.seconds, 1e-12) + of_bytes * sizes / max(whole.bytes, 1)
                cost = cost + _TIE * lost
                solved = milp(cost, integrality=np.ones(len(rows)), bounds=Bounds(0, 1), constraints=constraints)
                if solved.x is not None:
                    chosen = {row.layer: row.treatment for row, part in zip(rows, solved.x, strict=True) if part > 0.5}
                    yield Candidate(base).treating(chosen, self.order)
