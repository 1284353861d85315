"""LiteRT (TensorFlow Lite) with XNNPACK: the PyTorch module, converted by litert-torch.

litert-torch and TVM need different versions of the same packages, so the converter has an environment of its own,
which `make litert` creates: the interpreter that TILEWRIGHT_LITERT_PYTHON names, by default `.venv-litert`.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..not_available import NotAvailableError
from .engine import Array, Job, Session

PYTHON_VARIABLE = "TILEWRIGHT_LITERT_PYTHON"
ROOT = Path(__file__).resolve().parents[2]
MODEL = "model.tflite"
_NO_SOURCE = 3  # exit code of benchmarks.convert_litert


def _converter_python() -> Path:
    return Path(os.environ.get(PYTHON_VARIABLE) or f"{sys.prefix}-litert/bin/python")


def converter_missing() -> str:
    """Why nothing can be converted, or an empty string."""
    python = _converter_python()
    return "" if python.exists() else f"no converter: make litert, or set {PYTHON_VARIABLE} ({python} does not exist)"


def build(job: Job) -> None:
    """Convert the module to a .tflite file."""
    done = subprocess.run(
        [_converter_python(), "-m", "benchmarks.convert_litert", job.model.stem, job.inputs, job.folder / MODEL],
        capture_output=True,
        text=True,
        cwd=ROOT,
    )
    if done.returncode:
        reason = (done.stderr.strip().splitlines() or [f"the converter ended with {done.returncode}"])[-1]
        raise NotAvailableError(reason if done.returncode == _NO_SOURCE else f"cannot be converted: {reason}")


def _by_number(details: list[dict[str, Any]], kind: str) -> list[dict[str, Any]]:
    """Tensors in the module's order: the converter names them ..._args_0, ..._output_1_output."""

    def number(detail: dict[str, Any]) -> int:
        found = re.search(rf"{kind}_(\d+)", detail["name"])
        return int(found[1]) if found else 0

    return sorted(details, key=number)


def load(job: Job, inputs: Mapping[str, Array]) -> Session:
    """The interpreter, which hands what it can to XNNPACK."""
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(str(job.folder / MODEL), num_threads=job.threads)
    interpreter.allocate_tensors()
    for detail, value in zip(_by_number(interpreter.get_input_details(), "args"), inputs.values(), strict=True):
        interpreter.set_tensor(detail["index"], value.astype(detail["dtype"]))  # it takes token ids as int32
    results = [detail["index"] for detail in _by_number(interpreter.get_output_details(), "output")]

    def outputs() -> list[Array]:
        interpreter.invoke()
        return [interpreter.get_tensor(index) for index in results]

    return Session(outputs, interpreter.invoke)
