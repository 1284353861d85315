"""The engines that `benchmarks.cuda` measures on a GPU: a row for each and each precision, in the order of its tables.

A run is launched and waited for, with inputs and outputs in the memory of the GPU.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from types import MappingProxyType

from tilewright.errors import DeviceError
from tilewright.targets.cuda.driver import driver

from . import gpu_onnx, gpu_tilewright, gpu_torch
from .engine import FLOAT16, TF32, Engine

PRECISIONS = {"tf32": TF32, "fp16": FLOAT16}  # by the names that compiles have for them


def gpu_missing() -> str:
    """Why nothing runs on a GPU here, or an empty string."""
    try:
        driver()
    except DeviceError as error:
        return str(error).splitlines()[0]
    return ""


def _rows() -> list[Engine]:
    rows = []
    for name, precision in PRECISIONS.items():
        row = partial(_row, name, precision)
        rows += [
            row("tilewright-cuda", ("tilewright",), gpu_tilewright.load, ours=True),
            row("torch-cuda-eager", ("torch",), gpu_torch.load_eager),
            row("torch-cuda-graph", ("torch",), gpu_torch.load_graph),
            row("torch-cuda-compile", ("torch",), gpu_torch.load_compiled),
            row("tensorrt", ("tensorrt",), gpu_onnx.load_tensorrt),
        ]
    rows.append(_row("tf32", TF32, "onnxruntime-cuda", ("onnxruntime-gpu",), gpu_onnx.load_onnxruntime))
    return rows


def _row(
    precision_name: str,
    precision: str,
    name: str,
    packages: tuple[str, ...],
    load: gpu_torch.LoadIn,
    *,
    ours: bool = False,
) -> Engine:
    return Engine(
        f"{name}-{precision_name}",
        packages,
        partial(load, precision=precision_name),
        precision=precision,
        ours=ours,
        unavailable=gpu_missing,
    )


GPU_ENGINES: Mapping[str, Engine] = MappingProxyType({engine.name: engine for engine in _rows()})
