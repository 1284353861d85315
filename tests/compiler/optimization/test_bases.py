"""A network that lost channels, and treatments of its layers: the recipe of both computes what either loses."""

from __future__ import annotations

from contextlib import closing
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from command_line import DIGITS
from tilewright import frontends
from tilewright.compiler.calibration.tapped import workshop_of
from tilewright.compiler.evaluation.metrics import relative_error
from tilewright.compiler.optimization.attempt import Outcome, Study, attempt
from tilewright.compiler.optimization.bases import base_of, bases_of
from tilewright.compiler.optimization.candidate import Candidate, Parts
from tilewright.compiler.optimization.data import data_of
from tilewright.compiler.optimization.database import Database
from tilewright.compiler.optimization.survey import parts_of, survey
from tilewright.compiler.optimization.treatments import FLOAT, KINDS, TREATMENTS
from tilewright.compiler.optimization.workbench import workbench_of
from tilewright.compiler.options import CompileOptions
from tilewright.compiler.recipes.recipe import ModelIdentity
from tilewright.frontends.linear_layers import linear_layers

BASE = "work 50%"


def test_bases_have_names() -> None:
    assert bases_of(KINDS)[:2] == ["whole", BASE] and bases_of(("int8",)) == ["whole"]


@pytest.mark.slow
def test_a_narrower_network_of_integers(tmp_path: Path) -> None:
    opened, options = frontends.open(DIGITS), CompileOptions(threads=1)
    with np.load(DIGITS.parent / "digits_test.npz") as held:
        data = data_of([{"image": each[None]} for each in held["images"][:160]])
    treatments = [each for each in TREATMENTS if each.name in ("int8", "zeros 75%")]
    with closing(Database(tmp_path / "search", "model", "key")) as database:

        def tell(stage: str, done: int, total: int) -> None:
            pass

        with workshop_of(options, tell) as shop:
            recipe = base_of(BASE, opened, data.fitted, options, None, database, shop, tell, {})
            assert recipe is not None
            state = partial(database.place, suffix=".npz")
            bench = workbench_of(opened, recipe, data.fitted, options, None, shop, state)
            assert bench.cut and 0 < bench.lost < 0.25
            survey(bench, BASE, [FLOAT, *treatments], database)
        treated = {name: {row.layer for row in database.rows.values() if row.treatment == name} for name in KINDS}
        layers = {layer.name: layer for layer in linear_layers(opened)}
        parts = Parts(opened, layers, {BASE: recipe}, parts_of(database))
    assert len(treated["int8"]) >= 3
    touched = {name for name, layer in layers.items() if layer.hint in bench.cut}
    assert not {row.layer for row in database.rows.values() if row.treatment == "zeros 75%"} & touched

    study = Study("narrow", DIGITS.read_bytes(), options, data.held, 0.1)
    exact = attempt(study, None)

    def outcome(candidate: Candidate) -> Outcome:
        made = attempt(study, replace(parts.recipe(candidate), model=ModelIdentity()))
        assert not made.failed
        return made

    narrow = outcome(Candidate(BASE))
    both = outcome(Candidate(BASE).treating(dict.fromkeys(treated["int8"], "int8"), list(layers)))
    lost, lost_by_both = (relative_error(each.outputs, exact.outputs) for each in (narrow, both))
    assert narrow.bytes < 0.7 * exact.bytes and both.bytes < 0.7 * narrow.bytes
    assert relative_error(both.outputs, narrow.outputs) < 0.1 and lost_by_both < lost + 0.05
    assert both.ratio < narrow.ratio < 0.9
