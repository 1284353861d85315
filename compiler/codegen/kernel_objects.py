"""Scheduled kernels -> object files, a few kernels to each: in this process, or in several at once.

Which kernels share an object depends on nothing but their order, so the objects are the same however many processes
make them.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tvm
from tvm import relax

from ...targets.host import available_cores
from ...targets.target import Target
from ..library.plan import Bytes
from ..lowering.lower import lower_kernel
from ..process.workers import Workers
from .llvm import compile_object

# More kernels to an object cost less overhead (8 instead of 4: 5 % less for ResNet-50's 32 kernels and DenseNet-121's
# 189), fewer are shared out more evenly.
KERNELS_PER_OBJECT = 4
# Hundreds of kernels are shared out evenly whatever their objects hold, and overhead is what counts.
_MOST_OBJECTS = 96


# Workers take a second of processor time to start, while this process runs the passes. ResNet-18, VGG-16 and BERT have
# 30 to 35 distinct operators, which become some 16 kernels of 55 ms each: then two workers save half a second.
_MIN_OPERATORS = 30


@dataclass(frozen=True)
class ObjectJob:
    """An object file to make.

    Attributes:
        path: the file, in a folder that all processes see.
        name: prefix of the library.
        target: the machine to compile for.
        parallel: whether parallel loops call the thread pool.
        symbols: C names of the kernels.
        functions: their scheduled PrimFuncs; each as TVM's JSON on the way to another process.
    """

    path: Path
    name: str
    target: Target
    parallel: bool
    symbols: tuple[str, ...]
    functions: tuple[Any, ...]

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "functions": tuple(tvm.ir.save_json(function) for function in self.functions)}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state, functions=tuple(tvm.ir.load_json(text) for text in state["functions"]))

    def __len__(self) -> int:
        return len(self.functions)

    def __call__(self) -> list[tuple[Bytes, ...]]:
        """Lowers the kernels, lets LLVM compile them, writes the object; returns each kernel's scratch sizes.

        Raises:
            CompilerError: as `lower_kernel` and `compile_object`.
        """
        tvm_target = self.target.to_tvm()
        lowered = [
            lower_kernel(function, symbol, tvm_target, parallel=self.parallel, units=self.target.units)
            for symbol, function in zip(self.symbols, self.functions, strict=True)
        ]
        linked = frozenset().union(*(unit.instructions().symbols for unit in self.target.units))
        compile_object(lowered, tvm_target, self.name, self.path, linked=linked)
        return [kernel.scratch for kernel in lowered]


def compile_kernels(
    kernels: Sequence[tuple[str, Any]],
    target: Target,
    name: str,
    folder: Path,
    *,
    parallel: bool,
    workers: Workers | None = None,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> tuple[list[Path], list[tuple[Bytes, ...]]]:
    """Compiles kernels to object files in `folder`.

    Args:
        kernels: the C name and the scheduled PrimFunc of each.
        target: the machine to compile for.
        name: prefix of the library.
        folder: where the files go, named by their position.
        parallel: whether parallel loops call the thread pool; otherwise they become serial.
        workers: processes that share the work; without them this one does it.
        progress: called with the kernels done and the kernels in all.

    Returns:
        The files, and for each kernel the sizes of its scratch arguments in bytes.

    Raises:
        CompilerError: a kernel cannot be lowered or compiled: of several the one in the first object.
        ToolError: a worker was killed.
    """
    jobs: list[ObjectJob] = []
    each = max(KERNELS_PER_OBJECT, math.ceil(len(kernels) / _MOST_OBJECTS))
    for start in range(0, len(kernels), each):
        symbols, functions = zip(*kernels[start : start + each], strict=True)
        path = folder / f"kernels_{len(jobs):03d}.o"
        jobs.append(ObjectJob(path, name, target, parallel, symbols, functions))
    done = 0

    def on_done(job: ObjectJob) -> None:
        nonlocal done
        done += len(job)
        progress(done, len(kernels))

    if workers is not None:
        results = workers.run(jobs, on_done)
    else:
        results = []
        for job in jobs:
            results.append(job())
            on_done(job)
    return [job.path for job in jobs], [scratch for result in results for scratch in result]


def worker_count(processes: int | None, module: Any) -> int:
    """How many processes should compile the kernels of a model.

    Args:
        processes: the most that the user wants; None: so many that there is work for each. There are never more than
            the cores that this process may use.
        module: the model as it was imported.
    """
    if processes is None:
        operators = _distinct_operators(module)
        # Fusion leaves a kernel for two operators or so.
        processes = math.ceil(operators / 2 / KERNELS_PER_OBJECT) if operators >= _MIN_OPERATORS else 1
    return min(processes, available_cores())


def _distinct_operators(module: Any) -> int:
    """Calls in `main` that differ in operator or shapes: those that do not become one kernel."""
    return len(
        {
            (str(getattr(call.op, "name", call.op)), tuple(str(argument.ty) for argument in call.args))
            for block in module["main"].body.blocks
            for call in (binding.value for binding in block.bindings)
            if isinstance(call, relax.Call)
        }
    )
