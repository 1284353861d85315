"""Kernels in batches: what one process lowers, and turns into code later, at a time.

Which kernels share a batch depends on nothing but their order, so results are the same however many processes work.
"""

from __future__ import annotations

import math
import secrets
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Protocol, TypeAlias, TypeVar

import tvm
from tvm import relax

from ...failures import failing_in
from ...ir_types import IRModule, PrimFunc
from ...targets.host import available_cores
from ...targets.target import Target
from ..library.plan import Bytes
from ..process.workers import Workers, asked_jobs
from .lower import LoweredKernel, lower_kernel
from .narrow_floats import Halves

Key: TypeAlias = tuple[str, int]

# More kernels to a batch cost less overhead (8 instead of 4: 5 % less for ResNet-50's 32 kernels and DenseNet-121's
# 189), fewer are shared out more evenly.
KERNELS_PER_BATCH = 4
# Hundreds of kernels are shared out evenly whatever their batches hold, and overhead is what counts.
_MOST_BATCHES = 96

# Workers take a second of processor time to start, while this process runs the passes. ResNet-18, VGG-16 and BERT have
# 30 to 35 distinct operators, which become some 16 kernels of 55 ms each: then two workers save half a second.
_MIN_OPERATORS = 30


class Batch:
    """Some scheduled PrimFuncs, and, in the process where they were lowered, what became of them.

    It travels as TVM's JSON. A process to which it comes again finds what it knows of it already.
    """

    def __init__(
        self, key: Key, symbols: Sequence[str], functions: Sequence[PrimFunc], target: Target, *, parallel: bool
    ) -> None:
        """Takes the kernels.

        Args:
            key: no other batch has it, in any process; its first part is of one compile.
            symbols, functions: the C name and the scheduled PrimFunc of each kernel.
            target: the machine to compile for.
            parallel: whether parallel loops call the thread pool; otherwise they become serial.
        """
        self.key = key
        self.symbols = tuple(symbols)
        self.functions = tuple(functions)
        self.target = target
        self.parallel = parallel

    def __len__(self) -> int:
        return len(self.symbols)

    def __reduce__(self) -> tuple[Any, ...]:
        return _received, (self.key, self.symbols, self._texts, self.target, self.parallel)

    @cached_property
    def _texts(self) -> tuple[str, ...]:
        texts = []
        for symbol, function in zip(self.symbols, self.functions, strict=True):
            with _moving(symbol):
                texts.append(tvm.ir.save_json(function))
        return tuple(texts)

    @cached_property
    def lowered(self) -> tuple[LoweredKernel, ...]:
        """The kernels, lowered when somebody first asks for them in this process.

        Raises:
            CompilerError: as `lower_kernel`.
        """
        halves = Halves.INTEGERS if self.target.half_features is None else Halves.BY_FLOAT32
        if self.target.grid is not None:
            halves = Halves.LEFT
        vectors = self.target.lanes() > 1
        return tuple(self.lower(number, vectors=vectors, halves=halves) for number in range(len(self)))

    def lower(self, number: int, *, vectors: bool, halves: Halves = Halves.LEFT) -> LoweredKernel:
        """Lowers one of the kernels, in vectors or one number after the other; C has its own functions for `halves`.

        Raises:
            CompilerError: as `lower_kernel`.
        """
        return lower_kernel(
            self.functions[number],
            self.symbols[number],
            self.target.to_tvm(),
            parallel=self.parallel,
            units=self.target.units,
            vectors=vectors,
            fma=self.target.asks_for_fma,
            functions=self.target.functions,
            registers=self.target.num_vector_registers,
            branches=not vectors or self.target.core.single_issue,
            keeps_loops=self.target.keeps_loops,
            grid=self.target.grid is not None,
            halves=halves,
        )


class BatchJob(Protocol):
    """Work on a batch, for any process."""

    @property
    def batch(self) -> Batch:
        """What it works on."""

    def __call__(self) -> Any:
        """Does the work."""


AnyBatchJob = TypeVar("AnyBatchJob", bound=BatchJob)


# What has come to this process from another one, of the compile that it works for.
_known: dict[Key, Batch] = {}


def _received(key: Key, symbols: Sequence[str], texts: Sequence[str], target: Target, parallel: bool) -> Batch:
    if key not in _known:
        if any(compile_of != key[0] for compile_of, _ in _known):
            _known.clear()
        functions = []
        for symbol, text in zip(symbols, texts, strict=True):
            with _moving(symbol):
                functions.append(tvm.ir.load_json(text))
        _known[key] = Batch(key, symbols, functions, target, parallel=parallel)
    return _known[key]


def _moving(symbol: str) -> AbstractContextManager[None]:
    return failing_in(f"kernel '{symbol}'", "a kernel cannot be handed to another process")


@dataclass(frozen=True)
class LowerJob:
    """Lowers a batch where it runs, which leaves the kernels there, and returns their scratch sizes."""

    batch: Batch

    def __call__(self) -> list[tuple[Bytes, ...]]:
        """Lowers.

        Raises:
            CompilerError: as `lower_kernel`.
        """
        return [kernel.scratch for kernel in self.batch.lowered]


@dataclass(frozen=True)
class LoweredKernels:
    """The kernels of a library after lowering.

    Attributes:
        batches: all of them, in order; the process that lowered one has the loops.
        scratch: for each kernel the sizes of its scratch arguments in bytes.
    """

    batches: tuple[Batch, ...]
    scratch: tuple[tuple[Bytes, ...], ...]

    @property
    def kernels(self) -> list[LoweredKernel]:
        """The kernels themselves; those that another process lowered are lowered again."""
        return [kernel for batch in self.batches for kernel in batch.lowered]


def lower_kernels(
    kernels: Sequence[tuple[str, PrimFunc]],
    target: Target,
    *,
    parallel: bool,
    workers: Workers | None = None,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> LoweredKernels:
    """Lowers scheduled kernels.

    Args:
        kernels: the C name and the scheduled PrimFunc of each.
        target: the machine to compile for.
        parallel: whether parallel loops call the thread pool; otherwise they become serial.
        workers: processes that share the work; without them this one does it.
        progress: called with the kernels done and the kernels in all.

    Raises:
        CompilerError: a kernel cannot be lowered: of several the one in the first batch.
        ToolError: a worker was killed.
    """
    each = max(KERNELS_PER_BATCH, math.ceil(len(kernels) / _MOST_BATCHES))
    token = secrets.token_hex(8)
    batches = []
    for start in range(0, len(kernels), each):
        symbols, functions = zip(*kernels[start : start + each], strict=True)
        batches.append(Batch((token, start), symbols, functions, target, parallel=parallel))
    results = run_batches([LowerJob(batch) for batch in batches], workers, progress)
    return LoweredKernels(tuple(batches), tuple(scratch for result in results for scratch in result))


def run_batches(
    jobs: Sequence[AnyBatchJob], workers: Workers | None, progress: Callable[[int, int], None]
) -> list[Any]:
    """Does jobs, each in the process that knows its batch where that is free; returns their results, in order.

    Args:
        jobs: what to do.
        workers: processes that share the work; without them this one does it.
        progress: called with the kernels done and the kernels in all.
    """
    count, done = sum(len(job.batch) for job in jobs), 0

    def on_done(job: AnyBatchJob) -> None:
        nonlocal done
        done += len(job.batch)
        progress(done, count)

    if workers is not None:
        return workers.run(jobs, on_done, place=lambda job: job.batch.key)
    results = []
    for job in jobs:
        results.append(job())
        on_done(job)
    return results


def worker_count(processes: int | None, module: IRModule) -> int:
    """How many processes should compile the kernels of a model.

    Args:
        processes: the most that the user wants; None: the environment's ``TILEWRIGHT_JOBS``, or else so many that there
            is work for each. There are never more than the cores that this process may use.
        module: the model as it was imported.
    """
    processes = processes or asked_jobs()
    if processes is None:
        operators = _distinct_operators(module)
        # Fusion leaves a kernel for two operators or so.
        processes = math.ceil(operators / 2 / KERNELS_PER_BATCH) if operators >= _MIN_OPERATORS else 1
    return min(processes, available_cores())


def _distinct_operators(module: IRModule) -> int:
    """Calls in `main` that differ in operator or shapes: those that do not become one kernel."""
    return len(
        {
            (str(getattr(call.op, "name", call.op)), tuple(str(argument.ty) for argument in call.args))
            for block in module["main"].body.blocks
            for call in (binding.value for binding in block.bindings)
            if isinstance(call, relax.Call)
        }
    )
