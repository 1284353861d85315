"""Lowered kernels -> object files by LLVM, checked to need nothing of TVM."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

import tvm

from ...errors import CompilerError
from ...failures import failing_in
from ...targets.target import Target
from ..library.naming import TVM_LAUNCH
from ..lowering.batches import Batch, LoweredKernels, run_batches
from ..lowering.lower import LoweredKernel
from ..process.workers import Workers
from .object_files import FORMATS, UNWINDERS, with_own_symbols

_LIBM = """
    acos acosh asin asinh atan atan2 atanh cbrt ceil copysign cos cosh erf erfc exp exp10 exp2 expm1 fabs fdim floor
    fma fmax fmin fmod frexp hypot ldexp lgamma llrint llround log log10 log1p log2 logb lrint lround modf nearbyint
    nextafter pow remainder rint round roundeven scalbn sin sincos sinh sqrt tan tanh tgamma trunc
"""
# The C library, and the compiler's own support library: wide division; no function of float16 or bfloat16, in whose
# registers the two compilers may differ.
_SUPPORT = """
    memcpy memset memmove bzero memset_pattern16 __bzero _GLOBAL_OFFSET_TABLE_ .TOC. __chkstk ___chkstk_ms _fltused
    __aeabi_idiv __aeabi_uidiv __aeabi_idivmod __aeabi_uidivmod __aeabi_ldivmod __aeabi_uldivmod __aeabi_memcpy
    __aeabi_memset __aeabi_memmove __aeabi_memclr __aeabi_f2lz __aeabi_f2ulz __aeabi_d2lz __aeabi_d2ulz __aeabi_l2f
    __aeabi_ul2f __aeabi_l2d __aeabi_ul2d
    __divti3 __modti3 __udivti3 __umodti3
"""
_ALLOWED = frozenset([*_SUPPORT.split(), *UNWINDERS, *_LIBM.split(), *(f"{name}f" for name in _LIBM.split())])


@dataclass(frozen=True)
class ObjectJob:
    """Compiles a batch to an object file, in a folder that all processes see; `name` is the library's prefix."""

    batch: Batch
    name: str
    path: Path

    def __call__(self) -> None:
        """Lets LLVM compile the kernels, and writes the file.

        Raises:
            CompilerError: as `compile_object`; as `lower_kernel`, where the batch was lowered elsewhere.
        """
        target = self.batch.target
        linked = frozenset().union(*(unit.instructions().symbols for unit in target.units))
        compile_object(self.batch.lowered, target, self.name, self.path, linked=linked)


def compile_objects(
    kernels: LoweredKernels,
    name: str,
    folder: Path,
    *,
    workers: Workers | None = None,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> list[Path]:
    """Compiles kernels to object files in `folder`, one a batch, named by their position.

    Args:
        kernels: what to compile.
        name: prefix of the library.
        folder: where the files go.
        workers: processes that share the work; without them this one does it.
        progress: called with the kernels done and the kernels in all.

    Raises:
        CompilerError: a kernel cannot be compiled: of several the one in the first object.
        ToolError: a worker was killed.
    """
    jobs = [ObjectJob(batch, name, folder / f"kernels_{i:03d}.o") for i, batch in enumerate(kernels.batches)]
    run_batches(jobs, workers, progress)
    return [job.path for job in jobs]


def compile_object(
    kernels: Sequence[LoweredKernel], target: Target, name: str, path: Path, *, linked: Collection[str] = ()
) -> None:
    """Compiles kernels to one object file.

    Args:
        kernels: what to compile.
        target: the machine to generate code for.
        name: prefix of the library.
        path: the file to write.
        linked: functions that kernels may call because the library is linked with them.

    Raises:
        CompilerError: LLVM refused a kernel, or it calls what no library without TVM has; `where` names it.
    """
    try:
        _write_object(kernels, target, name, path, linked)
    except CompilerError:
        for kernel in kernels if len(kernels) > 1 else ():  # one by one, to name the one at fault
            _write_object([kernel], target, name, path, linked)
        raise


def _write_object(
    kernels: Sequence[LoweredKernel], target: Target, name: str, path: Path, linked: Collection[str]
) -> None:
    """Writes the object of kernels, checked; errors name them all."""
    where = ", ".join(f"kernel '{kernel.symbol}'" for kernel in kernels)
    with failing_in(where, "a kernel cannot be turned into machine code", writes_files=True):
        module = tvm.IRModule({kernel.symbol: kernel.function for kernel in kernels})
        tvm.get_global_func("target.build.llvm")(module, target.to_tvm()).write_to_file(str(path), "o")
        data = path.read_bytes()
        if symbols := _unexpected(data, target, {kernel.symbol for kernel in kernels}.union(linked)):
            raise CompilerError(
                "a kernel calls functions that a standalone library does not have", where=where, details=symbols
            )
        hidden = FORMATS[target.object_format].hidden(data)
        path.write_bytes(with_own_symbols(hidden, target.object_format, name))


def _unexpected(data: bytes, target: Target, known: Collection[str]) -> list[str]:
    """Symbols an object needs that nothing in a library without TVM defines; `known` are those of its own.

    TVM's runtime functions show as undefined symbols, or as variables ``__TVM...`` that its loader would fill.
    """
    return sorted(
        symbol.name
        for symbol in FORMATS[target.object_format].symbols(data)
        if symbol.name not in known
        and (not symbol.is_defined or symbol.name.startswith("__TVM"))
        and symbol.name not in _ALLOWED
        and symbol.name != TVM_LAUNCH
    )
