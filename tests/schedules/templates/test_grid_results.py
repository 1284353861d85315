"""Windows, group norms, interpolations and recurrent layers on grids: what may be chosen, and what is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from cuda_emulation import Emulation, emulated_driver, emulation
from grid_cases import GPU, Case, check, convolved, of_processors, picking, result_cases
from kernel_runner import Runner, random
from tilewright.schedules.templates.grid_results import windows_default
from tilewright.schedules.templates.grid_table import GRID_TEMPLATES
from tilewright.schedules.templates.group_norm import Groups
from tilewright.schedules.templates.interpolation import Interpolation
from tilewright.schedules.templates.keys import key_of
from tilewright.schedules.templates.table import WINDOW
from tilewright.schedules.templates.template import Chooser, Decision
from tilewright.schedules.templates.window_choice import Windows
from tilewright.schedules.tuner.records import Record, best, fingerprint, recorded
from tvm import tirx

__all__ = ["emulated_driver", "emulation"]  # fixtures
DEPTHWISE = convolved(random(1, 9, 10, 37), random(37, 3, 3, 1, seed=1), stride=2, groups=37, template="window")
CASES = [DEPTHWISE, *(of_processors(case) for case in result_cases())]
OF_RESULTS = [case for case in CASES if case.template != "recurrent"]
WORKLOADS = [
    Windows((1, 37), (100, 100)),
    Windows((1, 56, 56, 144), (3, 3), (1, 1), (1, 1), True),
    Groups(2, 4096, 320, 32, "float32"),
    Interpolation((1, 128, 128, 64), 1, 4, 32),
]


@pytest.mark.parametrize("number", [1, 3, 5, 7])
def test_a_sampled_choice(emulation: Emulation, number: int) -> None:
    check(Runner(), CASES[number], seed=number)


@pytest.mark.parametrize("case", OF_RESULTS, ids=lambda case: case.template)
def test_each_choice_is_another_kernel(case: Case) -> None:
    picked: list[Decision[Any, Any]] = []
    spaces: list[list[Any]] = []

    def scheduled(pick: Callable[[Any, Any], Any]) -> tuple[str, ...]:
        module = Runner().scheduled(
            case.build, *case.inputs, target=GPU, templates=GRID_TEMPLATES, choose=picking(case, pick, picked)
        )
        return tuple(str(each.body) for each in module.functions.values() if isinstance(each, tirx.PrimFunc))

    scheduled(lambda space, default: spaces.append(space) or default)
    kernels = [scheduled(lambda space, _, at=at: space[at]) for at in range(len(spaces[0]))]
    assert len(kernels) > 1 and len(set(kernels)) == len(kernels)


@pytest.mark.parametrize("workload", WORKLOADS)
def test_estimates_tell_choices_apart(workload: Any) -> None:
    (template,) = (each for each in GRID_TEMPLATES if each.takes(workload, GPU))
    space = list(template.space(workload, GPU))
    estimates = [template.estimate(workload, each, GPU) for each in space]

    # Threads more of a multiprocessor that is idle cost nothing.
    assert len(set(estimates)) > len(space) / 2
    assert template.estimate(workload, template.default(workload, GPU), GPU) < 1.1 * min(estimates)


def test_long_windows_are_cut_into_parts_and_short_ones_are_not() -> None:
    assert windows_default(Windows((1, 37), (112, 112)), GPU).parts > 1
    assert windows_default(Windows((1, 2048), (7, 7)), GPU).parts == 1
    assert windows_default(Windows((512, 2048), (12, 12)), GPU).parts == 1


def test_choices_of_processors_are_not_those_of_grids() -> None:
    """What was recorded before is read, and the default takes its place."""
    workload = Windows((1, 9, 10, 37), (3, 3), (1, 1), (1, 1))
    old = WINDOW.default(workload, replace(GPU, grid=None))
    record = Record(key_of(workload), WINDOW.name, str(old), 1e-3, 0.5, fingerprint(GPU), 1)
    decide = Chooser(GPU, GRID_TEMPLATES, recorded(best([record], GPU, 1)))

    assert decide(workload).choice == windows_default(workload, GPU)
