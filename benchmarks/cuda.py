"""Libraries for NVIDIA's GPUs, built beforehand and measured in one short call where a GPU is.

    python -m benchmarks.cuda build --mcpu sm_90a --out build/cuda build/models/resnet50.onnx ...   needs nvcc, no GPU
    python -m benchmarks.cuda run build/cuda --json build/cuda.json                                 needs a GPU alone

`build` writes for each model a library, its inputs, and the outputs of ONNX Runtime on this machine. `run` compares,
and times each library with tensors in the memory of the machine and in that of the GPU, launched one by one and behind
each other, and its kernels. All of it takes a few seconds a model.

Exit codes: 0 done; 1 a library computes something else; 2 wrong usage; 5 there is no GPU.
"""

from __future__ import annotations

import argparse
import ctypes
import json
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from tilewright.compiler.library.artifact import CompiledModel, load
from tilewright.errors import EXIT_TOOL_FAILED, DeviceError

TOLERANCE = 1e-4  # of float32, of the largest value
_SECONDS = 1.0  # that a way to run is timed for at least
_SLOWEST = 10  # kernels of a model that are shown

Array = np.ndarray[Any, Any]


class Gpu:
    """The driver, for memory and streams of this program's own."""

    def __init__(self) -> None:
        """Makes the first GPU's context this thread's.

        Raises:
            DeviceError: there is no driver, or no GPU.
        """
        try:
            self.driver = ctypes.CDLL("libcuda.so.1")
        except OSError as error:
            raise DeviceError("there is no NVIDIA driver on this machine", details=[str(error)]) from error
        context, self.stream, device = ctypes.c_void_p(), ctypes.c_void_p(), ctypes.c_int()
        self.call("cuInit", 0)
        self.call("cuDeviceGet", ctypes.byref(device), 0)
        self.call("cuDevicePrimaryCtxRetain", ctypes.byref(context), device)
        self.call("cuCtxPushCurrent_v2", context)
        self.call("cuStreamCreate", ctypes.byref(self.stream), 1)
        name = ctypes.create_string_buffer(128)
        self.call("cuDeviceGetName", name, 128, device)
        self.name = name.value.decode()

    def call(self, function: str, *arguments: Any) -> None:
        """Calls the driver.

        Raises:
            DeviceError: it failed.
        """
        status = getattr(self.driver, function)(*arguments)
        if status:
            raise DeviceError(f"{function} failed with error {status}")

    def memory(self, array: Array) -> int:
        """A copy of an array in the memory of the GPU."""
        address = ctypes.c_uint64()
        self.call("cuMemAlloc_v2", ctypes.byref(address), ctypes.c_size_t(max(array.nbytes, 1)))
        self.call("cuMemcpyHtoD_v2", address, ctypes.c_void_p(array.ctypes.data), ctypes.c_size_t(array.nbytes))
        return address.value

    def wait(self) -> None:
        """Until everything in the stream is done."""
        self.call("cuStreamSynchronize", self.stream)


def build(models: Sequence[Path], cpu: str, out: Path) -> None:
    """Writes NAME.so, NAME.inputs.npz and NAME.expected.npz for each model."""
    import onnxruntime
    from tilewright.compiler import build as compiler
    from tilewright.compiler.inputs.input_ranges import integer_bounds
    from tilewright.compiler.inputs.random_inputs import random_inputs
    from tilewright.compiler.options import CompileOptions
    from tilewright.frontends import open as opened

    out.mkdir(parents=True, exist_ok=True)
    for path in models:
        options = CompileOptions(target="nvptx64-nvidia-cuda", cpu=cpu)
        start = time.perf_counter()
        made = compiler.build(path, out / f"{path.stem}.so", options)
        assert made.signature is not None
        kept = path.with_suffix(".npz")
        inputs = (
            dict(np.load(kept))
            if kept.exists()
            else random_inputs(made.signature.inputs, 0, integer_bounds(opened(path)))
        )
        session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
        names = [each.name for each in session.get_outputs()]
        np.savez(out / f"{path.stem}.inputs.npz", **inputs)
        np.savez(out / f"{path.stem}.expected.npz", **dict(zip(names, session.run(names, inputs), strict=True)))
        print(f"{path.stem}: built in {time.perf_counter() - start:.1f} s", flush=True)


def run(folder: Path, gpu: Gpu, seconds: float = _SECONDS) -> dict[str, Any]:
    """Measures every library of a folder."""
    rows = {}
    for path in sorted(folder.glob("*.so")):
        rows[path.stem] = row = measured(path, gpu, seconds)
        print(path.stem, json.dumps({key: value for key, value in row.items() if key != "kernels"}), flush=True)
    return {"gpu": gpu.name, "models": rows}


def measured(path: Path, gpu: Gpu, seconds: float) -> dict[str, Any]:
    """Times of one library in milliseconds, and how far it is from ONNX Runtime's results on a processor."""
    library = load(path)
    inputs, expected = (dict(np.load(path.with_suffix(f".{part}.npz"))) for part in ("inputs", "expected"))
    actual = library.run(inputs)
    row: dict[str, Any] = {"error": max(_error(actual[name], expected[name]) for name in expected)}
    row["host_ms"] = _fastest(lambda: library.run(inputs), seconds)
    launch = launcher(library, inputs, gpu)

    def alone() -> None:
        launch()
        gpu.wait()

    row["alone_ms"] = _fastest(alone, seconds)
    start, count = time.perf_counter(), 0
    while time.perf_counter() - start < seconds:
        for _ in range(20):
            launch()
        gpu.wait()
        count += 20
    row["in_a_row_ms"] = (time.perf_counter() - start) / count * 1e3
    times = np.min([library.profile(inputs) for _ in range(5)], axis=0) / 1e6
    slowest = sorted(zip(times, library.signature.steps, strict=True), key=lambda each: -each[0])[:_SLOWEST]
    row["kernels_ms"] = float(times.sum())
    row["kernels"] = [[round(float(taken), 5), "+".join(step.sources)] for taken, step in slowest]
    return row


def launcher(library: CompiledModel, inputs: Mapping[str, Array], gpu: Gpu) -> Callable[[], None]:
    """Launches a run with tensors in the memory of the GPU."""
    signature = library.signature
    sources = [gpu.memory(np.ascontiguousarray(inputs[spec.name])) for spec in signature.inputs]
    results = [gpu.memory(np.zeros(max(spec.nbytes, 1), np.uint8)) for spec in signature.outputs]
    pointers = [(ctypes.c_void_p * max(1, len(group)))(*group) for group in (sources, results)]
    run_async = library.c_async_function

    def launch() -> None:
        status = run_async(*pointers, None, gpu.stream)
        if status:
            raise DeviceError(f"a run failed with code {status}")

    return launch


def _error(actual: Array, expected: Array) -> float:
    if actual.dtype.kind != "f":
        return float((actual != expected).any())
    scale = float(np.abs(expected).max()) or 1.0
    return float(np.abs(actual.astype(np.float64) - expected).max()) / scale


def _fastest(call: Callable[[], object], seconds: float) -> float:
    """The fastest of many in milliseconds."""
    call()
    times: list[float] = []
    end = time.perf_counter() + seconds
    while time.perf_counter() < end or len(times) < 3:
        start = time.perf_counter()
        call()
        times.append(time.perf_counter() - start)
    return min(times) * 1e3


def main(arguments: Sequence[str] | None = None) -> int:
    """Builds or runs."""
    parser = argparse.ArgumentParser(prog="benchmarks.cuda", description=__doc__.splitlines()[0])
    commands = parser.add_subparsers(dest="command", required=True)
    builder, runner = commands.add_parser("build"), commands.add_parser("run")
    builder.add_argument("models", nargs="+", type=Path)
    builder.add_argument("--mcpu", default="sm_90a")
    builder.add_argument("--out", type=Path, default=Path("build/cuda"))
    runner.add_argument("folder", type=Path)
    runner.add_argument("--json", type=Path)
    runner.add_argument("--seconds", type=float, default=_SECONDS)
    asked = parser.parse_args(arguments)
    if asked.command == "build":
        build(asked.models, asked.mcpu, asked.out)
        return 0
    try:
        found = run(asked.folder, Gpu(), asked.seconds)
    except DeviceError as error:
        print(error, file=sys.stderr)
        return EXIT_TOOL_FAILED
    if asked.json is not None:
        asked.json.write_text(json.dumps(found, indent=1) + "\n")
    return 0 if all(row["error"] <= TOLERANCE for row in found["models"].values()) else 1


if __name__ == "__main__":
    sys.exit(main())
