"""Tilewright's libraries against other engines, on the same models in one run: `python -m benchmarks.compare resnet50`.

Machines are noisy and change their clock, so engines take turns: each is loaded in its own process, bound to the same
processors, and in every round each runs for a moment while the others wait. What is compared is the median over rounds
of the ratio within a round. Outputs are held to ONNX Runtime's. Results are written after every model (JSON, and a
Markdown table beside it); what the file holds already is not measured again unless --fresh is given, so that a run that
was stopped goes on where it stopped.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from .engine import ENGINES, TILEWRIGHT
from .models import MODELS, default_folder, export

REFERENCE = "onnxruntime"
TOLERANCE = 1e-4  # of the largest |reference|: both are float32
ROOT = Path(__file__).resolve().parents[1]

Array = np.ndarray[Any, Any]

_COMPILE = """
import sys, tilewright
try:
    tilewright.compile(sys.argv[1], output=sys.argv[2], threads=int(sys.argv[3]))
except tilewright.errors.TilewrightError as error:
    sys.exit(f"error: {error}")
"""


@dataclass(frozen=True)
class Measurement:
    """One engine on one model with one number of threads.

    Attributes:
        median_ms: median over rounds of the round's median run.
        fastest_ms, slowest_ms: the extreme rounds' medians: the spread.
        ratio: median over rounds of this engine's time to the reference's in the same round; None without reference.
        error: largest |difference| from the reference's outputs over the largest |reference|.
        load_seconds: until the model was loaded; of Tilewright loading the library, not compiling.
        compile_seconds: of Tilewright alone.
        problem: why there are no numbers, or why they do not count; empty if all is well.
    """

    model: str
    threads: int
    engine: str
    version: str = ""
    median_ms: float = 0.0
    fastest_ms: float = 0.0
    slowest_ms: float = 0.0
    ratio: float | None = None
    error: float | None = None
    runs: int = 0
    load_seconds: float = 0.0
    compile_seconds: float = 0.0
    problem: str = ""


class EngineProcess:
    """An engine's process (see `benchmarks.engine`), loaded and waiting."""

    def __init__(self, engine: str, model: Path, inputs: Path, outputs: Path, processors: Sequence[int]) -> None:
        self.outputs = outputs
        self._errors = tempfile.TemporaryFile("w+")  # noqa: SIM115  # closed by close(), as long-lived as the process
        bound = ",".join(map(str, processors))
        self._process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.engine", engine, str(model), str(inputs), str(outputs), bound],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            text=True,
            cwd=ROOT,
        )
        try:
            self.ready: dict[str, Any] = self._answer()
        except BaseException:
            self.close()
            raise

    def run(self, seconds: float) -> list[float]:
        """Seconds of each run within about `seconds`. Raises RuntimeError if the process ends instead."""
        assert self._process.stdin is not None
        self._process.stdin.write(f"{seconds}\n")
        self._process.stdin.flush()
        times: list[float] = self._answer()
        return times

    def close(self) -> None:
        """End the process."""
        if self._process.stdin is not None:
            with contextlib.suppress(BrokenPipeError):
                self._process.stdin.close()
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        if self._process.stdout is not None:
            self._process.stdout.close()
        self._errors.close()

    def _answer(self) -> Any:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            self._process.wait()
            self._errors.seek(0)
            lines = self._errors.read().strip().splitlines() or [f"ended with {self._process.returncode}"]
            raise RuntimeError(" ".join(line.strip() for line in lines[-4:])[-400:])
        return json.loads(line)


def compile_library(model: Path, folder: Path, threads: int) -> tuple[Path, float]:
    """The library of `model`, compiled in a process of its own, and the seconds that took.

    Raises: RuntimeError with the compiler's message.
    """
    library = folder / f"{model.stem}-{threads}t.so"
    start = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-c", _COMPILE, str(model), str(library), str(threads)],
        capture_output=True,
        text=True,
        cwd=ROOT,
    )
    if done.returncode != 0:
        raise RuntimeError(f"compiling: {' '.join(done.stderr.strip().splitlines()[-4:])[-400:]}")
    return library, time.perf_counter() - start


def largest_error(actual: Path, reference: Path) -> float:
    """The largest |difference| of all outputs over the largest |reference| of the same output; NaN stays NaN."""
    worst = 0.0
    with np.load(actual) as results, np.load(reference) as references:
        for name in references.files:
            expected, got = references[name].astype(np.float64), results[name].astype(np.float64)
            error = float(np.abs(got - expected).max() / max(float(np.abs(expected).max()), 1e-30))
            worst = error if error != error else max(worst, error)
    return worst


def measure(
    model: Path, engines: Sequence[str], processors: Sequence[int], rounds: int, seconds: float
) -> list[Measurement]:
    """Every engine on one model, in turns.

    Args:
        model: ONNX file; NAME.npz beside it holds the inputs.
        engines: of `benchmarks.engine.ENGINES`; ratios and errors need the REFERENCE among them.
        processors: what each engine is bound to; their number is the number of threads.
        rounds: turns of each engine, after one to warm up.
        seconds: of a turn.
    """
    threads = len(processors)
    failed: dict[str, Measurement] = {}
    opened: dict[str, EngineProcess] = {}
    compile_seconds = 0.0
    with tempfile.TemporaryDirectory(prefix="tilewright-bench-") as temporary, contextlib.ExitStack() as stack:
        folder = Path(temporary)
        for engine in engines:
            try:
                source = model
                if engine == TILEWRIGHT:
                    source, compile_seconds = compile_library(model, folder, threads)
                opened[engine] = EngineProcess(
                    engine, source, model.with_suffix(".npz"), folder / f"{engine}.npz", processors
                )
                stack.callback(opened[engine].close)
            except RuntimeError as failure:
                failed[engine] = Measurement(model.stem, threads, engine, problem=str(failure))
        for process in opened.values():
            process.run(seconds / 2)
        turns: dict[str, list[list[float]]] = {engine: [] for engine in opened}
        for number in range(rounds if opened else 0):
            order = list(opened)
            for engine in order[number % len(order) :] + order[: number % len(order)]:  # nobody is always first
                turns[engine].append(opened[engine].run(seconds))
        results = []
        for engine in engines:
            if engine in failed:
                results.append(failed[engine])
                continue
            medians = [statistics.median(turn) for turn in turns[engine]]
            ratio = error = None
            if REFERENCE in opened:
                references = [statistics.median(turn) for turn in turns[REFERENCE]]
                ratio = statistics.median(own / other for own, other in zip(medians, references, strict=True))
                error = largest_error(opened[engine].outputs, opened[REFERENCE].outputs)
            results.append(
                Measurement(
                    model.stem,
                    threads,
                    engine,
                    opened[engine].ready["version"],
                    statistics.median(medians) * 1e3,
                    min(medians) * 1e3,
                    max(medians) * 1e3,
                    ratio,
                    error,
                    sum(map(len, turns[engine])),
                    opened[engine].ready["load_seconds"],
                    compile_seconds if engine == TILEWRIGHT else 0.0,
                    "" if error is None or error <= TOLERANCE else f"differs from {REFERENCE} by {error:.1e}",
                )
            )
    return results


def describe_machine() -> dict[str, str]:
    """What a reader of the numbers has to know of where they were measured."""
    model = platform.processor()
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                model = line.partition(":")[2].strip()
                break
    return {"cpu": model, "cores": str(len(os.sched_getaffinity(0))), "system": platform.platform()}


def markdown(machine: Mapping[str, str], measurements: Sequence[Measurement], command: str) -> str:
    """A table for people: a row a model and number of threads, a column an engine, and the ratio to the reference."""
    engines = [engine for engine in ENGINES if any(each.engine == engine for each in measurements)]
    found = {(each.model, each.threads, each.engine): each for each in measurements}
    rows = list(dict.fromkeys((each.model, each.threads) for each in measurements))
    lines = [
        f"{machine['cpu']}, {machine['cores']} cores. Median ms (slowest - fastest round), batch as in the model.",
        f"Printed by `{command}`.",
        "",
        f"| model | threads | {' | '.join(engines)} | {TILEWRIGHT} / {REFERENCE} | largest error |",
        "|" + "---|" * (len(engines) + 4),
    ]
    for model, threads in rows:
        cells = []
        for engine in engines:
            each = found.get((model, threads, engine))
            if each is None or not each.runs:
                cells.append("failed" if each else "")
            else:
                mark = " **wrong**" if each.problem else ""
                cells.append(f"{each.median_ms:.2f} ({each.slowest_ms - each.fastest_ms:.2f}){mark}")
        own = found.get((model, threads, TILEWRIGHT))
        ratio = f"{own.ratio:.2f}" if own and own.ratio is not None else ""
        error = f"{own.error:.1e}" if own and own.error is not None else ""
        lines.append(f"| {model} | {threads} | {' | '.join(cells)} | {ratio} | {error} |")
    problems = [f"- {each.model}, {each.threads} threads, {each.engine}: {each.problem}" for each in measurements]
    problems = [line for line, each in zip(problems, measurements, strict=True) if each.problem]
    return "\n".join([*lines, *([""] if problems else []), *problems, ""])


def _read(path: Path) -> list[Measurement]:
    if not path.exists():
        return []
    return [Measurement(**each) for each in json.loads(path.read_text())["measurements"]]


def _write(path: Path, measurements: Sequence[Measurement], command: str) -> None:
    machine = describe_machine()
    path.parent.mkdir(parents=True, exist_ok=True)
    record = {"machine": machine, "measurements": [asdict(each) for each in measurements]}
    for target, text in (
        (path, json.dumps(record, indent=1) + "\n"),
        (path.with_suffix(".md"), markdown(machine, measurements, command)),
    ):
        temporary = target.with_name(target.name + ".tmp")
        temporary.write_text(text)
        temporary.replace(target)


def _sources(names: Sequence[str], folder: Path) -> Iterator[Path]:
    """The ONNX file of each name: a path, a file in `folder` (exported before), or a benchmark model to export."""
    for name in names:
        if name.endswith(".onnx"):
            yield Path(name).resolve()
        elif (folder / f"{name}.onnx").exists() or name not in MODELS:
            yield folder / f"{name}.onnx"
        else:
            yield export(MODELS[name], folder)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.compare", description=__doc__.partition("\n")[0])
    parser.add_argument("names", nargs="*", help="benchmark models, or ONNX files with an .npz of inputs beside them")
    parser.add_argument("--models", type=Path, default=default_folder(), help="folder of exported models")
    parser.add_argument("--engines", nargs="+", choices=ENGINES, default=list(ENGINES))
    parser.add_argument("--threads", nargs="+", type=int, default=[1], help="numbers of threads, each measured")
    parser.add_argument("--rounds", type=int, default=9, help="turns of each engine (default 9)")
    parser.add_argument("--seconds", type=float, default=1.0, help="of a turn (default 1)")
    parser.add_argument("--out", type=Path, default=ROOT / "build" / "compare.json", help="results; .md beside it")
    parser.add_argument("--fresh", action="store_true", help="forget what --out holds")
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; returns the exit code: 1 if an engine failed or its outputs differ."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    parser = _parser()
    options = parser.parse_args(given)
    available = sorted(os.sched_getaffinity(0))
    if not all(1 <= threads <= len(available) for threads in options.threads):
        parser.error(f"--threads must lie between 1 and {len(available)}, the processors here")
    if shutil.disk_usage(tempfile.gettempdir()).free < 2**30:
        parser.error(f"less than 1 GiB is free in {tempfile.gettempdir()}, where libraries are compiled")
    command = " ".join(["python -m benchmarks.compare", *given])
    results = [] if options.fresh else _read(options.out)
    for model in _sources(options.names or list(MODELS), options.models.resolve()):
        if not (model.exists() and model.with_suffix(".npz").exists()):
            parser.error(f"{model} or the .npz beside it does not exist")
        for threads in options.threads:
            known = [each for each in results if (each.model, each.threads) == (model.stem, threads)]
            done = {each.engine for each in known if each.runs}  # what failed is tried again
            if done >= set(options.engines):
                continue
            print(f"{model.stem}, {threads} thread{'s' if threads > 1 else ''} ...", file=sys.stderr, flush=True)
            results = [each for each in results if (each.model, each.threads) != (model.stem, threads)]
            # An engine measured before is measured again with the rest: only times of one run are comparable.
            engines = [engine for engine in ENGINES if engine in done | set(options.engines)]
            results += measure(model, engines, available[:threads], options.rounds, options.seconds)
            _write(options.out, results, command)
    print(markdown(describe_machine(), results, command))
    return 1 if any(each.problem for each in results) else 0


if __name__ == "__main__":
    sys.exit(main())
