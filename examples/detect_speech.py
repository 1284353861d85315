"""Detects speech with silero-vad's models, the state carried over: `python examples/detect_speech.py`.

Needs onnxruntime, to compare with, and the models: `pip install --no-deps silero-vad`, or a folder that holds its .onnx
files and is named by TILEWRIGHT_SILERO. All six models of the package are compiled; 100 steps of made-up audio go
through each and through ONNX Runtime, each with the state that it made itself; and a step is timed, one thread each.
"""

from __future__ import annotations

import importlib.util
import os
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import tilewright

Arrays: TypeAlias = Mapping[str, Any]

STEPS = 100
_WINDOW, _HOP = 576, 512  # samples: of a step, and from step to step


@dataclass(frozen=True)
class Detector:
    """A model of the package.

    Attributes:
        file: its name.
        states: inputs that hold the state, with their shapes, and the outputs that hold the next one.
        rows: steps that the model takes at once.
        rate: whether it takes the sample rate; `bound`: as a constant, which decides what it computes.
    """

    file: str
    states: Mapping[str, tuple[str, tuple[int, ...]]] = field(
        default_factory=lambda: {"state": ("stateN", (2, 1, 128))}
    )
    rows: int = 1
    rate: bool = False
    bound: bool = False

    def options(self) -> dict[str, Any]:
        """What `tilewright.compile` is told."""
        shapes = {"input": (self.rows, _WINDOW), **{name: shape for name, (_, shape) in self.states.items()}}
        return {"shapes": shapes, "bindings": {"sr": np.asarray(16000)} if self.bound else {}, "threads": 1}

    def inputs(self, step: int, outputs: Arrays | None) -> dict[str, Any]:
        """Audio, the state that the step before left, and the sample rate."""
        windows = [_AUDIO[(step * self.rows + row) * _HOP :][:_WINDOW] for row in range(self.rows)]
        given: dict[str, Any] = {"input": np.stack(windows)}
        for name, (following, shape) in self.states.items():
            given[name] = np.zeros(shape, np.float32) if outputs is None else outputs[following]
        if self.rate or self.bound:
            given["sr"] = np.asarray(16000)
        return given


def _audio() -> Any:
    """A tone that swells, and noise."""
    samples = np.arange((STEPS * 10 + 2) * _HOP)
    noise = np.random.default_rng(0).standard_normal(len(samples))
    return (0.5 * np.sin(0.05 * samples) * np.sin(0.0007 * samples) + 0.05 * noise).astype(np.float32)


_AUDIO = _audio()
DETECTORS = (
    Detector("silero_vad.onnx", bound=True),
    Detector("silero_vad_16k_op15.onnx", rate=True),
    Detector("silero_vad_16k_sequence.onnx", {"h": ("hn", (1, 1, 128)), "c": ("cn", (1, 1, 128))}, rows=10),
    Detector("silero_vad_half.onnx"),
    Detector("silero_vad_op18_ifless.onnx", rate=True),
    Detector("silero_vad_openvino_16k.onnx"),
)


def models_folder() -> Path | None:
    """Where the package's models are, if it is installed."""
    named = os.environ.get("TILEWRIGHT_SILERO")
    if named:
        return Path(named)
    package = importlib.util.find_spec("silero_vad")  # which it does not import: that needs PyTorch
    return Path(next(iter(package.submodule_search_locations or [""]))) / "data" if package else None


def steps(detector: Detector, run: Callable[[Arrays], Arrays], count: int = STEPS) -> list[Arrays]:
    """The outputs of so many steps, each with the state of the one before."""
    found: list[Arrays] = []
    for step in range(count):
        found.append(run(detector.inputs(step, found[-1] if found else None)))
    return found


def reference(path: Path) -> Callable[[Arrays], Arrays]:
    """ONNX Runtime with one thread."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.log_severity_level = 1, 3
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    return lambda inputs: dict(zip(names, session.run(None, dict(inputs)), strict=True))


def compiled(detector: Detector, path: Path) -> Callable[[Arrays], Arrays]:
    """The model as a library of ours."""
    model = tilewright.compile(path, **detector.options())
    known = {spec.name for spec in model.inputs}
    return lambda inputs: model.run({name: value for name, value in inputs.items() if name in known})


def difference(ours: Sequence[Arrays], theirs: Sequence[Arrays]) -> float:
    """The largest difference of an output over its largest value in all steps."""
    worst = 0.0
    for name in theirs[0]:
        one, other = (np.stack([outputs[name] for outputs in each]) for each in (ours, theirs))
        worst = max(worst, float(np.abs(one - other).max() / np.abs(other).max()))
    return worst


def fastest(run: Callable[[Arrays], Arrays], inputs: Arrays, rounds: int = 300) -> float:
    """Seconds of the fastest of some runs."""
    times = []
    for _ in range(rounds):
        start = time.perf_counter()
        run(inputs)
        times.append(time.perf_counter() - start)
    return min(times)


def main() -> int:
    """Prints a line for each model."""
    folder = models_folder()
    if folder is None:
        print("silero-vad's models are missing: pip install --no-deps silero-vad", file=sys.stderr)
        return 1
    for detector in DETECTORS:
        path = folder / detector.file
        ours, theirs = compiled(detector, path), reference(path)
        apart = difference(steps(detector, ours), steps(detector, theirs))
        inputs = detector.inputs(0, None)
        microseconds = [1e6 * min(fastest(run, inputs) for _ in range(3)) for run in (ours, theirs)]
        print(
            f"{detector.file:32} {microseconds[0]:6.0f} us, ONNX Runtime {microseconds[1]:6.0f} us: "
            f"{microseconds[0] / microseconds[1]:.2f}; after {STEPS} steps {apart:.1e} apart"
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())
