"""All kernels of a library in C, by one process or several; vectors only where C has some for all of a kernel."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from ...failures import failing_in
from ...targets.target import Target
from ..lowering.batches import Batch, LoweredKernels, run_batches
from ..lowering.lower import LoweredKernel
from ..process.workers import Workers
from .c_expressions import Used
from .c_kernel import KernelInC, KernelWriter
from .c_vectors import NoVectorsError


def kernel_in_c(kernel: LoweredKernel, used: Used, target: Target) -> KernelInC:
    """Writes a kernel, whose loops are neither parallel nor vectors.

    Args:
        used: what it calls is added there.
        target: whose functions it may call.

    Raises:
        CompilerError: C has nothing for something in it.
        UnsupportedError: it computes in a dtype that C lacks.
    """
    with failing_in(f"kernel '{kernel.symbol}'", "a kernel cannot be written in C"):
        return KernelWriter(kernel.function, used, target).written(kernel.symbol)


@dataclass(frozen=True)
class WriteJob:
    """Writes the kernels of a batch where it was lowered."""

    batch: Batch

    def __call__(self) -> tuple[list[KernelInC], Used]:
        """Writes.

        Raises:
            CompilerError, UnsupportedError: as `kernel_in_c`.
        """
        used = Used()
        return [self._written(number, kernel, used) for number, kernel in enumerate(self.batch.lowered)], used

    def _written(self, number: int, kernel: LoweredKernel, used: Used) -> KernelInC:
        """A kernel; without vectors where C has none for something in it."""
        called = Used()
        try:
            written = kernel_in_c(kernel, called, self.batch.target)
        except NoVectorsError:
            called = Used()
            written = kernel_in_c(self.batch.lower(number, vectors=False), called, self.batch.target)
        used.helpers.update(called.helpers)
        used.libm.update(called.libm)
        return written


def kernels_in_c(
    kernels: LoweredKernels, *, workers: Workers | None, progress: Callable[[int, int], None]
) -> tuple[list[KernelInC], Used]:
    """Writes all kernels of a library.

    Args:
        kernels: what to write.
        workers: processes that share the work; without them this one does it.
        progress: called with the kernels done and the kernels in all.

    Raises:
        CompilerError, UnsupportedError: as `kernel_in_c`.
        ToolError: a worker was killed.
    """
    written: list[KernelInC] = []
    used = Used()
    for each, calls in run_batches([WriteJob(batch) for batch in kernels.batches], workers, progress):
        written += each
        used.helpers.update(calls.helpers)
        used.libm.update(calls.libm)
    return written, used
