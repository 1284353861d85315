"""The tuner against TVM's MetaSchedule: `python -m benchmarks.tuning.metaschedule` writes a Markdown page.

Five convolutions and two products in float32. Ours is searched first, all included; MetaSchedule then has ten times
that time (or --seconds), in a process that is ended when it is over. What it has found by then is compiled and timed by
the best of many runs in a row. Results are written after every layer; one that is in the file is not measured again.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import shlex
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from tilewright.compiler.tuning.session import Limits
from tilewright.targets import parse

from ..machine import this_machine
from ..measurement import write_file
from ..report import made_by, table_head, table_row
from .layers import Layer, as_model, convolution, product
from .searching import is_layer, say, search

LAYERS = (
    convolution(64, 56, 64, 3),
    convolution(256, 14, 256, 3),
    convolution(128, 28, 128, 3, stride=2),
    convolution(256, 14, 1024, 1),
    convolution(512, 7, 512, 3),
    product(128, 768, 768),
    product(512, 512, 512),
)
FOLDER = Path("build/tuning/metaschedule")
_RUNS = 30
_READY = "ready"  # the file that says that its time begins
_TRIALS_AT_ONCE, _MOST_TRIALS = 8, 2000


@dataclass(frozen=True)
class Row:
    """A layer: the seconds of a run, and those of the search, of both; infinite where nothing was found in time."""

    name: str
    seconds: float
    search_seconds: float
    their_seconds: float
    their_search_seconds: float


def run(layer: Layer, folder: Path, trials: int, factor: float, seconds: float | None, threads: int) -> Row:
    """Both on one layer."""
    records = folder / f"{layer.name.replace(' ', '-').replace('>', '')}.jsonl"
    begin = time.monotonic()
    found = search(as_model([layer]), records, Limits(trials_of_each=trials), threads=threads, title=layer.name)
    ours = time.monotonic() - begin
    task = next(each for each in found.tasks if is_layer(each.default.workload))
    theirs = seconds or factor * ours
    with tempfile.TemporaryDirectory() as place:
        say(f"  {layer.name}: {ours:.0f} s; MetaSchedule has {theirs:.0f} s")
        name = f"{__package__}.metaschedule"
        child = [sys.executable, "-m", name, "--child", json.dumps(asdict(layer)), place, str(threads)]
        with (Path(place) / "log").open("wb") as log:
            process = subprocess.Popen(child, stdout=log, stderr=log, start_new_session=True)
            try:
                while process.poll() is None and not (Path(place) / _READY).exists():
                    time.sleep(0.1)
                code = process.wait(theirs)
                say(f"  {layer.name}: MetaSchedule has ended by itself, with {code}")
                say("\n".join((Path(place) / "log").read_text(errors="replace").splitlines()[-3:]))
            except subprocess.TimeoutExpired:
                pass
            finally:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)  # it and the processes it started
                process.wait()
        their_best = _best_of(layer, Path(place), threads)
    return Row(layer.name, task.seconds * task.best_ratio, ours, their_best, theirs)


def _function(layer: Layer) -> tuple[Any, list[tuple[int, ...]]]:
    """The layer as a PrimFunc for MetaSchedule, channels last, and the shapes of its arguments."""
    from tvm import te, tirx

    if layer.kind == "matmul":
        rows, columns, depth, *_ = layer.sizes
        a, b = te.placeholder((rows, depth), name="a"), te.placeholder((depth, columns), name="b")
        k = te.reduce_axis((0, depth), "k")
        result = te.compute((rows, columns), lambda i, j: te.sum(a[i, k] * b[k, j], axis=k), name="product")
        return te.create_prim_func([a, b, result]), [(rows, depth), (depth, columns), (rows, columns)]
    channels, size, outputs, kernel, stride, *_ = layer.sizes
    pad, extent = kernel // 2, (size + 2 * (kernel // 2) - kernel) // stride + 1
    x = te.placeholder((1, size, size, channels), name="x")
    w = te.placeholder((kernel, kernel, channels, outputs), name="w")

    def inside(n: Any, i: Any, j: Any, c: Any) -> Any:
        within = tirx.all(i >= pad, i < size + pad, j >= pad, j < size + pad)
        return tirx.if_then_else(within, x[n, i - pad, j - pad, c], tirx.const(0, "float32"))

    padded = te.compute((1, size + 2 * pad, size + 2 * pad, channels), inside, name="padded")
    axes = [te.reduce_axis((0, each), name) for each, name in ((kernel, "kh"), (kernel, "kw"), (channels, "c"))]
    result = te.compute(
        (1, extent, extent, outputs),
        lambda n, i, j, o: te.sum(
            padded[n, i * stride + axes[0], j * stride + axes[1], axes[2]] * w[axes[0], axes[1], axes[2], o], axis=axes
        ),
        name="convolution",
    )
    shapes: list[tuple[int, ...]] = [
        (1, size, size, channels),
        (kernel, kernel, channels, outputs),
        (1, extent, extent, outputs),
    ]
    return te.create_prim_func([x, w, result]), shapes


def _tvm_target(threads: int) -> Any:
    from tvm.target import Target

    host = parse("host")
    return Target({"kind": "llvm", "mtriple": host.triple, "mcpu": host.cpu, "num-cores": threads})


def _search_by_metaschedule(layer: Layer, place: Path, threads: int) -> None:
    """Until this process is ended."""
    import tvm
    import tvm.s_tir.tensor_intrin  # what MetaSchedule imports when it begins takes up to a minute
    from tvm.s_tir import meta_schedule

    function, _ = _function(layer)
    (place / _READY).touch()
    meta_schedule.tune_tir(
        tvm.IRModule({"main": function.with_attr("global_symbol", "main")}),
        _tvm_target(threads),
        str(place),
        max_trials_global=_MOST_TRIALS,
        num_trials_per_iter=_TRIALS_AT_ONCE,
        num_tuning_cores=threads,
    )


def _best_of(layer: Layer, place: Path, threads: int) -> float:
    """Compiles the best that MetaSchedule has written, and times it."""
    import tvm
    from tvm.s_tir import meta_schedule

    files = [place / f"database_{name}.json" for name in ("workload", "tuning_record")]
    if not all(file.exists() and file.stat().st_size for file in files):
        return float("inf")
    function, shapes = _function(layer)
    module = tvm.IRModule({"main": function.with_attr("global_symbol", "main")})
    database = meta_schedule.database.JSONDatabase(str(files[0]), str(files[1]), allow_missing=False)
    schedule = database.query_schedule(module, _tvm_target(threads), "main")
    if schedule is None:
        return float("inf")
    built = tvm.compile(schedule.mod, target=_tvm_target(threads))
    generator = np.random.default_rng(0)
    tensors = [tvm.runtime.tensor(generator.standard_normal(shape).astype(np.float32), tvm.cpu()) for shape in shapes]
    entry = built["main"]
    best = float("inf")
    for _ in range(_RUNS):
        begin = time.perf_counter()
        entry(*tensors)
        best = min(best, time.perf_counter() - begin)
    return best


def markdown(rows: Sequence[Row], threads: int, command: str) -> str:
    """The page."""
    faster = sum(row.seconds < row.their_seconds for row in rows)
    return "\n".join(
        [
            "# Against MetaSchedule",
            "",
            f"{this_machine()}, {threads} threads. Ours is faster on {faster} of {len(rows)}. Times of ours are the "
            "kernel's in its library, medians; of MetaSchedule's the best of many runs.",
            "",
            *table_head(("layer", "ours, us", "after s", "MetaSchedule's, us", "after s", "ours / theirs")),
            *(
                table_row(
                    (
                        row.name,
                        f"{row.seconds * 1e6:.0f}",
                        f"{row.search_seconds:.0f}",
                        f"{row.their_seconds * 1e6:.0f}",
                        f"{row.their_search_seconds:.0f}",
                        f"{row.seconds / row.their_seconds:.2f}",
                    )
                )
                for row in rows
            ),
            "",
            *made_by(command),
        ]
    )


def main(arguments: Sequence[str]) -> int:
    """Searches with both and writes the page."""
    if list(arguments[:1]) == ["--child"]:
        text, place, threads = arguments[1:]
        layer = json.loads(text)
        _search_by_metaschedule(Layer(layer["name"], layer["kind"], tuple(layer["sizes"])), Path(place), int(threads))
        return 0
    parser = argparse.ArgumentParser(prog="python -m benchmarks.tuning.metaschedule", description=__doc__)
    parser.add_argument("--trials", type=int, default=24, help="choices of a layer that ours measures at most")
    parser.add_argument("--factor", type=float, default=10, help="how much more time MetaSchedule has")
    parser.add_argument("--seconds", type=float, help="that MetaSchedule has for a layer instead")
    parser.add_argument("--layers", type=int, default=len(LAYERS), help="the first so many")
    parser.add_argument("--threads", type=int, default=parse("host").cores)
    parser.add_argument("--folder", type=Path, default=FOLDER, help="of our records")
    parser.add_argument("--out", type=Path, default=Path("build/tuning/metaschedule.md"))
    options = parser.parse_args(arguments)
    stored = options.out.with_suffix(".json")
    rows = [Row(**row) for row in json.loads(stored.read_text())] if stored.exists() else []
    command = shlex.join(["python", "-m", "benchmarks.tuning.metaschedule", *arguments])
    for layer in LAYERS[: options.layers]:
        if all(row.name != layer.name for row in rows):
            rows.append(run(layer, options.folder, options.trials, options.factor, options.seconds, options.threads))
            write_file(stored, json.dumps([asdict(row) for row in rows], indent=1))
            write_file(options.out, markdown(rows, options.threads, command))
            say(f"{layer.name}: {rows[-1].seconds * 1e6:.0f} us, MetaSchedule {rows[-1].their_seconds * 1e6:.0f} us")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
