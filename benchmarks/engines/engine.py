"""What an engine is to the benchmark: a row of `benchmarks.engines.ENGINES`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
from tilewright.compiler.precision import RTOL_OF_PRECISION

Array = np.ndarray[Any, Any]

FLOAT32 = "float32"
TF32 = "tf32"
FLOAT16 = "float16"
BFLOAT16 = "bfloat16"
INT8 = "int8"

# What results are held to: of floats what `verify` holds them to. Integers of random weights, of which nothing is
# alike, are far from floats in deep networks; an unrelated result differs by about 1.
_TOLERANCES: Mapping[str, float] = {
    FLOAT32: RTOL_OF_PRECISION["fp32"],
    TF32: RTOL_OF_PRECISION["tf32"],
    FLOAT16: RTOL_OF_PRECISION["fp16"],
    BFLOAT16: RTOL_OF_PRECISION["bf16"],
    INT8: 0.5,
}


@dataclass(frozen=True)
class Job:
    """One engine with one model.

    Attributes:
        model: the ONNX file.
        inputs: NAME.npz, inputs by name in the model's order.
        folder: an empty folder, where `Engine.build` puts what `Engine.load` loads.
        threads: threads to run with; the process is bound to as many processors.
    """

    model: Path
    inputs: Path
    folder: Path
    threads: int


@dataclass(frozen=True)
class Session:
    """A model loaded, with its inputs.

    Attributes:
        outputs: runs once and returns the outputs, in the model's order.
        run: runs once with the least overhead that the engine allows.
    """

    outputs: Callable[[], Sequence[Array]]
    run: Callable[[], object]


@dataclass(frozen=True)
class Engine:
    """One engine. Its functions run in a process of their own and import the engine's packages there.

    Attributes:
        name: in the options, the records and the tables.
        packages: distributions that it needs; the version of the first is the engine's.
        load: a session for the model and inputs by name, in the model's order. Raises NotAvailableError if the engine
            cannot take the model; any other exception is a failure.
        build: compiles or converts the model beforehand, in another process than the one that is timed.
        precision: what it computes in: FLOAT32, ..., INT8. Only engines of one precision are compared.
        ours: it is Tilewright.
        unavailable: why this machine cannot run it, though its packages are installed; empty if it can.
    """

    name: str
    packages: tuple[str, ...]
    load: Callable[[Job, Mapping[str, Array]], Session]
    build: Callable[[Job], None] | None = None
    precision: str = FLOAT32
    ours: bool = False
    unavailable: Callable[[], str] = str

    @property
    def tolerance(self) -> float:
        """The largest difference from the reference, over its largest |value|, that its precision explains."""
        return _TOLERANCES[self.precision]

    @property
    def version(self) -> str:
        """The installed version, or an empty string."""
        try:
            return metadata.version(self.packages[0]).partition("+")[0]
        except metadata.PackageNotFoundError:
            return ""

    def why_unavailable(self) -> str:
        """Why it cannot run here at all, or an empty string. Loads nothing."""
        missing = []
        for package in self.packages:
            try:
                metadata.version(package)
            except metadata.PackageNotFoundError:
                missing.append(package)
        return f"not installed: pip install {' '.join(missing)}" if missing else self.unavailable()
