"""What a GPU is needed for afterwards: libraries, their inputs, what ONNX Runtime computes of them on this machine."""

from __future__ import annotations

import shutil
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from tilewright.compiler import build as compiler
from tilewright.compiler.inputs.input_ranges import integer_bounds
from tilewright.compiler.inputs.random_inputs import random_inputs
from tilewright.compiler.library.signature import Signature
from tilewright.compiler.measurement.device_peak import peak_code, unit_of_grids
from tilewright.compiler.options import CompileOptions
from tilewright.compiler.verification.reference_engines import OnnxRuntime
from tilewright.errors import UsageError
from tilewright.frontends import open as opened
from tilewright.targets.cuda.parse import TRIPLE

from ..engines.gpu_tilewright import library_of
from ..exporting import default_folder
from ..models import export, found

EXPECTED = ".expected.npz"
PEAK = ".peak.fatbin"

Array = np.ndarray[Any, Any]


def model_file(name: str) -> Path:
    """The ONNX file of a name: a path, or a model of ours, ``resnet50-b32`` for 32 images at a time.

    Raises:
        UsageError: there is none.
    """
    if name.endswith(".onnx"):
        return Path(name)
    spec = found(name)
    if spec is None:
        raise UsageError(f"there is no model {name!r}", hint="python -m benchmarks.models --list")
    return export(spec, default_folder())


def build(
    names: Sequence[str], precisions: Sequence[str], cpu: str, out: Path, *, with_onnx: bool, peaks: bool = True
) -> None:
    """Writes NAME.PRECISION.so and what measures its ceilings, NAME.npz of inputs, NAME.expected.npz, for each model.

    Args:
        with_onnx: whether the model is copied, too, for engines that read it.
        peaks: whether the ceilings are to be measured; they have code for the first architecture.

    Raises:
        TilewrightError: as `compile`.
    """
    out.mkdir(parents=True, exist_ok=True)
    for name in names:
        model = model_file(name)
        place = out / model.name
        inputs: Mapping[str, Array] | None = None
        for precision in precisions:
            start = time.perf_counter()
            library = library_of(place, precision)
            made = compiler.build(model, library, CompileOptions(target=TRIPLE, cpu=cpu, precision=precision))
            assert made.signature is not None
            print(f"{library.name}: built in {time.perf_counter() - start:.1f} s", flush=True)
            if peaks:
                code = peak_code(unit_of_grids(made.signature), cpu.split(",")[0])
                library.with_suffix(PEAK).write_bytes(code)
            inputs = inputs or _inputs(model, made.signature)
        assert inputs is not None
        np.savez(place.with_suffix(".npz"), **inputs)  # type: ignore[arg-type]  # numpy takes names
        engine = OnnxRuntime(model)
        results = engine.run({name: inputs[name] for name in engine.input_names})
        np.savez(place.with_suffix(EXPECTED), **results)  # type: ignore[arg-type]  # numpy takes names
        if with_onnx:
            shutil.copy(model, place)


def _inputs(model: Path, signature: Signature) -> dict[str, Array]:
    kept = model.with_suffix(".npz")
    if not kept.exists():
        return random_inputs(signature.inputs, 0, integer_bounds(opened(model)))
    with np.load(kept) as values:
        return dict(values)
