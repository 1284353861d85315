"""Recipes of zeros and of low rank: from a model and samples, by file, to a library that computes what they say."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import tilewright
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from small_models import model, node
from tilewright import frontends, targets
from tilewright.annotations import TEMPLATE
from tilewright.compiler.build import build
from tilewright.compiler.compression.costs import cycles_on
from tilewright.compiler.compression.prune import prune
from tilewright.compiler.compression.pruning import Pruned, Pruning
from tilewright.compiler.options import CompileOptions
from tilewright.compiler.recipes.files import read_recipe, write_recipe
from tilewright.compiler.recipes.recipe import RankEntry, Recipe, SparsityEntry
from tilewright.compiler.runners.local import LocalRunner
from tilewright.errors import CutError, RecipeError, UsageError
from tilewright.frontends.replaced_weights import with_weights
from tilewright.ir_passes.compression.factorize import Product
from tvm import tirx

SHAPE = (2, 16, 9, 8)


def correlated(count: int) -> Any:
    """Samples whose channels depend on each other, as those of images do."""
    generator = np.random.default_rng(5)
    mixed = generator.standard_normal((count, 2, 5, 9, 8)), generator.standard_normal((5, 16))
    noise = 0.2 * generator.standard_normal((count, *SHAPE))
    return (np.einsum("nbrhw,rc->nbchw", *mixed) + noise).astype("float32")


@cache
def network() -> Any:
    generator = np.random.default_rng(3)
    low = generator.standard_normal((48, 6)) @ generator.standard_normal((6, 96)) / np.sqrt(6 * 48)
    weights = {
        "w0": generator.standard_normal((48, 16, 3, 3)) / 12,
        "b0": generator.standard_normal(48),
        "w1": generator.standard_normal((48, 48, 1, 1)) / 7,
        "w2": (low + 1e-4 * generator.standard_normal(low.shape)).T,
        "b2": generator.standard_normal(96),
        "w3": generator.standard_normal((96, 10)) / 10,
    }
    return model(
        [
            node("Conv", ["x", "w0", "b0"], "c0", "first", pads=[1, 1, 1, 1]),
            node("Relu", ["c0"], "r0", "relu0"),
            node("Conv", ["r0", "w1"], "c1", "second"),
            node("Relu", ["c1"], "r1", "relu1"),
            node("GlobalAveragePool", ["r1"], "g", "mean"),
            node("Flatten", ["g"], "f", "flat"),
            node("Gemm", ["f", "w2", "b2"], "d", "third", transB=1),
            node("MatMul", ["d", "w3"], "y", "head"),
        ],
        {"x": ("float32", SHAPE)},
        {"y": ("float32", (2, 10))},
        {name: array.astype("float32") for name, array in weights.items()},
    )


@cache
def pruned(asked: Pruning, samples: int = 24) -> Pruned:
    opened = frontends.open(network(), frontends.Request())
    given = [{"x": each} for each in correlated(samples)]
    return prune(opened, given, asked, CompileOptions(threads=1), lambda *_: None)


def by_onnxruntime(recipe: Recipe, x: Any) -> Any:
    """What the model with the recipe's weights computes."""
    changed = with_weights(frontends.open(network(), frontends.Request()), recipe.arrays).proto
    session = onnxruntime.InferenceSession(changed.SerializeToString())
    return session.run(None, {"x": x})[0]


def compiled(recipe: Recipe | Path | None) -> Any:
    return tilewright.compile(network(), recipe=recipe, threads=1)


def templates_of(recipe: Recipe) -> list[str]:
    module = build(network(), None, CompileOptions(recipe=recipe, threads=1), stop_after="passes").module
    functions = [each for each in module.functions.values() if isinstance(each, tirx.PrimFunc)]
    return [str(TEMPLATE.of(function)) for function in functions]


SMALLEST = Pruning(weights=0.9, criterion="magnitude", recover=False)
BLOCKS = Pruning(weights=0.6, pattern="16x1")


def test_the_zeros_of_a_recipe_are_in_the_library(tmp_path: Path) -> None:
    found = pruned(BLOCKS)
    write_recipe(found.recipe, tmp_path / "recipe.json")
    x = correlated(1)[0]

    recipe = read_recipe(tmp_path / "recipe.json")
    actual = compiled(tmp_path / "recipe.json").run({"x": x})["y"]

    expected = by_onnxruntime(recipe, x)
    assert np.abs(actual - expected).max() < 2e-5 * np.abs(expected).max()
    assert list(recipe.layers) == ["first", "second", "third"], "the head is small"
    for name, weights in (("first", "w0"), ("second", "w1"), ("third", "w2")):
        entry = recipe.layers[name]["sparsity"]
        assert entry.pattern == "16x1" and 0.57 < entry.rate <= 0.6
        assert (recipe.arrays[weights] == 0).mean() == pytest.approx(entry.rate, abs=1e-6)


def test_weights_that_are_adjusted_lose_less() -> None:
    found = pruned(BLOCKS)

    assert found.errors["adjusted"] < 0.7 * found.errors["by magnitude"]
    for each in found.layers.values():
        assert each.errors["adjusted"] < each.errors["by magnitude"]
        assert each.weights[1] == pytest.approx(each.weights[0] * 0.4, rel=0.03)


def test_the_criterion_chooses_and_recovery_adjusts() -> None:
    """Each does something without the other, and both together do most."""
    asked = {
        "both": BLOCKS,
        "criterion": replace(BLOCKS, recover=False),
        "recovery": replace(BLOCKS, criterion="magnitude"),
    }
    found = {name: pruned(each) for name, each in asked.items()}
    both, chosen, adjusted = found.values()

    dropped = both.errors["by magnitude"]
    assert both.errors["adjusted"] < min(chosen.errors["by second order"], adjusted.errors["adjusted"])
    assert chosen.errors["by second order"] < dropped and adjusted.errors["adjusted"] < dropped
    own = onnx.numpy_helper.to_array(next(each for each in network().graph.initializer if each.name == "w1"))
    kept = chosen.recipe.arrays["w1"]
    np.testing.assert_allclose(kept, np.where(kept == 0, 0, own), rtol=1e-6)


def test_layers_that_gain_nothing_by_a_lower_rank_get_zeros() -> None:
    found = pruned(Pruning(low_rank=0.02, weights=0.6, pattern="16x1"))

    sections = {name: list(each) for name, each in found.recipe.layers.items()}
    assert sections == {"first": ["sparsity"], "second": ["sparsity"], "third": ["rank"]}
    assert np.linalg.matrix_rank(found.recipe.arrays["w2"], tol=1e-4) <= 6
    x = correlated(1)[0]
    expected = by_onnxruntime(found.recipe, x)
    assert np.abs(compiled(found.recipe).run({"x": x})["y"] - expected).max() < 2e-5 * np.abs(expected).max()
    for layer in found.layers.values():
        assert layer.flops[1] / layer.flops[0] == pytest.approx(layer.weights[1] / layer.weights[0], rel=0.01)


def test_without_samples_the_smallest_weights_go() -> None:
    found = pruned(SMALLEST.for_vectors(targets.parse("host").lanes()), samples=0)

    assert not found.recipe.arrays and set(found.layers) == {"first", "second", "third"}
    assert templates_of(found.recipe).count("sparse") == 3
    assert "sparse" not in templates_of(Recipe())


def test_a_layer_of_low_rank_is_found_and_cut() -> None:
    found = pruned(Pruning(low_rank=0.02, layers=("third",)))
    (rank,) = found.recipe.layers["third"]["rank"].ranks

    assert rank <= 6, "of the inputs there are, fewer may do"
    assert np.linalg.matrix_rank(found.recipe.arrays["w2"], tol=1e-4) == rank
    assert found.errors["factored"] < 0.05


def test_all_weights_and_full_rank_give_the_same_bytes(tmp_path: Path) -> None:
    layers = {
        "first": {"rank": RankEntry((16, 48))},
        "second": {"sparsity": SparsityEntry("unstructured", 0.0)},
        "third": {"rank": RankEntry(48)},
        "head": {"sparsity": SparsityEntry("4:4", 0.5)},
    }
    for name, recipe in (("plain", None), ("made", Recipe(layers=layers))):
        build(network(), tmp_path / f"{name}.so", CompileOptions(threads=1, name="net", recipe=recipe))

    assert (tmp_path / "plain.so").read_bytes() == (tmp_path / "made.so").read_bytes()


def test_ranks_are_cut_by_hand(tmp_path: Path) -> None:
    """And the entries come back from their file."""
    layers = {"first": {"rank": RankEntry((12, 30))}, "second": {"rank": RankEntry(40)}}
    write_recipe(Recipe(layers=layers), tmp_path / "recipe.json")

    assert read_recipe(tmp_path / "recipe.json").layers == layers
    x = correlated(1)[0]
    plain, cut = by_onnxruntime(Recipe(), x), compiled(tmp_path / "recipe.json").run({"x": x})["y"]
    assert 1e-6 < np.linalg.norm(cut - plain) / np.linalg.norm(plain) < 0.5


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"sparsity": {"pattern": "diagonal", "rate": 0.5}}', "pattern"),
        ('{"sparsity": {"pattern": "4x1", "rate": 1.0}}', "rate"),
        ('{"sparsity": {"pattern": "4x1"}}', "rate"),
        ('{"rank": 0}', "rank"),
        ('{"rank": [1, 2, 3]}', "rank"),
    ],
)
def test_entries_that_cannot_be_are_refused(text: str, message: str, tmp_path: Path) -> None:
    layers = '"layers": {"second": ' + text + "}"
    (tmp_path / "recipe.json").write_text('{"format": "tilewright-recipe", "version": 1, ' + layers + "}")

    with pytest.raises(RecipeError, match=message):
        compiled(tmp_path / "recipe.json")


def test_a_rank_and_zeros_are_refused_together() -> None:
    both = {"second": {"rank": RankEntry(4), "sparsity": SparsityEntry("4x1", 0.5)}}

    with pytest.raises(RecipeError, match="lower rank"):
        compiled(Recipe(layers=both))


def test_layers_that_there_are_not_are_refused() -> None:
    with pytest.raises(UsageError, match="no layer 'nowhere'"):
        pruned(replace(SMALLEST, layers=("nowhere",)))
    with pytest.raises(CutError):
        alone = model([node("Relu", ["x"], "y", "relu")], {"x": ("float32", (2, 3))}, {"y": ("float32", (2, 3))}, {})
        opened = frontends.open(alone, frontends.Request())
        prune(opened, [], SMALLEST, CompileOptions(), lambda *_: None)


def test_products_cost_what_templates_estimate() -> None:
    cycles = cycles_on(targets.parse("x86_64-unknown-linux-gnu", cores=1))

    whole = cycles([Product(128, 768, 768)])
    assert 1.8 < whole / cycles([Product(128, 768, 384)]) < 2.2
    assert cycles([Product(128, 64, 768), Product(128, 768, 64)]) < 0.3 * whole


@pytest.mark.slow
@pytest.mark.parametrize(("rank", "error"), [(96, 0.02), (192, 0.05)])
def test_time_follows_the_rank(rank: int, error: float) -> None:
    """A product of a rank and noise is cut to it by itself, and runs faster by the ratio of its work within 25%."""
    chance, rows, size = np.random.default_rng(0), 256, 768
    # Directions that weigh alike: what is lost without any one of them is more than the error that is allowed.
    left, right = (np.linalg.qr(chance.standard_normal((size, rank)))[0] for _ in range(2))
    low = left @ right.T * np.sqrt(size / rank)
    noise = 0.2 * error * chance.standard_normal((size, size)) / np.sqrt(size)
    shapes = {"x": ("float32", (rows, size))}, {"y": ("float32", (rows, size))}
    product = node("MatMul", ["x", "w"], "y", "product")
    made = model([product], *shapes, {"w": (low + noise).astype("float32")})
    samples = [{"x": chance.standard_normal((rows, size)).astype("float32")} for _ in range(12)]

    opened, options = frontends.open(made), CompileOptions(threads=1)
    cycles = cycles_on(targets.parse("host", cores=1))
    found = prune(opened, samples, Pruning(low_rank=error), options, lambda *_: None, cycles)
    assert found.recipe.layers["product"]["rank"].ranks == (rank,)
    assert found.errors["factored"] < error

    thin, whole = (tilewright.compile(made, recipe=recipe, threads=1) for recipe in (found.recipe, None))
    runner = LocalRunner()
    times: tuple[list[float], list[float]] = [], []
    for _ in range(15):
        for library, own in zip((thin, whole), times, strict=True):
            own.append(min(runner.time(library, samples[0], seconds=0.05)))
    assert min(times[0]) / min(times[1]) < 1.25 * (2 * rank / size)


@pytest.mark.slow
def test_digits_are_told_apart_with_half_of_the_weights() -> None:
    """Held-out images; and by magnitude alone they are not, so it is the adjustment that tells them."""
    digits = load_digits()
    images = (digits.images[:, None, None] / 16).astype("float32")
    train, test, _, wanted = train_test_split(images, digits.target, test_size=0.2, random_state=0)
    path = Path(__file__).parents[3] / "examples" / "models" / "digits_cnn.onnx"
    opened = frontends.open(path, frontends.Request())
    (name,) = (value.name for value in opened.proto.graph.input)
    right = {}
    for criterion in ("magnitude", "second-order"):
        asked = Pruning(weights=0.5, pattern="2:4", criterion=criterion, recover=criterion == "second-order")
        samples = [{name: image} for image in train[:256]]
        found = prune(opened, samples, asked, CompileOptions(threads=1), lambda *_: None)
        library = tilewright.compile(path, recipe=found.recipe, threads=1)
        told = [next(iter(library.run({name: image}).values())).argmax() for image in test]
        right[criterion] = float(np.mean(np.array(told) == wanted))

    assert right["second-order"] > 0.99
    assert 1 - right["magnitude"] > 3 * (1 - right["second-order"]) and right["magnitude"] < 0.9
