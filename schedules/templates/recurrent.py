"""Recurrent layers: a step is one product with the state, in registers, and the gates on it; one kernel runs all steps.

    parallel (direction, rows of the batch)                                 across = "sequences"
        for step
            parallel panel of the hidden units                              across = "panels"
                local sums[gates, rows, vectors, lanes] = projected
                for k of the state:  sums += state[rows, k] * weights[panel, k, gates, vectors, lanes]
                gates of the sums -> the next state, and the result of the step

Weights are packed in the order in which a step reads them, all gates of a hidden unit together, so that what a step
leaves is the next state. The last panel ends at the last hidden unit: where panels do not divide them, it overlaps the
one before it, and both compute the same.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
from tvm import te

from ...ir_passes.dialect.recurrent import Layer
from ...ir_types import Scalar
from ...targets.target import Target
from ..tensorir.expressions import dtype_bits, int64s
from . import plain
from .choices import Choice
from .sharing import elapsed, thread_counts
from .template import fewest_cycles

TEMPLATE = "recurrent"
SEQUENCES, PANELS = "sequences", "panels"
_MOST_ROWS, _MOST_VECTORS = 8, 8
_SPARE_REGISTERS = 2


@dataclass(frozen=True)
class Recurrence:
    """All steps of a layer, its input already multiplied."""

    layer: Layer
    steps: int
    batch: int
    hidden: int
    dtype: str

    @property
    def directions(self) -> int:
        """One or two."""
        return len(self.layer.backward)


@dataclass(frozen=True)
class RecurrentChoice(Choice):
    """A tile of so many ``rows`` of the batch by ``vectors`` of ``lanes`` hidden units, all gates of each.

    At most so many ``threads`` share what ``across`` says: whole sequences, or in every step the panels.
    """

    rows: int
    vectors: int
    lanes: int
    across: str = SEQUENCES
    threads: int = 1

    @property
    def width(self) -> int:
        """Hidden units of a panel."""
        return self.vectors * self.lanes


def panels_of(workload: Recurrence, choice: RecurrentChoice) -> int:
    """How many panels there are."""
    return math.ceil(workload.hidden / choice.width)


def takes(workload: object, target: Target) -> bool:
    """Recurrent layers."""
    return isinstance(workload, Recurrence)


def space(workload: Recurrence, target: Target) -> Iterator[RecurrentChoice]:
    """All tiles whose sums fit the registers, and ways to share them that no two threads write the same by."""
    bits = dtype_bits(workload.dtype)
    most = min(target.lanes(bits), 1 << (workload.hidden.bit_length() - 1))
    registers = max(target.num_vector_registers - _SPARE_REGISTERS, workload.layer.gates)
    for rows in (each for each in range(1, _MOST_ROWS + 1) if workload.batch % each == 0):
        for lanes in (1 << power for power in range(most.bit_length())):
            for vectors in range(1, min(_MOST_VECTORS, workload.hidden // lanes) + 1):
                if vectors * workload.layer.gates * rows > registers:
                    break
                tile = RecurrentChoice(rows, vectors, lanes)
                yield tile
                for across in (SEQUENCES, PANELS):
                    if across == SEQUENCES or workload.hidden % tile.width == 0:
                        yield from (replace(tile, across=across, threads=n) for n in thread_counts(target) if n > 1)


def estimate(workload: Recurrence, choice: RecurrentChoice, target: Target) -> float:
    """Estimated cycles until all cores are done."""
    cycles, iterations = _shared_loop(workload, choice, target)
    loops = 1 if choice.across == SEQUENCES else _sequences(workload, choice) * workload.steps
    return loops * elapsed(cycles, iterations, choice.threads, target)


default = fewest_cycles(space, estimate)  # smaller tiles where there are many cores to share them


def _sequences(workload: Recurrence, choice: RecurrentChoice) -> int:
    return workload.directions * workload.batch // choice.rows


def _shared_loop(workload: Recurrence, choice: RecurrentChoice, target: Target) -> tuple[float, int]:
    """One core's cycles of the loop that threads share, and its iterations."""
    panels = panels_of(workload, choice)
    step = panels * _panel(workload, choice, target)
    if choice.across == SEQUENCES:
        sequences = _sequences(workload, choice)
        return sequences * workload.steps * step, sequences
    return step, panels


def _panel(workload: Recurrence, choice: RecurrentChoice, target: Target) -> float:
    """Cycles of a panel of a step: multiply-adds, loads, and reading the weights from the cache that they fit."""
    core, gates = target.core, workload.layer.gates
    vectors = gates * choice.vectors
    weights = gates * workload.hidden * workload.hidden * dtype_bits(workload.dtype) // 8
    per_cycle = core.loads_per_cycle
    if weights > target.l1_bytes // 2:
        per_cycle = core.l2_vectors_per_cycle
    if weights > target.l2_bytes:
        per_cycle = core.l3_bytes_per_cycle / (target.vector_bits // 8)
    term = max(
        vectors * choice.rows / core.fmas_per_cycle,
        (vectors + choice.rows) / core.loads_per_cycle,
        vectors * choice.lanes * dtype_bits(workload.dtype) / target.vector_bits / per_cycle,
        core.fma_latency,
    )
    functions = (vectors + choice.vectors) * choice.rows * plain.FUNCTION_STEPS / core.fmas_per_cycle
    return workload.hidden * (term + core.step_overhead / 2) + functions + core.tile_overhead * vectors * choice.rows


def packed_shape(workload: Recurrence, choice: RecurrentChoice) -> tuple[int, ...]:
    """Of the weights: directions, panels, terms of the product, gates, hidden units of a panel."""
    directions, gates = workload.directions, workload.layer.gates
    return directions, panels_of(workload, choice), workload.hidden, gates, choice.width


def pack_constant(
    weights: npt.NDArray[np.generic], workload: Recurrence, choice: RecurrentChoice
) -> npt.NDArray[np.generic]:
    """Weights of shape (directions, gates * hidden, hidden) as a step reads them."""
    hidden = workload.hidden
    gates = weights.reshape(workload.directions, workload.layer.gates, hidden, hidden)
    starts = [min(panel * choice.width, hidden - choice.width) for panel in range(panels_of(workload, choice))]
    panels = [gates[:, :, start : start + choice.width].transpose(0, 3, 1, 2) for start in starts]
    return np.ascontiguousarray(np.stack(panels, axis=1))


def pack_at_run_time(weights: te.Tensor, workload: Recurrence, choice: RecurrentChoice) -> te.Tensor:
    """The same as a kernel."""

    def packed(direction: Scalar, panel: Scalar, term: Scalar, gate: Scalar, lane: Scalar) -> Scalar:
        start = te.min(panel * choice.width, workload.hidden - choice.width)
        return weights[direction, gate * workload.hidden + start + lane, term]

    return te.compute(int64s(packed_shape(workload, choice)), packed, name="packed")
