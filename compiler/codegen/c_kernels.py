"""All kernels of a library, by one process or several; vectors only where the language has some for all of a kernel."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

from ...failures import failing_in
from ...targets.target import Target
from ..lowering.batches import Batch, LoweredKernels, run_batches
from ..lowering.lower import LoweredKernel
from ..process.workers import Workers
from .c_kernel import KernelInC, KernelWriter
from .c_used import Language, Used
from .c_vectors import NoVectorsError

Written = TypeVar("Written")
# Writes a kernel for a target, as one function of a language or as several; what they call is added to `Used`.
Write = Callable[[LoweredKernel, Used, Target], list[Written]]


def kernel_in_c(kernel: LoweredKernel, used: Used, target: Target) -> list[KernelInC]:
    """Writes a kernel, whose loops are not parallel.

    Args:
        used: what it calls is added there.
        target: whose functions it may call.

    Raises:
        CompilerError: C has nothing for something in it.
        UnsupportedError: it computes in a dtype that C lacks.
    """
    with failing_in(f"kernel '{kernel.symbol}'", "a kernel cannot be written in C"):
        return [KernelWriter(kernel.function, used, target).written(kernel.symbol)]


@dataclass(frozen=True)
class WriteJob(Generic[Written]):
    """Writes the kernels of a batch where it was lowered."""

    batch: Batch
    write: Write[Written]
    language: Language

    def __call__(self) -> tuple[list[Written], Used]:
        """Writes.

        Raises:
            CompilerError, UnsupportedError: as `write`.
        """
        used = Used(self.language)
        numbered = enumerate(self.batch.lowered)
        return [each for number, kernel in numbered for each in self._written(number, kernel, used)], used

    def _written(self, number: int, kernel: LoweredKernel, used: Used) -> list[Written]:
        """A kernel; without vectors where the language has none for something in it."""
        called = Used(self.language)
        try:
            written = self.write(kernel, called, self.batch.target)
        except NoVectorsError:
            called = Used(self.language)
            written = self.write(self.batch.lower(number, vectors=False), called, self.batch.target)
        used.add(called)
        return written


def written_kernels(
    kernels: LoweredKernels,
    write: Write[Written],
    language: Language,
    *,
    workers: Workers | None,
    progress: Callable[[int, int], None],
) -> tuple[list[Written], Used]:
    """Writes all kernels of a library.

    Args:
        kernels: what to write.
        write: what writes one, in a module that processes can import.
        language: what they are written in.
        workers: processes that share the work; without them this one does it.
        progress: called with the kernels done and the kernels in all.

    Raises:
        CompilerError, UnsupportedError: as `write`.
        ToolError: a worker was killed.
    """
    written: list[Written] = []
    used = Used(language)
    jobs = [WriteJob(batch, write, language) for batch in kernels.batches]
    for each, called in run_batches(jobs, workers, progress):
        written += each
        used.add(called)
    return written, used
