"""Recipes are read as they were written, and what is wrong in them is named with its place."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tilewright.compiler.recipes.files import read_recipe, write_recipe
from tilewright.compiler.recipes.recipe import (
    BalanceEntry,
    FloatEntry,
    ModelIdentity,
    PrecisionEntry,
    Recipe,
    TensorEntry,
    WeightsEntry,
)
from tilewright.errors import RecipeError, UnsupportedVersionError

RECIPE = Recipe(
    ModelIdentity("net", "ab"),
    {"x": TensorEntry(8, 0.02, -3, (-2.5, 2.6), "mse", "because"), "y/é": TensorEntry(4, 1.5, 0)},
    {
        "a": {"weights": WeightsEntry(4, "tensor")},
        "b": {"weights": WeightsEntry(), "float": FloatEntry("asked for")},
        "c": {"precision": PrecisionEntry("bf16")},
    },
)


X = {"bits": 8, "scale": 0.1, "zero_point": 0}


def test_what_is_written_is_read_again(tmp_path: Path) -> None:
    arrays = {"w/0": np.arange(6, dtype="f4").reshape(2, 3), "b": np.zeros((), "f4")}
    write_recipe(Recipe(RECIPE.model, RECIPE.tensors, RECIPE.layers, arrays), tmp_path / "r.json")
    read = read_recipe(tmp_path / "r.json")

    assert (read.model, read.tensors, read.layers) == (RECIPE.model, RECIPE.tensors, RECIPE.layers)
    assert list(read.arrays) == list(arrays)
    assert all(np.array_equal(read.arrays[name], array) for name, array in arrays.items())


def test_without_arrays_there_is_one_file(tmp_path: Path) -> None:
    write_recipe(RECIPE, tmp_path / "r.json")
    assert [path.name for path in tmp_path.iterdir()] == ["r.json"]


def written(tmp_path: Path, **changes: Any) -> Path:
    write_recipe(RECIPE, tmp_path / "r.json")
    data = json.loads((tmp_path / "r.json").read_text())
    (tmp_path / "r.json").write_text(json.dumps({**data, **changes}))
    return tmp_path / "r.json"


@pytest.mark.parametrize(
    ("changes", "what", "where"),
    [
        ({"format": "other"}, "no recipe", "r.json"),
        ({"extra": 1}, "'extra' is not known", "r.json"),
        ({"tensors": {"x": {"bits": 8, "scale": 0.1}}}, "'zero_point' is missing", "tensor 'x'"),
        ({"tensors": {"x": {"bits": 8, "scale": -1, "zero_point": 0}}}, "-1 is no value of 'scale'", "tensor 'x'"),
        ({"tensors": {"x": {"bits": 8, "scale": 10**400, "zero_point": 0}}}, "no value of 'scale'", "tensor 'x'"),
        ({"tensors": {"x": {"bits": 8, "scale": 1e300, "zero_point": 0}}}, "1e.300 is no value of", "tensor 'x'"),
        ({"tensors": {"x": {"bits": 8, "scale": 1e-46, "zero_point": 0}}}, "1e-46 is no value of", "tensor 'x'"),
        ({"tensors": {"x": {**X, "range": [-1e39, 1]}}}, "no value of 'range'", "tensor 'x'"),
        ({"balance": {"x": {"factors": [1, 1e39]}}}, "no value of 'factors'", "balance of 'x'"),
        ({"balance": {"x": {"factors": [1, 1e-42]}}}, "no value of 'factors'", "balance of 'x'"),
        ({"tensors": {"x": {"bits": True, "scale": 1, "zero_point": 0}}}, "True is no value of 'bits'", "tensor 'x'"),
        ({"tensors": {"x": {"bits": 8, "scale": 1, "zero_point": 200}}}, "200 is no value", "tensor 'x'"),
        ({"tensors": []}, "an object in braces", "tensors"),
        ({"layers": {"a": {"wieghts": {}}}}, "'wieghts' is not known", "layer 'a'"),
        ({"layers": {"a": {"weights": {"granularity": "row"}}}}, "'row' is no value", "layer 'a': weights"),
        ({"arrays": {"file": "none.npz", "names": ["w"]}}, "arrays is missing", "none.npz"),
    ],
)
def test_what_is_wrong_is_named(tmp_path: Path, changes: dict[str, Any], what: str, where: str) -> None:
    with pytest.raises(RecipeError, match=what) as caught:
        read_recipe(written(tmp_path, **changes))
    assert where in str(caught.value.where)


def test_files_that_are_no_recipes(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="no such recipe"):
        read_recipe(tmp_path / "none.json")
    for text in ("{", '{"a": 1, "a": 2}', '{"format": NaN}', "[" * 100_000):
        (tmp_path / "bad.json").write_text(text)
        with pytest.raises(RecipeError, match="no JSON"):
            read_recipe(tmp_path / "bad.json")
    with pytest.raises(UnsupportedVersionError, match="version 2"):
        read_recipe(written(tmp_path, version=2))


def test_arrays_of_another_recipe_are_refused(tmp_path: Path) -> None:
    write_recipe(Recipe(arrays={"w": np.zeros(3, "f4")}), tmp_path / "r.json")
    np.savez(tmp_path / "r.arrays.npz", a0=np.ones(3, "f4"))
    with pytest.raises(RecipeError, match="not the one"):
        read_recipe(tmp_path / "r.json")


def test_arrays_for_other_factors_are_refused(tmp_path: Path) -> None:
    balance = {"c": BalanceEntry((0.1, 3.0)), "a": BalanceEntry((1 / 3,))}
    write_recipe(Recipe(arrays={"w": np.zeros(3, "f4")}, balance=balance), tmp_path / "r.json")
    data = json.loads((tmp_path / "r.json").read_text())
    data["balance"] = {name: {**data["balance"][name], "why": "edited"} for name in ("a", "c")}
    (tmp_path / "r.json").write_text(json.dumps(data))
    assert read_recipe(tmp_path / "r.json").balance["a"].factors == (1 / 3,)

    for changed in ({}, {**data["balance"], "a": {"factors": [0.5]}}):
        (tmp_path / "r.json").write_text(json.dumps({**data, "balance": changed}))
        with pytest.raises(RecipeError, match="other factors"):
            read_recipe(tmp_path / "r.json")
    del data["arrays"]
    (tmp_path / "r.json").write_text(json.dumps({**data, "balance": {}}))
    assert not read_recipe(tmp_path / "r.json").arrays


def test_samples_of_the_same_name_stay(tmp_path: Path) -> None:
    np.savez(tmp_path / "r.npz", x=np.ones(3, "f4"))
    write_recipe(Recipe(arrays={"w": np.zeros(3, "f4")}), tmp_path / "r.json")
    np.testing.assert_array_equal(np.load(tmp_path / "r.npz")["x"], np.ones(3, "f4"))
    np.testing.assert_array_equal(read_recipe(tmp_path / "r.json").arrays["w"], np.zeros(3, "f4"))
