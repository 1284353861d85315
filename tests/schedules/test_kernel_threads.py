"""How many threads share a kernel: from the choice by the plan to the library, which gives the same bits always."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from emitted_models import built
from tilewright import targets
from tilewright.compiler.library.artifact import load
from tilewright.schedules.legalize import legalize
from tilewright.schedules.schedule import schedule_module
from tilewright.schedules.templates.table import TEMPLATES
from tilewright.schedules.templates.template import Chooser, Decision, choose_default
from tvm import relax

CORES = 8


def softmax(rows: int) -> Any:
    """A module that takes the softmax of so many rows of 700."""
    builder = relax.BlockBuilder()
    x = relax.Var("x", relax.TensorType((rows, 700), "float32"))
    with builder.function("main", [x]):
        with builder.dataflow():
            result = builder.emit_output(relax.Tuple([builder.emit(relax.op.nn.softmax(x))]))
        builder.emit_func_output(result)
    return builder.get()


@pytest.mark.parametrize(("rows", "chosen", "sharing"), [(300, 4, 4), (300, 8, 8), (300, 1, 1), (3, 8, 3), (1, 8, 1)])
def test_as_many_as_the_choice_says_and_there_are_iterations(
    rows: int, chosen: int, sharing: int, tmp_path: Path
) -> None:
    def choose(templates: Any, workload: Any, target: Any) -> Decision[Any, Any]:
        decision = choose_default(templates, workload, target)
        return replace(decision, choice=replace(decision.choice, threads=chosen))

    target = targets.parse("host", cores=CORES)
    decide = Chooser(target, TEMPLATES, choose)
    module = schedule_module(legalize(softmax(rows), decide), decide)
    emitted = built(module, tmp_path / "net.so", outputs=["y"], target=target)
    assert [kernel.threads for kernel in emitted.plan.kernels] == [sharing]

    x = np.random.default_rng(1).standard_normal((rows, 700), dtype=np.float32)
    model = load(emitted.path)
    results = []
    for threads in (1, 2, 3, 4, 7, 8, 16, 64):
        model.set_num_threads(threads)
        results.append(model.run({"x": x})["y"].tobytes())
    assert len(set(results)) == 1
