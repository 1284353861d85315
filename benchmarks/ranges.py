"""One library for many sizes, and libraries for one size each: `python -m benchmarks.ranges [NAME...] --write`.

A batch, a sequence, height and width vary. Each library with ranges is held to ONNX Runtime at eight sizes, the
smallest and the largest among them, and takes turns with libraries for one size alone: the largest, and those of
`--best`. Needs torch, which exports the models; what is exported and compiled is kept in build/ranges.
"""

from __future__ import annotations

import argparse
import multiprocessing
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tilewright
from tilewright.compiler.runners.local import prepared
from tilewright.compiler.verification.compare import compare
from tilewright.compiler.verification.reference_engines import OnnxRuntime

from .exporting import export_module
from .models import create, found
from .sections import with_section

_ROOT = Path(__file__).parents[1]
_FOLDER = _ROOT / "build" / "ranges"
_PAGE = _ROOT / "docs" / "shapes.md"
_COPIES, _PAIRS, _SECONDS = 9, 15, 1.5

Array = np.ndarray[Any, Any]
Sizes = tuple[int, ...]


@dataclass(frozen=True)
class Ranged:
    """A model of the benchmark with dimensions that vary.

    Attributes:
        model: its name there, at the largest size.
        axes: the axis of each input that has a dimension, by the dimension's name.
        smallest, largest: the range of each.
        sizes: that are compared.
        best: that get kernels of their own.
    """

    model: str
    axes: Mapping[str, int]
    smallest: Sizes
    largest: Sizes
    sizes: Sequence[Sizes]
    best: Sequence[Sizes]

    def onnx(self) -> Path:
        """The exported model."""
        path = _FOLDER / f"{self.model}.onnx"
        spec = found(self.model)
        assert spec is not None, self.model
        if not path.exists():
            export_module(create(spec), spec.example_inputs(0), spec.outputs, path, tuple(self.axes.values()))
        return path

    def inputs(self, sizes: Sizes) -> dict[str, Array]:
        """Of other numbers at every size."""
        spec = found(self.model)
        assert spec is not None, self.model
        whole = spec.example_inputs(sum(sizes))
        cuts = {axis: slice(size) for axis, size in zip(self.axes.values(), sizes, strict=True)}
        return {
            name: np.ascontiguousarray(array[tuple(cuts.get(axis, slice(None)) for axis in range(array.ndim))])
            for name, array in whole.items()
        }

    def shapes(self, sizes: Sizes | None) -> dict[str, tuple[int | str, ...]]:
        """Of all inputs, at one size or with the names of what varies."""
        values: tuple[int | str, ...] = sizes or tuple(self.axes)
        named = dict(zip(self.axes.values(), values, strict=True))
        return {
            name: tuple(named.get(axis, extent) for axis, extent in enumerate(array.shape))
            for name, array in self.inputs(self.largest).items()
        }

    def library(self, sizes: Sizes | None, *, fresh: bool) -> tilewright.CompiledModel:
        """For one size alone, or for all."""
        name = "-".join([self.model.replace("-", "_"), *(map(str, sizes) if sizes else ["ranges"])])
        path = _FOLDER / f"{name}.so"
        if fresh or not path.exists():
            varying: dict[str, Any] = {}
            if sizes is None:
                limits = zip(self.smallest, self.largest, strict=True)
                best = zip(*self.best, strict=True)
                varying["ranges"] = dict(zip(self.axes, limits, strict=True))
                varying["best"] = dict(zip(self.axes, best, strict=True))
            tilewright.compile(self.onnx(), shapes=self.shapes(sizes), threads=1, output=path, **varying)
        return tilewright.load(path)

    def text(self, sizes: Sizes) -> str:
        """Sizes for people: N=4."""
        return ", ".join(f"{name}={size}" for name, size in zip(self.axes, sizes, strict=True))


MODELS = (
    Ranged("resnet18-b8", {"N": 0}, (1,), (8,), [(size,) for size in range(1, 9)], [(1,), (4,)]),
    Ranged("bert_base", {"S": 1}, (1,), (128,), [(size,) for size in (1, 2, 7, 31, 32, 100, 127, 128)], [(32,), (64,)]),
    Ranged(
        "mobilenet_v2",
        {"H": 2, "W": 3},
        (32, 32),
        (224, 224),
        [(32, 32), (33, 224), (224, 47), (95, 96), (128, 128), (160, 192), (223, 97), (224, 224)],
        [(128, 128)],
    ),
)


def errors(ranged: Ranged, library: tilewright.CompiledModel) -> dict[Sizes, tuple[float, bool]]:
    """The largest |error| over the largest |reference| at each size, and whether that is within the tolerance."""
    engine = OnnxRuntime(ranged.onnx(), 1)
    results = {}
    for sizes in ranged.sizes:
        inputs = ranged.inputs(sizes)
        ours, theirs = library.run(inputs), engine.run(inputs)
        compared = [compare(name, ours[name], value) for name, value in theirs.items()]
        results[sizes] = max(each.relative_error for each in compared), all(each.passed for each in compared)
    return results


def turns(paths: Sequence[Path], inputs: Mapping[str, Array]) -> list[tuple[float, ...]]:
    """The milliseconds of two libraries in runs that follow each other, in alternating order."""
    runs = [prepared(tilewright.load(path), inputs) for path in paths]
    times: list[list[float]] = [[], []]
    while len(times[0]) < _PAIRS or sum(map(sum, times)) < 1e3 * _SECONDS:
        for place in (0, 1) if len(times[0]) % 2 else (1, 0):
            begin = time.perf_counter()
            runs[place]()
            times[place].append(1e3 * (time.perf_counter() - begin))
    return list(zip(*times, strict=True))


def compared(both: Sequence[tilewright.CompiledModel], inputs: Mapping[str, Array]) -> tuple[float, float, float]:
    """The milliseconds of two libraries, and the ratio of their times: the median over pairs of runs.

    From one tenth of a second to the next, what else a machine does changes times by more than libraries differ: the
    runs of a pair follow each other. Where files, weights and workspaces lie in memory makes some hundredths as long as
    they lie there: pairs are of several processes, each with copies of the files.
    """
    pairs: list[tuple[float, ...]] = []
    for _ in range(_COPIES):
        fresh = ProcessPoolExecutor(1, multiprocessing.get_context("spawn"))
        with fresh as process, tempfile.TemporaryDirectory() as folder:
            paths = [Path(shutil.copy(each.path, Path(folder) / f"{place}.so")) for place, each in enumerate(both)]
            pairs += process.submit(turns, paths, inputs).result()
    here, there = zip(*pairs, strict=True)
    return statistics.median(here), statistics.median(there), statistics.median(a / b for a, b in pairs)


def rows(ranged: Ranged, *, fresh: bool) -> tuple[list[str], bool]:
    """Lines of the table, and whether all outputs are right."""
    library = ranged.library(None, fresh=fresh)
    found_errors = errors(ranged, library)
    lines, right = [], all(same for _, same in found_errors.values())
    error = max(error for error, _ in found_errors.values())
    limits = zip(ranged.axes, ranged.smallest, ranged.largest, strict=True)
    title = f"{ranged.model.partition('-')[0]}, {', '.join(f'{name}={low}..{high}' for name, low, high in limits)}"
    verdict = f"{len(ranged.sizes)} sizes, {error:.1e}" if right else "DIFFERS"
    for sizes in (ranged.largest, *ranged.best):
        alone, inputs = ranged.library(sizes, fresh=fresh), ranged.inputs(sizes)
        here, there, ratio = compared([library, alone], inputs)
        kind = "best" if sizes in ranged.best else "largest"
        lines.append(
            f"| {title} | {verdict} | {ranged.text(sizes)} ({kind}) | {here:.2f} | {there:.2f} | {ratio:.2f} |"
        )
        title = verdict = ""
    return lines, right


def main() -> int:
    """The command line; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.ranges", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(each.model for each in MODELS)}")
    parser.add_argument("--fresh", action="store_true", help="compile again what was compiled before")
    parser.add_argument("--write", action="store_true", help="write the section of docs/shapes.md")
    asked = parser.parse_args()
    unknown = set(asked.names) - {each.model for each in MODELS}
    if unknown:
        parser.error(f"unknown: {', '.join(sorted(unknown))}")
    _FOLDER.mkdir(parents=True, exist_ok=True)
    table = ["| model | right at, error / reference | size | ms | ms, compiled for it alone | ratio |"]
    table.append("|---|---|---|---|---|---|")
    print("\n".join(table))
    good = True
    for ranged in MODELS:
        if not asked.names or ranged.model in asked.names:
            lines, right = rows(ranged, fresh=asked.fresh)
            print("\n".join(lines), flush=True)
            table += lines
            good &= right
    if asked.write:
        text = [
            "One thread, medians of runs in turns, ratios of pairs of runs, by `python -m benchmarks.ranges --write`:",
            "",
            *table,
        ]
        _PAGE.write_text(with_section(_PAGE.read_text(), "## What it costs", "\n".join(text)))
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
