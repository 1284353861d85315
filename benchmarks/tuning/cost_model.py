"""The tuner's cost model, made and judged: `python -m benchmarks.tuning.cost_model collect`, `train`, `report`.

collect measures sampled choices of networks' layers and of random ones for some time on this machine, and appends them
to a file of records; what was finished is not begun again. train learns them, and writes the trees that the tuner
starts from. report learns three quarters of the workloads and says how well the others are ranked.
"""

from __future__ import annotations

import argparse
import shlex
import sys
import time
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tilewright.compiler.tuning.session import Limits
from tilewright.schedules.tuner.cost_model import CostModel, pretrained_for
from tilewright.schedules.tuner.search import Sampling
from tilewright.targets import parse

from ..exporting import default_folder
from ..machine import this_machine
from ..measurement import write_file
from .layers import as_model, random_layers
from .quality import judged, markdown, plot
from .samples import samples_of
from .searching import say, search

# Networks whose layers are learned; those that the tuner is judged by are not among them.
NETWORKS = (
    "resnet18", "mobilenet_v3_large", "squeezenet1_1", "densenet121", "convnext_tiny", "vit_b_16", "inception_v3",
    "regnet_y_1_6gf", "yolox_tiny",
)  # fmt: skip
RECORDS = Path("build/tuning/collected.jsonl")
_LAYERS = 16  # random ones in a model
_RANDOM_MODELS = 60  # at most
_EACH = 10  # choices of a workload that are measured
_HELD_OUT = 4  # one of so many workloads is not learned for the report


def main(arguments: Sequence[str]) -> int:
    """Does one of the three."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.tuning.cost_model", description=__doc__)
    parser.add_argument("command", choices=("collect", "train", "report"))
    parser.add_argument("--records", type=Path, default=RECORDS)
    parser.add_argument("--seconds", type=float, default=540, help="that collect takes")
    parser.add_argument("--models", type=Path, default=default_folder(), help="where exported networks are kept")
    parser.add_argument("--each", type=int, default=_EACH, help="choices of a workload that collect measures")
    parser.add_argument("--out", type=Path, help="what train or report writes")
    options = parser.parse_args(arguments)
    if options.command == "collect":
        collect(options.records, options.seconds, options.models, options.each)
    elif options.command == "train":
        out = options.out or pretrained_for(parse("host"))
        train(options.records, out)
    else:
        out = options.out or Path("build/tuning/cost-model.md")
        command = shlex.join(["python", "-m", "benchmarks.tuning.cost_model", *arguments])
        report(options.records, out, command)
    return 0


def collect(records: Path, seconds: float, models: Path, each: int) -> None:
    """Measures until the time is over, with all processors and with one in turns."""
    end = time.monotonic() + seconds
    finished = records.with_suffix(".done")
    done = set(finished.read_text().split()) if finished.exists() else set()
    cores = parse("host").cores
    for number, name in enumerate(_sources(models)):
        if name in done:
            continue
        if time.monotonic() > end:
            break
        left = end - time.monotonic()
        limits = Limits(seconds=left, trials_of_each=each, stops_early=False)
        threads = 1 if number % 3 == 2 else cores
        found = search(
            _model(name, models), records, limits, threads=threads, title=name, proposer=lambda target: Sampling()
        )
        say(f"{name}, {threads} threads: {found.measured} choices of {len(found.tasks)} workloads; {left:.0f} s left")
        if time.monotonic() < end:
            with finished.open("a") as file:
                file.write(f"{name}\n")


def _sources(models: Path) -> list[str]:
    """Two models of random layers, and then a network, as long as there are networks."""
    networks = [name for name in NETWORKS if (models / f"{name}.onnx").exists()]
    found = []
    for number in range(_RANDOM_MODELS):
        found.append(f"random{number}")
        if number % 2 and networks:
            found.append(networks.pop(0))
    return found


def _model(name: str, models: Path) -> Any:
    if name.startswith("random"):
        layers = random_layers(_LAYERS, seed=int(name.removeprefix("random")))
        say(f"{name}: {'; '.join(layer.name for layer in layers)}")
        return as_model(layers)
    return models / f"{name}.onnx"


def train(records: Path, out: Path) -> None:
    """Learns all records and writes the trees."""
    samples = samples_of(records)
    model = CostModel()
    model.pretrain(samples)
    out.parent.mkdir(parents=True, exist_ok=True)
    model.save(out)
    groups = len({sample.group for sample in samples})
    say(f"{out}: {out.stat().st_size >> 10} KiB, learned from {len(samples)} choices of {groups} workloads")


def report(records: Path, out: Path, command: str) -> None:
    """Learns a part of the workloads, and judges the order of the others."""
    samples = samples_of(records)
    held_out = {group for group in {sample.group for sample in samples} if zlib.crc32(group.encode()) % _HELD_OUT == 0}
    learned = [sample for sample in samples if sample.group not in held_out]
    table = judged(learned, [sample for sample in samples if sample.group in held_out])
    picture = out.with_suffix(".svg")
    drawn = plot(picture, table)
    write_file(out, markdown(table, str(this_machine()), samples, learned, picture.name if drawn else "", command))
    say(f"{out}")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
