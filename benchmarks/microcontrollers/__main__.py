"""Models on emulated microcontrollers, beside other engines: flash, RAM, stack and instructions of an inference.

    python -m benchmarks.microcontrollers --emx .venv-emx/bin/python --cmsis-nn ../CMSIS-NN --tflm .venv-tflm/bin/python
    python -m benchmarks.microcontrollers examples/models/digits_cnn.onnx --cpu cortex-m4 --out build/digits.json

All models of MLPerf Tiny by default, of float32 and int8. All engines' C is compiled with the same compiler and flags,
and run on the same board (qemu-system-arm, one instruction a nanosecond). Outputs are compared with ONNX Runtime's,
those of .tflite files with LiteRT's. Each row is written when it is measured, JSON and a Markdown page beside it; what
the file holds already is not measured again unless the model, the engine, the compiler or the flags are others, or
--fresh is given.

Exit codes: 0 done; 1 an engine failed; 2 wrong usage.
"""

from __future__ import annotations

import argparse
import hashlib
import shlex
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from tilewright.compiler.cli.tensor_options import parse_size
from tilewright.compiler.process.temporary import temporary_folder
from tilewright.compiler.runners.microcontroller import MicrocontrollerRunner, tool_versions
from tilewright.errors import TilewrightError
from tilewright.targets import Target, parse
from tilewright.targets.cortex_m.processors import PROCESSORS

from .. import trained
from ..exporting import default_folder
from ..measurement import write_file
from .case import INT8, NAMES, Case, find_file, make_case
from .engines import CMSIS_NN, EMX, Engine, engines, package_version
from .page import page
from .row import Results, Row, read_results
from .tflm import arena_of

ROOT = Path(__file__).resolve().parents[2]
# As emx-onnx-cgen wants it too: without a standard that turns multiply-adds off.
FLAGS = ("-std=gnu11", "-O3", "-ffunction-sections", "-fdata-sections")
_CPUS = ("cortex-m4", "cortex-m7", "cortex-m55")
_WITHOUT_FLOATS = "cortex-m0plus"  # for integers alone, unless it is asked for


def measured(case: Case, target: Target, engine: Engine, runner: MicrocontrollerRunner, made_of: str) -> Row:
    """The row of a model, made by an engine, on a processor.

    Raises:
        TilewrightError: it cannot be compiled, or its board ends with an error.
        CalledProcessError: the engine refuses the model.
    """
    with temporary_folder() as folder:
        counts = runner.count_program(engine.program(case, target, folder), case.inputs)
    sizes = (counts.flash_bytes, counts.ram_bytes, counts.stack_bytes, counts.instructions)
    return Row(case.name, case.dtype, target.cpu, engine.name, made_of, *sizes, case.error(counts.outputs))


def target_of(cpu: str) -> Target:
    """The target of a processor."""
    row = next(each for each in PROCESSORS if each.name == cpu)
    return parse(row.triple, cpu=cpu)


def digest(case: Case, engine: Engine) -> str:
    """Of all that a row's figures depend on."""
    return hashlib.sha256(
        "\n".join([case.digest, engine.version, *FLAGS, *engine.flags, tool_versions()]).encode()
    ).hexdigest()[:16]


def run_all(options: argparse.Namespace, results: Results, tools: Sequence[str], command: str, console: Console) -> int:
    """Measures what is missing in `results`, which is kept up to date in place and on disk; returns the failures."""
    failures = 0
    chosen = list(engines(parse_size(options.arena, "--arena") or 0, options.emx, options.cmsis_nn))
    runners = {engine.name: MicrocontrollerRunner((*FLAGS, *engine.flags)) for engine in chosen}
    for name in options.models or NAMES:
        case = make_case(name, find_file(name, options.folder, options.python))
        of_case = [engine for engine in chosen if engine.takes in ("", case.dtype)]
        cpus = options.cpu or [*_CPUS, *([_WITHOUT_FLOATS] if case.dtype == INT8 else [])]
        for cpu in cpus:
            for engine in of_case:
                made_of, label = digest(case, engine), f"{case.name}, {cpu}, {engine.name}"
                if results.has(case.name, cpu, engine.name, made_of):
                    console.print(f"{label}: measured before")
                    continue
                try:
                    row = measured(case, target_of(cpu), engine, runners[engine.name], made_of)
                except (TilewrightError, subprocess.CalledProcessError) as error:
                    failures += 1
                    said = getattr(error, "stderr", b"") or b""
                    console.print(f"{label}: failed: {error}\n{said.decode(errors='replace')[-2000:]}", style="red")
                    continue
                results.add(row)
                save(options.out, results, tools, command)
                console.print(f"{label}: {row.instructions:,} instructions, error {row.error:.0e}")
        if options.tflm and case.dtype == INT8 and case.path.suffix == ".tflite" and case.name not in results.arenas:
            results.arenas[case.name] = arena_of(case.path, options.tflm)
            save(options.out, results, tools, command)
    return failures


def save(out: Path, results: Results, tools: Sequence[str], command: str) -> None:
    """The file and the page."""
    results.write(out)
    write_file(out.with_suffix(".md"), page(results, tools, command))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.microcontrollers", description=(__doc__ or "").partition("\n")[0]
    )
    parser.add_argument(
        "models",
        nargs="*",
        help=f"of {', '.join(NAMES)}, or paths of ONNX and .tflite files; default: all of the former",
    )
    cpus = [row.name for row in PROCESSORS]
    parser.add_argument(
        "--cpu", nargs="+", choices=cpus, help=f"default: {', '.join(_CPUS)}; int8 on {_WITHOUT_FLOATS}, too"
    )
    parser.add_argument("--emx", metavar="PYTHON", help=f"with {EMX}, for models of float32")
    parser.add_argument("--cmsis-nn", metavar="FOLDER", type=Path, help=f"{CMSIS_NN}'s sources, for models of int8")
    parser.add_argument("--tflm", metavar="PYTHON", help="with tflite-micro, which tells the arenas that it takes")
    parser.add_argument(
        "--arena", metavar="SIZE", default="4M", help="what our tensors may take before they are in patches (4M)"
    )
    parser.add_argument("--folder", type=Path, default=default_folder(), help="of converted models")
    parser.add_argument("--python", default=trained.TENSORFLOW_PYTHON, help="with TensorFlow, which converts them")
    parser.add_argument("--out", type=Path, default=ROOT / "build" / "cortex-m.json", help="results; .md beside it")
    parser.add_argument("--fresh", action="store_true", help="forget what --out holds")
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; returns the exit code."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    parser, console = _parser(), Console(stderr=True, highlight=False)
    options = parser.parse_args(given)
    if options.out.suffix != ".json":
        parser.error("--out must end in .json; the page is written beside it")
    results = Results() if options.fresh else read_results(options.out)
    command = shlex.join(["python", "-m", "benchmarks.microcontrollers", *given])
    try:
        tools = [f"{tool_versions()}, with `{' '.join(FLAGS)}`"]
        tools += [f"{name} {package_version(python, name)}" for name, python in _pythons(options)]
        failures = run_all(options, results, tools, command, console)
    except (TilewrightError, trained.SourceMissingError) as error:
        parser.error(str(error))
    save(options.out, results, tools, command)
    console.print(f"written: {options.out}, and .md beside it", soft_wrap=True)
    return int(failures > 0)


def _pythons(options: argparse.Namespace) -> list[tuple[str, str]]:
    named = ((EMX, options.emx), ("tflite-micro", options.tflm))
    return [(name, python) for name, python in named if python is not None]


if __name__ == "__main__":
    sys.exit(main())
