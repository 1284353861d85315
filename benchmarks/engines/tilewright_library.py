"""Tilewright: the library it compiles, called through its C interface."""

from __future__ import annotations

import warnings
from collections.abc import Mapping

import tilewright
from tilewright.compiler.runners.local import prepared
from tilewright.errors import PrecisionWarning, UnsupportedError

from .engine import Array, Job, NotAvailableError, Session

LIBRARY = "model.so"


def build(job: Job) -> None:
    """Compile for this machine in float32."""
    _build(job, "fp32")


def build_bfloat16(job: Job) -> None:
    """Compile for this machine in bfloat16."""
    _build(job, "bf16")


def _build(job: Job, precision: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error", PrecisionWarning)
        try:
            tilewright.compile(job.model, output=job.folder / LIBRARY, threads=job.threads, precision=precision)
        except (UnsupportedError, PrecisionWarning) as error:
            raise NotAvailableError(str(error)) from error


def load(job: Job, inputs: Mapping[str, Array]) -> Session:
    """The library, on buffers made once."""
    library = tilewright.load(job.folder / LIBRARY)
    given = dict(inputs)
    return Session(lambda: list(library.run(given).values()), prepared(library, given))
