"""Channels, zeros, ranks and distillation in one recipe: a library of it computes what the samples showed."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tilewright
from pruned_network import network, samples, told
from tilewright import frontends
from tilewright.compiler.compression.prune import prune
from tilewright.compiler.compression.pruning import Pruned, Pruning
from tilewright.compiler.options import CompileOptions
from tilewright.compiler.recipes.files import read_recipe, write_recipe
from tilewright.compiler.recipes.recipe import KeepEntry, RankEntry, Recipe, SparsityEntry

MODELS = Path(__file__).parents[2] / "models"
ONE = CompileOptions(threads=1)
# Layers of a cut network: "middle" is convolved, "hidden" multiplied.
TOGETHER = Pruning(
    channels=0.5,
    round_to=4,
    low_rank=0.3,
    weights=0.5,
    pattern="4x1",
    layers=("stem", "middle", "hidden"),
    distill=True,
    epochs=20,
)


@cache
def together() -> Pruned:
    return prune(frontends.open(network()), samples(), TOGETHER, ONE, told)


@cache
def outputs(recipe: Path | None) -> Any:
    library = tilewright.compile(network(), threads=1, recipe=recipe)
    return np.stack([library.run(sample)["y"].astype(np.float64) for sample in samples()])


def test_a_recipe_has_all_of_it(tmp_path: Path) -> None:
    found = together()
    write_recipe(found.recipe, tmp_path / "recipe.json")

    whole, changed = outputs(None), outputs(tmp_path / "recipe.json")
    error = np.linalg.norm(changed - whole) / np.linalg.norm(whole)

    recipe = read_recipe(tmp_path / "recipe.json")
    assert {"stem", "middle", "hidden"} == set(recipe.entries(KeepEntry))
    assert set(recipe.entries(SparsityEntry)) | set(recipe.entries(RankEntry)) >= {"middle", "hidden"}
    assert error == pytest.approx(found.errors["distilled"], rel=1e-3)
    assert {"w0", "b0", "w3", "b3", "scale"} <= set(recipe.arrays), "norms learn, and layers that lost nothing"
    assert list(found.errors) == ["pruned", "reconstructed", "by magnitude", "adjusted", "distilled"]
    assert found.errors["distilled"] < found.errors["adjusted"] < found.errors["by magnitude"]
    middle = found.layers["middle"]
    assert middle.made["channels"] == [32, 16] and middle.weights[1] <= 0.3 * middle.weights[0]


def test_zeros_stay_where_pruning_made_them() -> None:
    found = together()
    weights = {"middle": "w1", "hidden": "w2"}

    sparse = weights.keys() & found.recipe.entries(SparsityEntry)
    assert sparse
    for layer in sparse:
        kept = found.recipe.layers[layer]["keep_channels"].channels
        array = found.recipe.arrays[weights[layer]][list(kept)]
        assert (array == 0).mean() >= 0.7, "half of the inputs are cut, and half of the others' weights"


def test_without_samples_a_recipe_says_what_goes() -> None:
    asked = Pruning(channels=0.5, round_to=4, weights=0.5, pattern="4x1", criterion="magnitude", recover=False)
    found = prune(frontends.open(network()), (), asked, CompileOptions(), told)

    assert not found.recipe.arrays
    assert set(found.recipe.layers["middle"]) == {"keep_channels", "sparsity"}
    assert tilewright.compile(network(), threads=1, recipe=found.recipe).run(samples(1)[0])["y"].shape == (1, 4)


def test_heads_go_and_other_channels_stay() -> None:
    asked = Pruning(heads=0.5, criterion="magnitude", recover=False)
    opened = frontends.open(str(MODELS / "vit.onnx"))
    found = prune(opened, (), asked, CompileOptions(), told)

    changed = [layer.made["channels"] for layer in found.layers.values()]
    assert any(after < before for before, after in changed)
    heads = list(found.recipe.entries(KeepEntry))
    both = prune(opened, (), Pruning(heads=0.5, channels=0.25, criterion="magnitude", recover=False), ONE, told)
    assert set(heads) < set(both.recipe.entries(KeepEntry))
    assert all(both.recipe.layers[name] == found.recipe.layers[name] for name in heads)
    assert tilewright.compile(opened, threads=1, recipe=Recipe(layers=found.recipe.layers)).outputs
