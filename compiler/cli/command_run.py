"""`run`: a library once, on given or random inputs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from ..process.install import written_whole
from ..reports.report import Table, show, show_json
from .command_options import At, Device, Inputs, Json, Library, Seed, Threads, read_inputs
from .opened_libraries import open_there


def run(
    library: Library,
    tensors: Inputs = None,
    random_inputs: Annotated[
        bool, typer.Option("--random-inputs", help="Fill inputs not given with random data.")
    ] = False,
    seed: Seed = 0,
    at: At = None,
    output: Annotated[Path | None, typer.Option("--output", "-o", metavar="OUT.npz", help="Write the outputs.")] = None,
    threads: Threads = None,
    device: Device = None,
    as_json: Json = False,
) -> None:
    """Run a library once and show or save its outputs. Needs numpy alone.

    Examples:

    * `tilewright run model.so --input image=@image.npy -o outputs.npz`
    * `tilewright run model.so --input ids=101,2023,102 --random-inputs --seed 7`
    * `tilewright run model.so --random-inputs --device qemu`
    """
    import numpy as np

    model, runner = open_there(library, threads, device)
    values = read_inputs(model, tensors, random_inputs=random_inputs, seed=seed, at_values=at)
    outputs = runner.run(model, values)
    if output is not None:
        _save_arrays(output, outputs)
    summary = [
        {
            "name": name,
            "shape": list(array.shape),
            "dtype": str(array.dtype),
            **{
                key: _finite(f(array)) for key, f in (("min", np.min), ("mean", np.mean), ("max", np.max)) if array.size
            },
        }
        for name, array in outputs.items()
    ]
    if as_json:
        show_json({"outputs": summary})
        return
    table = Table(("output", "dtype", "shape", ">min", ">mean", ">max"))
    for row, array in zip(summary, outputs.values(), strict=True):
        numbers = ("-" if row.get(key) is None else f"{row[key]:.6g}" for key in ("min", "mean", "max"))
        table.add(row["name"], row["dtype"], "x".join(map(str, array.shape)) or "scalar", *numbers)
    show(table)


def _save_arrays(path: Path, arrays: dict[str, Any]) -> None:
    import numpy as np

    with written_whole(path) as file:
        np.savez(file, **arrays)


def _finite(value: Any) -> float | None:
    import math

    number = float(value)
    return number if math.isfinite(number) else None
