"""Runs a library with every tensor and the workspace between pages that no one may touch.

    python guarded_run.py LIBRARY [SHORT]

Twice: each block right before a forbidden page, then right after one. A touch ends the process with SIGSEGV. The
outputs must be the bits of an ordinary run. With SHORT the workspace is said to start that many bytes late, to prove
that the guards work.
"""

from __future__ import annotations

import ctypes
import mmap
import sys

import numpy as np
from tilewright.compiler.library.artifact import load

libc = ctypes.CDLL(None, use_errno=True)
libc.mmap.restype = ctypes.c_void_p
libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int, ctypes.c_int, ctypes.c_int, ctypes.c_long]
libc.mprotect.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
PAGE = mmap.PAGESIZE
PROT_NONE = 0


def guarded(size: int, *, at_end: bool) -> int:
    """The address of `size` bytes of ones that end (or start) where a forbidden page starts (or ends)."""
    pages = -(-size // PAGE) * PAGE
    base = libc.mmap(None, pages + 2 * PAGE, mmap.PROT_READ | mmap.PROT_WRITE, mmap.MAP_PRIVATE | mmap.MAP_ANON, -1, 0)
    assert base not in (None, ctypes.c_void_p(-1).value)
    for page in (base, base + PAGE + pages):
        assert libc.mprotect(page, PAGE, PROT_NONE) == 0
    address: int = base + PAGE + (pages - size if at_end else 0)
    ctypes.memset(address, 0xFF, size)
    return address


def main() -> None:
    model = load(sys.argv[1])
    short = int(sys.argv[2]) if len(sys.argv) > 2 else 0
    generator = np.random.default_rng(0)
    inputs = {
        spec.name: (
            generator.standard_normal(spec.shape).astype(spec.dtype)
            if spec.dtype.startswith("float")
            else generator.integers(0, 2, spec.shape).astype(spec.dtype)
        )
        for spec in model.inputs
    }
    expected = model.run(inputs)
    run = getattr(ctypes.CDLL(sys.argv[1]), f"{model.signature.name}_run")
    for at_end in (True, False):
        ins = [guarded(spec.nbytes, at_end=at_end) for spec in model.inputs]
        outs = [guarded(spec.nbytes, at_end=at_end) for spec in model.outputs]
        workspace = guarded(model.workspace_bytes, at_end=at_end)
        for address, spec in zip(ins, model.inputs, strict=True):
            ctypes.memmove(address, inputs[spec.name].ctypes.data, spec.nbytes)
        pointers = [(ctypes.c_void_p * max(1, len(group)))(*group) for group in (ins, outs)]
        assert run(*pointers, ctypes.c_void_p(workspace + short)) == 0
        for address, spec in zip(outs, model.outputs, strict=True):
            assert ctypes.string_at(address, spec.nbytes) == expected[spec.name].tobytes(), spec.name
    print("untouched")


if __name__ == "__main__":
    main()
