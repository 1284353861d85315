"""A tuning run of a benchmark: of layers or of a model, with whatever proposes the choices, and what it prints."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tilewright.compiler.options import CompileOptions
from tilewright.compiler.process.workers import started
from tilewright.compiler.tuning import session
from tilewright.compiler.tuning.session import Limits, Progress, Proposer
from tilewright.schedules.templates.attention import Heads
from tilewright.schedules.templates.contraction import Workload
from tilewright.schedules.templates.rows_choice import Rows
from tilewright.schedules.templates.template import Choose, choose_default
from tilewright.schedules.templates.window_choice import Windows
from tilewright.schedules.tuner.records import Record, read
from tilewright.targets.host import available_cores
from tilewright.targets.target import Target

_JOBS = "tilewright.compiler.codegen.llvm_objects"


def is_layer(workload: object) -> bool:
    """Whether it is what a layer computes, and not what moves data before or after it."""
    return isinstance(workload, (Workload, Windows, Rows, Heads))


def search(
    model: Any,
    records: Path,
    limits: Limits,
    *,
    threads: int,
    title: str,
    proposer: Callable[[Target], Proposer] | None = None,
    defaults: Choose = choose_default,
    wanted: Callable[[object], bool] = is_layer,
    seed: int = 0,
) -> Progress:
    """Runs the tuner and says how it goes; what the records hold is not measured again."""
    records.parent.mkdir(parents=True, exist_ok=True)
    known: list[Record] = read(records)[0] if records.exists() else []
    generation = -1

    def tell(progress: Progress) -> None:
        nonlocal generation
        if progress.generation != generation and progress.history:
            generation = progress.generation
            won = progress.best_seconds / progress.default_seconds
            say(f"  {title}: {progress.seconds:.0f} s, {progress.trials} choices, {won:.3f} of the default's time")

    with warnings.catch_warnings(), started(available_cores(), _JOBS) as workers:
        warnings.simplefilter("ignore")
        return session.tune(
            model,
            CompileOptions(threads=threads),
            records,
            limits,
            known=known,
            workers=workers,
            seed=seed,
            tell=tell,
            proposer=proposer,
            defaults=defaults,
            wanted=wanted,
        )


def say(text: str) -> None:
    """A line of progress."""
    print(text, file=sys.stderr, flush=True)
