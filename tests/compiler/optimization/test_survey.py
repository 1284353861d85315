"""Treatments of layers: integers whose channels are balanced stand beside layers that are treated otherwise."""

from __future__ import annotations

from contextlib import closing
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from small_models import model, node
from tilewright import frontends
from tilewright.compiler.calibration.tapped import workshop_of
from tilewright.compiler.evaluation.metrics import relative_error
from tilewright.compiler.optimization.attempt import Study, attempt
from tilewright.compiler.optimization.candidate import WHOLE, Candidate, Parts
from tilewright.compiler.optimization.clock import TimeIsUpError
from tilewright.compiler.optimization.database import Database
from tilewright.compiler.optimization.survey import parts_of, survey
from tilewright.compiler.optimization.treatments import FLOAT, TREATMENTS
from tilewright.compiler.optimization.workbench import workbench_of
from tilewright.compiler.options import CompileOptions
from tilewright.compiler.recipes.recipe import ModelIdentity, Recipe
from tilewright.frontends.linear_layers import linear_layers

SIZE = 256
ONE = CompileOptions(threads=1)
TRIED = [FLOAT, *(each for each in TREATMENTS if each.name in ("int8", "rank within 5%"))]


def network() -> onnx.ModelProto:
    """Three products of low rank and noise; channels between them are of very unlike size."""
    chance = np.random.default_rng(2)
    scales = [np.exp(1.5 * chance.standard_normal(SIZE)) for _ in range(2)]
    thin = [chance.standard_normal((SIZE, 24)) @ chance.standard_normal((24, SIZE)) / 60 for _ in range(3)]
    noisy = [each + 0.001 * chance.standard_normal((SIZE, SIZE)) for each in thin]
    weights = {
        "w0": noisy[0] * scales[0],
        "w1": noisy[1] / scales[0][:, None] * scales[1],
        "w2": noisy[2] / scales[1][:, None],
    }
    return model(
        [
            node("MatMul", ["x", "w0"], "a", "first"),
            node("Relu", ["a"], "b", "relu"),
            node("MatMul", ["b", "w1"], "c", "second"),
            node("Relu", ["c"], "d", "relu1"),
            node("MatMul", ["d", "w2"], "y", "third"),
        ],
        {"x": ("float32", (64, SIZE))},
        {"y": ("float32", (64, SIZE))},
        {name: each.astype(np.float32) for name, each in weights.items()},
    )


def told(stage: str, done: int, total: int) -> None:
    pass


def samples(count: int) -> list[dict[str, Any]]:
    chance = np.random.default_rng(count)
    return [{"x": chance.standard_normal((64, SIZE)).astype(np.float32)} for _ in range(count)]


def test_layers_are_treated_each_in_its_own_way(tmp_path: Path) -> None:
    opened = frontends.open(network())
    with closing(Database(tmp_path / "search", "model", "key")) as database:
        state = partial(database.place, suffix=".npz")
        with workshop_of(ONE, told) as shop:
            bench = workbench_of(opened, Recipe(), samples(16), ONE, None, shop, state)
            survey(bench, WHOLE, TRIED, database)
            made = len(shop.made)
            survey(bench, WHOLE, TRIED, database)
            assert len(shop.made) == made, "what is known is not compiled again"
        layers = {layer.name: layer for layer in linear_layers(opened)}
        parts = Parts(opened, layers, recipes=parts_of(database))
        rows = dict(database.rows)
    integers = parts.recipes[WHOLE, "int8"]
    assert set(integers.balance) == {"a", "c"}, "what `quantize` finds, corrections and all"
    assert all((WHOLE, "int8", layer) in rows for layer in layers)
    assert all(rows[WHOLE, "int8", layer].error < 1e-3 for layer in layers), "less than 3% each"
    assert not (tmp_path / "search" / "int8.npz").exists(), "what was calibrated is in the recipe now"

    study = Study("key", network().SerializeToString(), ONE, tuple(samples(4)), 0.02)
    exact = attempt(study, None)
    for treated in (
        {"second": "int8"},
        {"first": "rank within 5%", "second": "int8", "third": "int8"},
        {"first": "int8", "second": "rank within 5%"},
    ):
        recipe = parts.recipe(Candidate().treating(treated, [*layers]))
        outcome = attempt(study, replace(recipe, model=ModelIdentity()))
        assert not outcome.failed and recipe.balance
        expected = sum(rows[WHOLE, how, layer].error for layer, how in treated.items()) ** 0.5
        assert relative_error(outcome.outputs, exact.outputs) < 2 * expected + 0.01, treated


def test_what_is_complete_when_time_is_over_stays(tmp_path: Path) -> None:
    opened = frontends.open(network())
    with closing(Database(tmp_path / "search", "model", "key")) as database:

        def ending(stage: str, done: int, total: int) -> None:
            if stage.startswith("errors of int8"):
                raise TimeIsUpError

        with workshop_of(ONE, ending) as shop:
            bench = workbench_of(opened, Recipe(), samples(8), ONE, None, shop, partial(database.place, suffix=".npz"))
            with pytest.raises(TimeIsUpError):
                survey(bench, WHOLE, TRIED[:2], database)
        assert {treatment for _, treatment in database.surveyed} == {"float"}
        assert database.recipe("whole int8") is not None, "it need not be calibrated again"
