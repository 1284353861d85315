"""Tilewright: the library it compiles, called through its C interface."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import tilewright
from tilewright.compiler.runners.local import prepared
from tilewright.errors import PrecisionWarning, UnsupportedError

from ..int8_model import int8_model
from ..not_available import NotAvailableError
from .engine import Array, Job, Session

LIBRARY = "model.so"


def build(job: Job) -> None:
    """Compile for this machine in float32."""
    _build(job, "fp32")


def build_bfloat16(job: Job) -> None:
    """Compile for this machine in bfloat16."""
    _build(job, "bf16")


def build_int8(job: Job) -> None:
    """Compile for this machine with the recipe that its QDQ model was written from."""
    _build(job, "fp32", int8_model(job.model).recipe)


def _build(job: Job, precision: str, recipe: Path | None = None) -> None:
    options: dict[str, Any] = {"threads": job.threads, "precision": precision, "recipe": recipe}
    with warnings.catch_warnings():
        warnings.simplefilter("error", PrecisionWarning)
        try:
            tilewright.compile(job.model, output=job.folder / LIBRARY, **options)
        except (UnsupportedError, PrecisionWarning) as error:
            raise NotAvailableError(str(error)) from error


def load(job: Job, inputs: Mapping[str, Array]) -> Session:
    """The library, on buffers made once."""
    library = tilewright.load(job.folder / LIBRARY)
    given = dict(inputs)
    return Session(lambda: list(library.run(given).values()), prepared(library, given))
