"""Sparse kernels against dense ones: `python -m benchmarks.sparse_layers` prints a table.

Layers with weights that are zero in blocks, on one thread: products of so many rows, which 1x1 convolutions of as many
pixels are too. Both kernels compute the same weights, in turn, and of each the fastest run counts.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from onnx import TensorProto, helper, numpy_helper
from rich.console import Console
from tilewright import targets
from tilewright.compiler.build import build
from tilewright.compiler.library.artifact import load
from tilewright.compiler.options import CompileOptions
from tilewright.compiler.process.temporary import temporary_folder
from tilewright.compiler.runners.local import LocalRunner
from tilewright.schedules.templates.template import Choose, Decision, choose_default

from .report import table_head, table_row


@dataclass(frozen=True)
class Shape:
    """A product: rows of k terms, and columns."""

    rows: int
    k: int
    columns: int


SHAPES = (Shape(3136, 64, 256), Shape(196, 256, 1024), Shape(49, 512, 512), Shape(128, 768, 768), Shape(1, 2048, 1000))
RATES = (0.5, 0.75, 0.9, 0.95)


def by(*templates: str) -> Choose:
    """Chooses among some templates alone, where one of them takes a workload."""

    def choose(taking: Sequence[Any], workload: Any, target: targets.Target) -> Decision[Any, Any]:
        return choose_default([each for each in taking if each.name in templates] or taking, workload, target)

    return choose


def layer(shape: Shape, channels: int, rate: float) -> Any:
    """An ONNX model of a product and a Relu, its weights zero in blocks of so many channels."""
    generator = np.random.default_rng(0)
    kept = generator.random((shape.k, -(-shape.columns // channels)))
    weights = generator.standard_normal((shape.k, shape.columns)) / np.sqrt(shape.k)
    weights *= (kept >= np.quantile(kept, rate)).repeat(channels, axis=1)[:, : shape.columns]
    float32 = TensorProto.FLOAT
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["x", "w"], ["m"]), helper.make_node("Relu", ["m"], ["y"])],
        "layer",
        [helper.make_tensor_value_info("x", float32, [shape.rows, shape.k])],
        [helper.make_tensor_value_info("y", float32, [shape.rows, shape.columns])],
        [numpy_helper.from_array(weights.astype("float32"), "w")],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)


def seconds(shape: Shape, channels: int, rate: float, cpu: str | None, least: float, folder: Path) -> tuple[float, ...]:
    """The fastest run of the dense kernel and of the sparse one, measured in turn for at least so many seconds."""
    model = layer(shape, channels, rate)
    feed = {"x": np.random.default_rng(1).standard_normal((shape.rows, shape.k)).astype("float32")}
    runners, libraries = [], []
    for templates in (("contraction",), ("sparse",)):
        path = folder / f"{templates[0]}.so"
        build(model, path, CompileOptions(threads=1, cpu=cpu), choose=by(*templates))
        libraries.append(load(path))
        runners.append(LocalRunner())
    best, begin = [np.inf, np.inf], time.monotonic()
    while time.monotonic() - begin < least:
        for index in range(2):
            best[index] = min(best[index], *runners[index].time(libraries[index], feed, runs=20))
    return tuple(best)


def main(arguments: Sequence[str] | None = None) -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--cpu", help="LLVM's name of a processor that this one can run code for; default: this one")
    parser.add_argument("--channels", type=int, help="of a block of zeros; default: a vector")
    parser.add_argument("--seconds", type=float, default=1.0, help="for each pair of kernels")
    options = parser.parse_args(arguments)
    channels = options.channels or targets.parse("host", cpu=options.cpu, cores=1).lanes()
    lines = table_head(["rows x k x columns", *(f"{rate:.0%} zeros" for rate in RATES)])
    for shape in SHAPES:
        ratios = []
        for rate in RATES:
            with temporary_folder() as folder:
                dense, sparse = seconds(shape, channels, rate, options.cpu, options.seconds, folder)
            ratios.append(f"{dense / sparse:.1f}")
        lines.append(table_row([f"{shape.rows} x {shape.k} x {shape.columns}", *ratios]))
    Console(soft_wrap=True, highlight=False).print("\n".join(lines), markup=False)


if __name__ == "__main__":
    main()
