"""Folders of C sources, built by the machine's own compiler without a warning, and called."""

from __future__ import annotations

import ctypes
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from tilewright.compiler.library.plan import Plan
from tilewright.dtypes import numpy_dtype

WARNINGS = "-Wall -Wextra -Werror -Wdouble-promotion -pedantic"

Array = np.ndarray[Any, Any]


def built(folder: Path, name: str, *variables: str) -> Path:
    """The shared library of a folder of sources, with other values of the Makefile's variables."""
    command = ["make", "-s", "shared", f"CFLAGS=-O1 {WARNINGS}", *variables]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return folder / f"lib{name}.so"


def called(library: Path, plan: Plan, inputs: Sequence[Array]) -> list[Array]:
    """What a library gives for inputs."""
    outputs = [np.zeros(spec.shape, numpy_dtype(spec.dtype)) for spec in plan.outputs]
    run = getattr(ctypes.CDLL(str(library)), f"{plan.name}_run")
    run.restype = None
    run(*(array.ctypes.data_as(ctypes.c_void_p) for array in (*map(np.ascontiguousarray, inputs), *outputs)))
    return outputs


def example_inputs(plan: Plan) -> list[Array]:
    """Normal numbers, small integers, and truths."""
    generator = np.random.default_rng(7)
    made: list[Array] = []
    for spec in plan.inputs:
        dtype = np.dtype(spec.dtype)
        if dtype.kind == "f":
            made.append(generator.standard_normal(spec.shape).astype(dtype))
        else:
            made.append(generator.integers(0, 2 if dtype.kind == "b" else 9, spec.shape).astype(dtype))
    return made
