"""What one library does on a GPU, in a process of its own: how it is launched, and each kernel under the roofline.

python -m benchmarks.cuda.details LIBRARY.so SECONDS     one object of JSON
"""

from __future__ import annotations

import json
import statistics
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import tilewright
from tilewright.compiler.library.device_tensor import DeviceTensor
from tilewright.compiler.measurement.bench import work_of
from tilewright.compiler.measurement.device_peak import measured_device_peak, unit_of_grids
from tilewright.compiler.measurement.roofline import make_roofline
from tilewright.compiler.runners.local import time_runs
from tilewright.targets.cuda.driver import driver

from .building import PEAK

_IN_A_ROW = 20  # runs that are launched behind each other
_PROFILES = 10  # of all kernels
_SLOWEST = 12  # kernels that are told of


def details(path: Path, seconds: float) -> dict[str, Any]:
    """Milliseconds of a run from the memory of the machine, and of many in a row on the GPU; its slowest kernels.

    Args:
        seconds: that each way to run is timed for.
    """
    library, gpu = tilewright.load(path), driver()
    gpu.use()
    with np.load(path.with_suffix("").with_suffix(".npz")) as values:
        inputs = dict(values)
    stream = gpu.stream()
    given = {name: DeviceTensor.of(value) for name, value in inputs.items()}
    results = library.run_async(given, stream=stream)

    def in_a_row() -> None:
        for _ in range(_IN_A_ROW):
            library.run_async(given, results, stream=stream)
        gpu.wait(stream)

    in_a_row()
    found = {
        "host_ms": min(time_runs(lambda: library.run(inputs), 3, seconds)) * 1e3,
        "in_a_row_ms": statistics.median(time_runs(in_a_row, 3, seconds)) / _IN_A_ROW * 1e3,
    }
    code = path.with_suffix(PEAK)
    if code.exists():
        times = np.median([library.profile(inputs) for _ in range(_PROFILES + 1)][1:], axis=0) / 1e9
        peak = measured_device_peak(unit_of_grids(library.signature), code.read_bytes())
        roofline = make_roofline(zip(work_of(library.signature), times.tolist(), strict=True), peak).to_json()
        found |= {**roofline, "kernels": roofline["kernels"][:_SLOWEST]}
    return found


def main(arguments: list[str]) -> int:
    """Prints the object; returns the exit code."""
    path, seconds = arguments
    started = time.perf_counter()
    found = details(Path(path), float(seconds))
    print(json.dumps({**found, "took_seconds": time.perf_counter() - started}))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
