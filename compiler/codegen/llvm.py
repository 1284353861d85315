"""Lowered kernels -> an object file by LLVM, checked to need nothing of TVM."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

import tvm

from ...errors import CompilerError
from ...failures import failing_in
from ..library.elf import Elf, hide_symbols, rename_symbol
from ..lowering.lower import LoweredKernel

# The variable through which TVM's code generation reaches the thread pool. It is renamed after the library, so that
# two static libraries in one program keep their own pools; the new name must have the same length.
_LAUNCH = "__TVMBackendParallelLaunch"

_LIBM = """
    acos acosh asin asinh atan atan2 atanh cbrt ceil copysign cos cosh erf erfc exp exp10 exp2 expm1 fabs fdim floor
    fma fmax fmin fmod frexp hypot ldexp lgamma llrint llround log log10 log1p log2 logb lrint lround modf nearbyint
    nextafter pow remainder rint round roundeven scalbn sin sincos sinh sqrt tan tanh tgamma trunc
"""
# The C library, and the compiler's own support library: half precision, wide division.
_SUPPORT = """
    memcpy memset memmove _GLOBAL_OFFSET_TABLE_
    __truncsfhf2 __truncdfhf2 __extendhfsf2 __truncsfbf2 __truncdfbf2 __divti3 __modti3 __udivti3 __umodti3
"""
_ALLOWED = frozenset([*_SUPPORT.split(), *_LIBM.split(), *(f"{name}f" for name in _LIBM.split())])


def launch_symbol(name: str) -> str:
    """The name that `_LAUNCH` has in the library with this prefix."""
    digest = hashlib.sha256(name.encode()).hexdigest()
    return f"tw_launch_{digest}"[: len(_LAUNCH)]


def compile_object(
    kernels: Sequence[LoweredKernel], tvm_target: Any, name: str, path: Path, *, linked: Collection[str] = ()
) -> None:
    """Compiles kernels to one object file.

    Args:
        kernels: what to compile.
        tvm_target: the `tvm.target.Target` to generate code for.
        name: prefix of the library.
        path: the file to write.
        linked: functions that kernels may call because the library is linked with them.

    Raises:
        CompilerError: LLVM refused a kernel, or it calls what no library without TVM has; `where` names it.
    """
    try:
        data = _checked_object(kernels, tvm_target, path, linked)
    except CompilerError:
        for kernel in kernels if len(kernels) > 1 else ():  # one by one, to name the one at fault
            _checked_object([kernel], tvm_target, path, linked)
        raise
    path.write_bytes(hide_symbols(rename_symbol(data, _LAUNCH, launch_symbol(name))))


def _checked_object(kernels: Sequence[LoweredKernel], tvm_target: Any, path: Path, linked: Collection[str]) -> bytes:
    """The object of kernels; errors name them all."""
    where = ", ".join(f"kernel '{kernel.symbol}'" for kernel in kernels)
    with failing_in(where, "a kernel cannot be turned into machine code", writes_files=True):
        module = tvm.IRModule({kernel.symbol: kernel.function for kernel in kernels})
        tvm.get_global_func("target.build.llvm")(module, tvm_target).write_to_file(str(path), "o")
        data = path.read_bytes()
        if symbols := _unexpected(data, {kernel.symbol for kernel in kernels}.union(linked)):
            raise CompilerError(
                "a kernel calls functions that a standalone library does not have", where=where, details=symbols
            )
    return data


def _unexpected(data: bytes, known: Collection[str]) -> list[str]:
    """Symbols an object needs that nothing in a library without TVM defines; `known` are those of its own.

    TVM's runtime functions show as undefined symbols, or as variables ``__TVM...`` that its loader would fill.
    """
    return sorted(
        symbol.name
        for symbol in Elf(data).symbols()
        if symbol.is_global
        and symbol.name not in known
        and (not symbol.is_defined or symbol.name.startswith("__TVM"))
        and symbol.name not in _ALLOWED
        and symbol.name != _LAUNCH
    )
