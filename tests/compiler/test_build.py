"""build: it stops after any stage, starts from a module too, and takes another chooser, other passes, taps."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from small_models import swish_network
from tilewright import frontends, targets
from tilewright.compiler.build import STAGES, build
from tilewright.compiler.library import artifact
from tilewright.compiler.options import CompileOptions
from tilewright.errors import UsageError
from tilewright.frontends.taps import exposed
from tilewright.schedules.templates.contraction import Workload
from tilewright.schedules.templates.template import Decision, Template, choose_default

ONE = CompileOptions(threads=1, jobs=1)
MADE = {"import": "imported", "passes": "module", "lower": "lowered", "plan": "plan", "generate": "header"}


@pytest.mark.parametrize("stage", STAGES)
def test_it_stops_after_any_stage(stage: str, tmp_path: Path) -> None:
    made = build(swish_network(), tmp_path / "net.so" if stage == STAGES[-1] else None, ONE, stop_after=stage)

    ran = STAGES[: STAGES.index(stage) + 1]
    assert {each: getattr(made, MADE[each]) is not None for each in STAGES} == {each: each in ran for each in STAGES}
    assert (tmp_path / "net.so").exists() == (stage == STAGES[-1])


def test_a_library_needs_a_place() -> None:
    with pytest.raises(UsageError, match="no place"):
        build(swish_network(), None, ONE)


@pytest.mark.parametrize("options", [{"threads": "2"}, {"threads": 1.5}, {"jobs": "x"}])
def test_numbers_are_whole(options: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match="no whole number"):
        CompileOptions(**options)


def test_numbers_may_be_of_numpy() -> None:
    assert CompileOptions(threads=np.int64(2), jobs=np.int32(1)).threads == 2


def test_a_stage_that_there_is_not() -> None:
    with pytest.raises(UsageError, match="no stage 'lowr'"):
        build(swish_network(), None, ONE, stop_after="lowr")


def test_it_goes_on_from_a_module(tmp_path: Path) -> None:
    half = build(swish_network(), None, ONE, stop_after="passes")
    assert half.imported is not None
    whole = build(replace(half.imported, module=half.module), tmp_path / "a.so", ONE, passes=lambda order: [])
    direct = build(swish_network(), tmp_path / "b.so", replace(ONE, name="a"))

    assert whole.plan == direct.plan and whole.signature == direct.signature
    assert (tmp_path / "a.so").read_bytes() == (tmp_path / "b.so").read_bytes()


def test_all_stages_hear_of_one_number_of_cores() -> None:
    three = build(swish_network(), None, CompileOptions("x86_64-linux-gnu", threads=3), stop_after="plan")
    given = build(swish_network(), None, CompileOptions(targets.parse("host", cores=3)), stop_after="plan")

    assert three.target.cores == given.target.cores == 3
    assert three.lowered is not None and {batch.target.cores for batch in three.lowered.batches} == {3}


def test_options_change_passes(tmp_path: Path) -> None:
    def functions(*edits: str) -> int:
        made = build(swish_network(), None, replace(ONE, passes=edits), stop_after="plan")
        assert made.plan is not None
        return len(made.plan.kernels)

    assert functions("fuse_epilogues{max_calls=1}") > functions()
    with pytest.raises(UsageError, match="no pass 'fuse_all'"):
        functions("-fuse_all")


def test_another_chooser(tmp_path: Path) -> None:
    def narrow(templates: Sequence[Template[Any, Any]], workload: Any, target: targets.Target) -> Decision[Any, Any]:
        decision = choose_default(templates, workload, target)
        if not isinstance(workload, Workload):
            return decision
        choices = decision.template.space(workload, target)
        return replace(decision, choice=min(choices, key=lambda choice: (choice.vectors, choice.rows)))

    usual = build(swish_network(), tmp_path / "usual.so", ONE)
    chosen = build(swish_network(), tmp_path / "chosen.so", ONE, choose=narrow)

    x = np.random.default_rng(1).standard_normal((4, 16)).astype(np.float32)
    results = [artifact.load(each.path)(x) for each in (usual, chosen) if each.path is not None]
    np.testing.assert_allclose(results[0], results[1], rtol=1e-5, atol=1e-6)
    assert usual.path is not None and chosen.path is not None
    assert usual.path.read_bytes() != chosen.path.read_bytes()


def test_taps(tmp_path: Path) -> None:
    build(swish_network(), tmp_path / "net.so", ONE, prepared=partial(exposed, names=["a", "b"]))

    library = artifact.load(tmp_path / "net.so")
    assert [spec.name for spec in library.outputs][:2] == ["a", "b"]
    x = np.random.default_rng(1).standard_normal(library.inputs[0].shape).astype(np.float32)
    outputs = library.run({library.inputs[0].name: x})
    np.testing.assert_allclose(outputs["b"], np.tanh(outputs["a"]), atol=1e-6)
    assert frontends.open(swish_network()).proto.graph.output[0].name not in ("a", "b")
