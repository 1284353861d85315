"""From a model and samples to a recipe, and a library of it: half of the work goes, and the outputs stay close."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tilewright
from command_line import DIGITS
from pruned_network import OTHER_READERS, network, samples, told
from tilewright import frontends
from tilewright.compiler.compression.distill import norm_parameters
from tilewright.compiler.compression.prune import prune
from tilewright.compiler.compression.pruning import Pruned, Pruning
from tilewright.compiler.compression.weight_homes import weight_homes
from tilewright.compiler.options import CompileOptions
from tilewright.compiler.recipes.files import read_recipe, write_recipe
from tilewright.compiler.recipes.recipe import DropEntry, KeepEntry, Recipe
from tilewright.errors import CutError, RecipeError, UsageError
from tilewright.ir_passes.compression.channel_graph import channel_graph


@pytest.fixture(scope="module")
def pruned() -> Pruned:
    return prune(frontends.open(network()), samples(), Pruning(work=0.5, round_to=4), CompileOptions(), told)


def test_half_of_the_work_goes_and_recovery_makes_up_for_it(pruned: Pruned) -> None:
    assert pruned.flops[1] <= 0.5 * pruned.flops[0]
    assert pruned.weights[1] < pruned.weights[0]
    assert pruned.layers and all(layer.made["channels"][1] % 4 == 0 for layer in pruned.layers.values())
    assert pruned.errors["reconstructed"] < pruned.errors["pruned"] / 3
    assert pruned.agreement["reconstructed"] > pruned.agreement["pruned"]


def test_the_library_computes_what_the_samples_showed(pruned: Pruned, tmp_path: Path) -> None:
    place = tmp_path / "half.json"
    write_recipe(pruned.recipe, place)
    recipe = read_recipe(place)
    whole = tilewright.compile(network(), threads=1)
    half = tilewright.compile(network(), threads=1, recipe=recipe)

    results = [(whole.run(sample)["y"].astype(np.float64), half.run(sample)["y"]) for sample in samples()]
    error = np.sqrt(sum(((a - b) ** 2).sum() for a, b in results) / sum((a**2).sum() for a, _ in results))

    assert error == pytest.approx(pruned.errors["reconstructed"], rel=1e-3)
    assert half.signature.weights_bytes < whole.signature.weights_bytes
    assert recipe.entries(KeepEntry) == pruned.recipe.entries(KeepEntry)
    assert "\n    " not in place.read_text().split('"keep_channels": [')[1].split("]")[0]


def test_biases_are_found_wherever_they_are_added() -> None:
    opened = frontends.open(network())

    homes = weight_homes(opened, channel_graph(frontends.load(opened).module).layers)

    found = {name: (home.bias, home.inside, home.transposed, home.fits) for name, home in homes.items()}
    assert found == {
        "stem": ("b0", True, False, True),
        "middle": ("shift", False, False, True),
        "hidden": ("b2", True, True, True),
        "head": ("b3", False, False, True),
    }


@pytest.mark.parametrize("read", OTHER_READERS)
def test_weights_that_others_share_stay(read: Any) -> None:
    proto = network()
    for name in ("w1", "b0", "b3"):
        read(proto, name)
    opened = frontends.open(proto)

    homes = weight_homes(opened, channel_graph(frontends.load(opened).module).layers)

    assert "middle" not in homes
    assert (homes["stem"].bias, homes["stem"].fits) == ("", False)
    assert homes["head"].bias == ""


@pytest.mark.parametrize("read", OTHER_READERS)
def test_norms_that_others_share_learn_nothing(read: Any) -> None:
    proto = network()
    read(proto, "scale")
    assert norm_parameters(frontends.open(network())) == {"scale": "", "shift": "n1"}
    assert norm_parameters(frontends.open(proto)) == {"shift": "n1"}


@pytest.mark.parametrize("asked", [Pruning(channels=0.5), Pruning(weights=0.5), Pruning(low_rank=0.5)])
@pytest.mark.parametrize("read", OTHER_READERS)
def test_what_others_read_is_no_other_by_a_recipe(read: Any, asked: Pruning) -> None:
    proto = network()
    for name in ("w2", "b2", "shift"):
        read(proto, name)

    found = prune(frontends.open(proto), samples(8), asked, CompileOptions(), told)

    assert found.recipe.arrays and not {"w2", "b2", "shift"} & found.recipe.arrays.keys()


@pytest.mark.parametrize(
    ("layers", "told"),
    [
        ({"head": {"keep_channels": KeepEntry((0, 1))}}, "an output of the model"),
        ({"relu1": {"keep_channels": KeepEntry((0, 1))}}, "no layer of the model has this name"),
        ({"middle": {"drop": DropEntry(True)}}, "in no residual branch"),
    ],
)
def test_recipes_that_ask_too_much_are_refused(layers: Any, told: str, tmp_path: Path) -> None:
    with pytest.raises(CutError, match=told):
        tilewright.compile(network(), threads=1, recipe=replace(Recipe(), layers=layers))


@pytest.mark.parametrize(
    ("section", "told"),
    [
        ({"keep_channels": [2, 1]}, "in order"),
        ({"keep_channels": []}, "a list of numbers"),
        ({"keep_channels": [True]}, "a list of numbers"),
        ({"drop": 1}, "true or false"),
    ],
)
def test_sections_are_checked_where_they_are_read(section: Any, told: str, tmp_path: Path) -> None:
    place = tmp_path / "recipe.json"
    place.write_text(json.dumps({"format": "tilewright-recipe", "version": 1, "layers": {"stem": section}}))

    with pytest.raises(RecipeError, match="stem") as raised:
        read_recipe(place)
    assert told in str(raised.value)


def test_only_layers_that_are_named_lose_channels() -> None:
    asked = Pruning(channels=0.5, layers=("hidden",), criterion="magnitude", recover=False)
    found = prune(frontends.open(network()), (), asked, CompileOptions(), told)

    assert list(found.recipe.layers) == ["hidden"] and found.layers["hidden"].made == {"channels": [32, 16]}
    assert list(found.layers) == ["hidden", "head"], "which reads fewer"
    with pytest.raises(CutError, match="these layers"):
        prune(frontends.open(network()), (), replace(asked, layers=("head",)), CompileOptions(), told)
    with pytest.raises(UsageError, match="no layer 'nowhere'"):
        prune(frontends.open(network()), (), replace(asked, layers=("nowhere",)), CompileOptions(), told)


@pytest.mark.slow
def test_digits_lose_half_of_their_work_and_none_of_their_meaning(tmp_path: Path) -> None:
    sklearn = pytest.importorskip("sklearn.datasets")
    test = np.load(DIGITS.with_name("digits_test.npz"))
    held_out = {image.tobytes() for image in test["images"]}
    images = [each[None, None] for each in (sklearn.load_digits().images / 16).astype(np.float32)]
    given = [{"image": image} for image in images if image.tobytes() not in held_out]
    opened = frontends.open(str(DIGITS))
    asked = Pruning(work=0.5, round_to=16, samples=300, distill=True)

    def right(recipe: Recipe | None) -> float:
        library = tilewright.compile(str(DIGITS), threads=1, recipe=recipe)
        guesses = [library.run({"image": image[None]})["logits"].argmax() for image in test["images"]]
        return float((np.array(guesses) == test["labels"]).mean())

    one = CompileOptions(threads=1)
    recovered = prune(opened, given, asked, one, told)
    pruned = prune(opened, given, replace(asked, recover=False, distill=False), one, told)

    lost = {name: right(None) - right(each.recipe) for name, each in (("with", recovered), ("without", pruned))}
    assert recovered.flops[1] <= 0.5 * recovered.flops[0]
    assert list(recovered.errors) == ["pruned", "reconstructed", "distilled"]
    assert recovered.errors["distilled"] < recovered.errors["reconstructed"]
    assert lost["with"] <= 0.005
    assert lost["without"] >= 3 * max(lost["with"], 0.01)
