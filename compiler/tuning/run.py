"""A tuning run from outside: what is known already, the processes that compile, the search."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from ...errors import UnsupportedError, UnsupportedTargetError, UsageError
from ...schedules.tuner.records import Record, best_on, lines, read
from ...schedules.tuner.search import Collector, Task, make_task
from ...targets import parse
from ...targets.cuda.driver import driver
from ...targets.cuda.parse import NATIVE
from ...targets.cuda.parse import TRIPLE as CUDA
from ...targets.host import available_cores
from ..build import target_of
from ..codegen.generators import generator_for
from ..options import CompileOptions
from ..process.install import written_whole
from ..process.places import output_errors
from ..process.workers import asked_jobs, started
from .devices import measurer_of
from .excerpt import excerpt
from .session import Limits, Progress
from .session import tune as search

GPU = "cuda"  # as --device has it: this machine's GPU


def tune(
    model: Any,
    records: Path,
    options: CompileOptions,
    *,
    seconds: float | None = None,
    trials: int | None = None,
    seed: int = 0,
    devices: Sequence[str] = (),
    tell: Callable[[Progress], None] = lambda progress: None,
    warn: Callable[[str], None] = lambda text: None,
) -> Progress:
    """Searches for faster schedules; see `tilewright.tune`.

    Raises:
        UsageError: a limit that is none, no such device, or a target that is not this machine.
        UnsupportedTargetError: the target's code is C sources alone.
        ToolError: no device is left.
        DeviceError: the target is a GPU, and there is none here.
        TilewrightError: of compiling the model, or of files.
    """
    for option, value in (("--seconds", seconds), ("--trials", trials)):
        if value is not None and not value > 0:
            raise UsageError(f"{value} is no limit", where=option, hint="give more than 0, or leave it out")
    options, devices = placed(options, devices)
    target = target_of(options)
    if target.device:
        driver()  # or there is nothing to measure on
    elif not devices and target.arch != parse("host").arch:
        raise UsageError(
            f"choices for {target.triple} cannot be measured on this machine",
            where="--target",
            hint="name devices that run it: --device rpc:HOST:PORT/KEY, ssh:USER@HOST, qemu",
        )
    try:
        jobs = generator_for(target, options.emit).jobs
    except UnsupportedError as error:
        raise UnsupportedTargetError(
            f"choices for {target.triple} cannot be measured: its code is no library",
            where="--target",
            hint="the computed choices are those of the fewest instructions: tilewright compile --emit c",
        ) from error
    known: list[Record] = []
    if records.exists():  # if it is no file, `read` says so
        known, problems = read(records)
        for problem in problems:
            warn(problem)
    with started(options.jobs or asked_jobs() or available_cores(), jobs) as workers:
        return search(
            model,
            options,
            records,
            Limits(seconds, trials),
            known=known,
            workers=workers,
            measurer=measurer_of(devices, warn),
            seed=seed,
            tell=tell,
        )


def placed(options: CompileOptions, devices: Sequence[str]) -> tuple[CompileOptions, Sequence[str]]:
    """The options for a GPU of this machine, where one is named as the device, and the devices besides this machine.

    Raises:
        UsageError: others are named beside it.
    """
    if GPU not in devices:
        return options, devices
    if len(devices) > 1:
        raise UsageError("a GPU shares its work with no other device", where="--device", hint=f"--device {GPU} alone")
    is_named = options.target != CompileOptions().target
    return (options if is_named else replace(options, target=CUDA, cpu=options.cpu or NATIVE)), ()


def spaces(model: Any, options: CompileOptions) -> list[Task]:
    """The workloads of a model with all their choices; nothing is measured.

    Raises:
        TilewrightError: of compiling the model.
    """
    collector = Collector()
    made = excerpt(model, options, collector)
    asked = {key: asked for key, asked in collector.asked.items() if key in made.workloads}
    return [make_task(*each, made.target, random.Random(0)) for each in asked.values()]


def export(records: Path, to: Path) -> int:
    """Writes the best record of each workload, machine and number of threads, and no other; returns how many.

    Raises:
        UsageError, OutputError: a file cannot be read or written.
    """
    known, _ = read(records)
    machines = {(each.target, each.threads) for each in known}
    found = [record for machine in machines for record in best_on(known, *machine).values()]
    with output_errors(to), written_whole(to) as file:
        file.write("".join(lines(found)).encode())
    return len(found)
