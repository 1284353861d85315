"""Tilewright's libraries against other engines, on the same models in one run: `python -m benchmarks.compare resnet50`.

Engines take turns (see `benchmarks.rounds`), each in its own process, bound to the same processors. Outputs are held to
ONNX Runtime's. Results are written after every model: JSON, and a Markdown page and a picture beside it. What the file
holds already is not measured again unless --fresh is given: a run that was stopped goes on where it stopped.

Exit codes: 0 done; 1 Tilewright, or an engine named by --engines, could not run or computed something else; 2 wrong
usage; 130 interrupted: the models finished before are kept.
"""

from __future__ import annotations

import argparse
import datetime
import hashlib
import os
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from tilewright.compiler.process.temporary import temporary_folder

from . import trained
from .engines import ENGINES
from .engines.engine import FLOAT32, Engine
from .exporting import default_folder
from .machine import Machine, order_processors, this_machine
from .measurement import FAILED, MEASURED, WRONG, Measurement, RecordsError, Results, read_results, to_json, write_file
from .models import GROUPS, MODELS, expand, export
from .plot import draw
from .ratios import summarise
from .report import markdown, print_summary
from .rounds import Announce, Schedule, measure

ROOT = Path(__file__).resolve().parents[1]
INTERRUPTED = 130
ROOM = 10  # times the model's size, for what the engines build from it


class UsageError(Exception):
    """The command line asks for what cannot be done; the text says why."""


def digest(model: Path) -> str:
    """Of the ONNX file and its inputs: what was measured with another one does not count."""
    digester = hashlib.sha256()
    for path in (model, model.with_suffix(".npz")):
        with path.open("rb") as file:
            while block := file.read(1 << 20):
                digester.update(block)
    return digester.hexdigest()[:16]


def needed(known: Sequence[Measurement], chosen: Sequence[Engine], model_digest: str, retry: bool) -> bool:
    """Whether a model has to be measured with a number of threads.

    Args:
        known: what the file holds of the two.
        retry: measure again what failed, was wrong or was refused.
    """
    done = {each.engine: each for each in known}
    if any(each.model_digest != model_digest for each in known):
        return True
    for engine in chosen:
        each = done.get(engine.name)
        if each is None:
            return True
        # What was not installed is recorded without a version.
        if not engine.why_unavailable() and (each.version != engine.version or (retry and each.state != MEASURED)):
            return True
    return False


def find_model(name: str, folder: Path) -> Path:
    """The ONNX file of `name`: a path, a file in `folder`, or a model of ours to export there. Raises UsageError."""
    path = Path(name).resolve() if name.endswith(".onnx") else folder / f"{name}.onnx"
    if not path.exists() and not name.endswith(".onnx"):
        try:
            if name in MODELS:
                path = export(MODELS[name], folder)
            elif name in trained.NAMES:
                path = trained.make(name, folder)
        except ImportError as error:
            raise UsageError(f"exporting {name} needs {error.name}: pip install 'tilewright[bench,pytorch]'") from error
        except trained.SourceMissingError as error:
            raise UsageError(f"{name}: {error}") from error
    for file in (path, path.with_suffix(".npz")):
        if not file.exists():
            raise UsageError(f"{file} does not exist")
    return path


def check_room(model: Path) -> None:
    """Raises UsageError if the disk is too full for what the engines build from `model`."""
    place = Path(tempfile.gettempdir())
    free, wanted = shutil.disk_usage(place).free, ROOM * model.stat().st_size + 2**28
    if free < wanted:
        raise UsageError(
            f"{model.stem} needs {wanted / 2**30:.1f} GiB in {place}, and {free / 2**30:.1f} are free: set TMPDIR"
        )


def describe_run(arguments: Sequence[str]) -> dict[str, str]:
    """Command, date and the source's version."""
    described = subprocess.run(
        ["git", "describe", "--always", "--dirty"], capture_output=True, text=True, cwd=ROOT, check=False
    )
    return {
        "command": shlex.join(["python", "-m", "benchmarks.compare", *arguments]),
        "date": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
        "source": described.stdout.strip() or "without git",
    }


def save(out: Path, machine: Machine, results: Results, console: Console) -> None:
    """Write the JSON file, the page and the picture."""
    write_file(out, to_json(machine, results, summarise(results.measurements, ENGINES)))
    picture = out.with_suffix(".svg")
    try:
        drawn = draw(picture, results.measurements, ENGINES, str(machine))
    except ImportError:
        drawn = False
        console.print("no picture: matplotlib is not installed", style="yellow")
    page = markdown(machine, results.run, results.measurements, ENGINES, picture.name if drawn else "")
    write_file(out.with_suffix(".md"), page)


@contextmanager
def progress(console: Console, total: int) -> Iterator[Announce]:
    """A function to tell what is going on: on a terminal a line that moves, else nothing but what is printed."""
    if not console.is_terminal:
        yield lambda text: None
        return
    columns = (BarColumn(20), MofNCompleteColumn(), TimeElapsedColumn(), TextColumn("{task.description}"))
    with Progress(*columns, console=console, transient=True, refresh_per_second=2) as bar:
        task = bar.add_task("", total=total)

        def announce(text: str) -> None:
            if text:
                bar.update(task, description=text)
            else:
                bar.advance(task)

        yield announce


def labelled(announce: Announce, label: str) -> Announce:
    """`announce` with `label` before each text."""
    return lambda text: announce(f"{label}: {text}")


def run_all(
    options: argparse.Namespace, results: Results, machine: Machine, run: dict[str, str], console: Console
) -> None:
    """Measure what is missing in `results`, which is kept up to date in place and on disk. Raises UsageError."""
    names, folder = expand(options.names), options.models.resolve()
    for name in names:
        if name not in MODELS and name not in trained.NAMES:
            find_model(name, folder)  # what is missing is told before anything is measured
    chosen = [ENGINES[name] for name in ENGINES if name in (options.engines or ENGINES)]
    with progress(console, len(names) * len(options.threads)) as announce:
        for name in names:
            announce(f"{name}: finding the model")
            model = find_model(name, folder)
            model_digest = digest(model)
            for threads in options.threads:
                label = f"{model.stem}, {threads} thread{'s' if threads > 1 else ''}"
                rest = [each for each in results.measurements if (each.model, each.threads) != (model.stem, threads)]
                known = [each for each in results.measurements if each not in rest]
                if needed(known, chosen, model_digest, options.retry):
                    # An engine measured before is measured again with the others: only times of one run compare.
                    before = {each.engine for each in known if each.round_ms}
                    engines = [engine for engine in ENGINES.values() if engine in chosen or engine.name in before]
                    new = run_model(model, engines, threads, options, labelled(announce, label))
                    results.run = run
                    results.measurements = [*rest, *(replace(each, model_digest=model_digest) for each in new)]
                    save(options.out, machine, results, console)
                    counted = sum(each.state == MEASURED for each in new)
                    console.print(f"{label}: {counted} of {len(new)} engines measured")
                else:
                    console.print(f"{label}: measured before")
                announce("")


def run_model(
    model: Path, engines: Sequence[Engine], threads: int, options: argparse.Namespace, announce: Announce
) -> list[Measurement]:
    """Measure one model. Raises UsageError if the disk is too full."""
    check_room(model)
    processors = order_processors(list(os.sched_getaffinity(0)))[:threads]
    schedule = Schedule(options.rounds, options.seconds, options.engine_seconds)
    with temporary_folder() as folder:
        return measure(model, engines, processors, schedule, folder, announce)


def check_options(options: argparse.Namespace, machine: Machine) -> None:
    """Raises UsageError for options that could only fail later."""
    if not all(1 <= threads <= machine.cores for threads in options.threads):
        raise UsageError(f"--threads must lie between 1 and {machine.cores}, the processors here")
    if options.rounds < 1 or options.seconds <= 0 or options.engine_seconds <= 0:
        raise UsageError("--rounds, --seconds and --engine-seconds must be positive")
    if options.out.suffix != ".json":
        raise UsageError("--out must end in .json; the page and the picture are written beside it")
    try:
        options.out.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=options.out.parent):
            pass
    except OSError as error:
        raise UsageError(f"--out cannot be written: {error}") from error


def exit_code(results: Sequence[Measurement], named: Sequence[str]) -> int:
    """1 if Tilewright in float32, or an engine that was named, has no numbers, or Tilewright fails in another type."""
    own = {name: engine for name, engine in ENGINES.items() if engine.ours}
    strict = {*named, *(name for name, engine in own.items() if engine.precision == FLOAT32)}
    return int(
        any(
            each.state != MEASURED if each.engine in strict else each.engine in own and each.state in (FAILED, WRONG)
            for each in results
        )
    )


def list_engines(console: Console) -> None:
    """Print which engines there are and why some cannot run."""
    for name, engine in ENGINES.items():
        reason = engine.why_unavailable()
        console.print(f"{name:16} {engine.version if not reason else 'not available: ' + reason}", soft_wrap=True)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.compare", description=__doc__.partition("\n")[0])
    parser.add_argument(
        "names",
        nargs="*",
        help=f"benchmark models, {', '.join(GROUPS)}, or ONNX files with an .npz of inputs beside them; default: all",
    )
    parser.add_argument("--models", type=Path, default=default_folder(), help="folder of exported models")
    parser.add_argument(
        "--engines", nargs="+", choices=list(ENGINES), metavar="ENGINE", help="by default all: see --list"
    )
    parser.add_argument("--threads", nargs="+", type=int, default=[1], help="numbers of threads, each measured")
    parser.add_argument("--rounds", type=int, default=9, help="turns of each engine (default 9)")
    parser.add_argument("--seconds", type=float, default=1.0, help="of a turn (default 1)")
    parser.add_argument(
        "--engine-seconds", type=float, default=30.0, help="of an engine's turns on a model: slow ones get fewer (30)"
    )
    parser.add_argument(
        "--out", type=Path, default=ROOT / "build" / "compare.json", help="results; .md, .svg beside it"
    )
    parser.add_argument("--fresh", action="store_true", help="forget what --out holds")
    parser.add_argument(
        "--retry", action="store_true", help="measure again where an engine failed, was wrong or refused the model"
    )
    parser.add_argument("--list", action="store_true", help="print the engines and stop")
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; returns the exit code."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    parser = _parser()
    options = parser.parse_args(given)
    console, notes = Console(), Console(stderr=True, highlight=False)
    if options.list:
        list_engines(console)
        return 0
    machine = this_machine()
    try:
        check_options(options, machine)
        results = Results({}, []) if options.fresh else read_results(options.out, machine)
    except (UsageError, RecordsError) as error:
        parser.error(str(error))
    busy, stopped = os.getloadavg()[0], False
    if busy > machine.cores / 2:
        notes.print(f"other programs are running (load {busy:.1f}): the times will be noisy", style="yellow")
    try:
        run_all(options, results, machine, describe_run(given), notes)
    except UsageError as error:
        parser.error(str(error))
    except KeyboardInterrupt:
        stopped = True
    print_summary(console, results.measurements, ENGINES)
    if results.measurements:
        save(options.out, machine, results, notes)  # what was measured before may be shown in a new way
        notes.print(f"written: {options.out}, and .md and .svg beside it", soft_wrap=True)
    if stopped:
        notes.print("interrupted; the same command goes on from here", style="yellow")
        return INTERRUPTED
    return exit_code(results.measurements, options.engines or [])


if __name__ == "__main__":
    sys.exit(main())
