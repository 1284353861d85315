"""How rows are reduced and cut: the choices of the rows template, and what each of them takes."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace

from ...targets.target import Target
from ..tensorir.expressions import dtype_bits
from . import plain
from .choices import Choice
from .sharing import best_threads, elapsed, hand_off, thread_counts

ROWS = "rows"
_REGISTERS = (4, 2, 1)  # of partial results
# What a row that stays one is reduced to before it is computed: its maximum and sum, its mean and variance.
_REDUCTIONS = 2
# The share of the time that cutting rows has to leave.
_PARTS_GAIN = 0.8
# Intermediate results of a row up to the first stand on the stack by default, up to the second they may.
_STACK_BYTES, _MAX_STACK_BYTES = 16 << 10, 32 << 10
_FLOAT_BYTES = 4


@dataclass(frozen=True)
class Rows:
    """Rows that are reduced.

    Attributes:
        count: how many.
        length: elements of one.
        dtype: that they are reduced in.
        stays: whether the result has rows again, and not one number for each.
        functions: that are computed of each element.
    """

    count: int
    length: int
    dtype: str
    stays: bool = True
    functions: int = 0


@dataclass(frozen=True)
class RowsChoice(Choice):
    """How rows are reduced.

    Attributes:
        registers: of partial results; 0 for one number, of rows that fill no register.
        on_stack: whether intermediate results as long as a row are on the stack, and not in the workspace.
        parts: that a row is cut into where rows are few and long: each stage is shared, and its results are combined in
            order.
        threads: that share the rows, or their parts, at most.
    """

    registers: int
    on_stack: bool
    parts: int = 1
    threads: int = 1

    def width(self, dtype: str, target: Target) -> int:
        """Partial results of a row."""
        return max(1, self.registers * target.lanes(dtype_bits(dtype)))


def takes(workload: object, target: Target) -> bool:
    """Rows."""
    return isinstance(workload, Rows)


def space(workload: Rows, target: Target) -> Iterator[RowsChoice]:
    """All choices whose registers a row fills, and whose rows fit the stack."""
    whole = workload.length // target.lanes(dtype_bits(workload.dtype))
    row_bytes = workload.length * dtype_bits(workload.dtype) // 8
    for registers in [each for each in _REGISTERS if each <= whole] or [0]:
        for on_stack in (True, False)[: 2 if workload.stays else 1]:
            if row_bytes <= _MAX_STACK_BYTES or not on_stack or not workload.stays:
                for parts in _parts(workload, registers, target):
                    for threads in thread_counts(target):
                        yield RowsChoice(registers, on_stack, parts, threads)


def _parts(workload: Rows, registers: int, target: Target) -> Iterator[int]:
    """Parts that a row may be cut into, of at least a step, to give every core one."""
    width = RowsChoice(registers, on_stack=True).width(workload.dtype, target)
    parts = 1
    while parts == 1 or (registers and workload.length >= parts * width and parts < 2 * target.cores):
        yield parts
        parts *= 2


def default(workload: Rows, target: Target) -> RowsChoice:
    """As many registers as divide a row, of four: the latency of an addition over its throughput; then parts, threads.

    Parts have to save a share of the time: every stage waits for all cores.
    """
    whole = workload.length // target.lanes(dtype_bits(workload.dtype))
    registers = next((each for each in _REGISTERS if whole >= each and whole % each == 0), 0)
    on_stack = workload.length * _FLOAT_BYTES <= _STACK_BYTES or not workload.stays
    best = RowsChoice(registers, on_stack)
    for parts in _parts(workload, registers, target):
        choice = replace(best, parts=parts)
        threads = best_threads(cycles(workload, choice, target), workload.count * parts, target)
        choice = replace(choice, threads=threads)
        if estimate(workload, choice, target) < estimate(workload, best, target) * (1 if parts == 1 else _PARTS_GAIN):
            best = choice
    return best


def estimate(workload: Rows, choice: RowsChoice, target: Target) -> float:
    """Estimated cycles until all cores are done."""
    iterations = workload.count * choice.parts
    if choice.parts == 1:
        return elapsed(cycles(workload, choice, target), iterations, choice.threads, target)
    reductions = _REDUCTIONS if workload.stays else 1
    joined = reductions * workload.count * _joined(workload, choice, target)
    shared = elapsed(cycles(workload, choice, target) - joined, iterations, choice.threads, target)
    later = (reductions if workload.stays else 0) * hand_off(min(choice.threads, iterations), target)
    return joined + shared + later


def cycles(workload: Rows, choice: RowsChoice, target: Target) -> float:
    """Estimated cycles of one core: additions wait for each other, what fills no registers is scalar."""
    core = target.core
    steps = workload.length // (choice.parts * choice.width(workload.dtype, target)) * choice.parts
    step = max(core.fma_latency, choice.registers / core.loads_per_cycle)
    reduced = steps * step + _joined(workload, choice, target)
    if not workload.stays:
        return workload.count * reduced
    vectors = math.ceil(workload.length / target.lanes(dtype_bits(workload.dtype)))
    computed = workload.functions * plain.FUNCTION_STEPS / core.fmas_per_cycle
    return workload.count * (_REDUCTIONS * reduced + vectors * (computed + 1 / core.l2_vectors_per_cycle))


def _joined(workload: Rows, choice: RowsChoice, target: Target) -> float:
    """Cycles of one reduction of one row beside its steps: parts, partial results, and what fills no registers."""
    width = choice.width(workload.dtype, target)
    parts = choice.parts - 1
    rest = workload.length % (choice.parts * width)
    return (parts + rest + 1 + math.log2(width)) * target.core.fma_latency
