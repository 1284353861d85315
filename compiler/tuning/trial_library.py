"""Compiles candidates and the defaults of their workloads to one library, and measures it.

Each candidate is a kernel of its own there: first the defaults, then one candidate of every workload, then another one
of each, so that a kernel finds the caches as other kernels leave them, the default's and a candidate's alike.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ...errors import ToolError
from ...frontends import ImportedModel
from ...schedules.templates.keys import key_of
from ...schedules.templates.template import Choose, Decision
from ...schedules.tuner.records import CRASHED, HUNG, OK, WRONG
from ...schedules.tuner.search import choosing
from ..build import build
from ..built import Build
from ..inputs.random_inputs import random_inputs
from ..options import CompileOptions
from ..precision import RTOL_OF_PRECISION
from .excerpt import Excerpt, kernel_passes
from .measure import Measured, measure
from .measure_worker import Timing, Trial
from .variants import joined, name_in

if TYPE_CHECKING:
    from ..process.workers import Workers

_INPUT_BOUND = 1  # of integers: indices into whatever they index
_LIBRARY = "trials.so"
NOISY = "noisy"  # besides the states of records: it may be faster than the default, but how much is not known


@dataclass(frozen=True)
class Result:
    """What became of a candidate: ``ok`` or ``noisy`` with its timing, or why it must not be used."""

    state: str
    timing: Timing | None = None


class TrialLibrary:
    """Measures choices for the kernels of an excerpt."""

    def __init__(
        self,
        made: Excerpt,
        defaults: Choose,
        options: CompileOptions,
        folder: Path,
        workers: Workers | None = None,
        seed: int = 0,
    ) -> None:
        """Gets ready.

        Args:
            defaults: chooses what candidates are compared with.
            folder: for files.
            workers: processes that compile.
            seed: of the inputs.
        """
        self.excerpt = made
        self._choose_default = defaults
        self._options = options
        self._folder = folder
        self._workers = workers
        self._seed = seed
        self._inputs = folder / "inputs.npz"
        self._defaults: dict[str, ImportedModel] = {}  # scheduled, by workload

    def default_seconds(self, keys: Sequence[str], seconds: float) -> dict[str, float]:
        """What the kernels of some workloads take in one run of the model, with the defaults; to be asked for first.

        Raises:
            TilewrightError: of compiling them.
            ToolError: they do not run.
        """
        made = self._compiled([self._default(key) for key in keys])
        self._write_inputs(made)
        trials = [Trial(steps, steps) for steps in (self._steps(made, key, place) for place, key in enumerate(keys))]
        shown = {key: trial for key, trial in zip(keys, trials, strict=True) if trial.steps}
        measured = self._measured(made, list(shown.values()), seconds)
        return {key: timing.default_seconds for key, timing in zip(shown, measured.timings, strict=False)}

    def measure(self, candidates: Sequence[Decision[Any, Any]], seconds: float) -> list[Result | None]:
        """Measures candidates, several of a workload too.

        Returns:
            The result of each; None for those that did not come to their turn, because another one crashed.

        Raises:
            TilewrightError: of compiling them.
            ToolError: they cannot be measured at all, or a default does not run.
        """
        keys = [key_of(each.workload) for each in candidates]
        defaults = list(dict.fromkeys(keys))
        order = _in_turns(keys)
        variants = [self._default(key) for key in defaults]
        variants += [self._scheduled(keys[place], candidates[place]) for place in order]
        made = self._compiled(variants)
        place_of = {place: len(defaults) + number for number, place in enumerate(order)}
        trials = []
        for place, key in enumerate(keys):
            mine, default = place_of[place], defaults.index(key)
            outputs = [(name_in(mine, name), name_in(default, name)) for name in self._default(key).output_names]
            trials.append(Trial(self._steps(made, key, mine), self._steps(made, key, default), outputs))
        found = self._measured(made, trials, seconds)
        if any(found.dead_step == step for trial in trials for step, _ in trial.default_steps):
            raise ToolError("a kernel does not run with its default choice", where=str(made.path))
        return [self._result(found, place, trials) for place in range(len(trials))]

    def _result(self, found: Measured, place: int, trials: Sequence[Trial]) -> Result | None:
        if found.dead_step is not None:
            if found.dead_step in [step for step, _ in trials[place].steps]:
                return Result(HUNG if found.hung else CRASHED)
            return None
        if place in found.wrong:
            return Result(WRONG)
        timing = found.timings[place]
        return Result(NOISY if timing.is_noisy else OK, timing)

    def _default(self, key: str) -> ImportedModel:
        if key not in self._defaults:
            self._defaults[key] = self._scheduled(key)
        return self._defaults[key]

    def _scheduled(self, key: str, decision: Decision[Any, Any] | None = None) -> ImportedModel:
        """The kernels of a workload, with a choice or the default."""
        model = self.excerpt.of({key})
        choose = choosing({} if decision is None else {key: decision}, self._choose_default)
        made = build(model, None, self._options, stop_after="passes", passes=kernel_passes, choose=choose)
        return ImportedModel(made.module, model.name, model.input_names, model.output_names)

    def _compiled(self, variants: Sequence[ImportedModel]) -> Build:
        path = self._folder / _LIBRARY
        path.unlink(missing_ok=True)
        return build(joined(variants), path, self._options, passes=lambda order: [], workers=self._workers)

    def _write_inputs(self, made: Build) -> None:
        assert made.signature is not None
        bounds = {spec.name: _INPUT_BOUND for spec in made.signature.inputs}
        np.savez(self._inputs, **random_inputs(made.signature.inputs, self._seed, bounds))  # type: ignore[arg-type]  # numpy takes names

    def _measured(self, made: Build, trials: Sequence[Trial], seconds: float) -> Measured:
        assert made.path is not None
        return measure(
            made.path,
            self._inputs,
            self._folder,
            trials,
            threads=self._options.threads or 0,
            seconds=seconds,
            rtol=RTOL_OF_PRECISION[made.precision],
        )

    def _steps(self, made: Build, key: str, variant: int) -> list[tuple[int, int]]:
        """The steps of a variant with the calls of their kernels in the model."""
        signature = made.signature
        assert signature is not None
        calls = {
            name_in(variant, name): piece.calls
            for piece in self.excerpt.pieces
            if piece.workload == key
            for name in piece.names
        }
        found = [
            (number, next((calls[name] for name in step.sources if name in calls), 0))
            for number, step in enumerate(signature.steps)
        ]
        return [(number, count) for number, count in found if count]


def _in_turns(keys: Sequence[str]) -> list[int]:
    """The places of candidates, in an order that has one of every workload before another one of any."""
    seen: dict[str, int] = {}
    turns = []
    for place, key in enumerate(keys):
        seen[key] = seen.get(key, 0) + 1
        turns.append((seen[key], place))
    return [place for _, place in sorted(turns)]
