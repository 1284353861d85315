"""What `verify --recipe` says of a library: whether it is as its recipe, and which layer has the fault of a bad one."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import tilewright
from quantized_digits import ALWAYS, DIGITS, OPTIONS, digits, library, quantized
from small_models import model, node
from tilewright import frontends
from tilewright.compiler.calibration.quantize import quantize
from tilewright.compiler.calibration.request import Request
from tilewright.compiler.recipe_check.check import check_quantized
from tilewright.compiler.recipes.recipe import Recipe
from tilewright.compiler.reports import quantization_check


def planted(recipe: Recipe, root: str, factor: float = 10.0) -> Recipe:
    entry = recipe.tensors[root]
    return replace(recipe, tensors={**recipe.tensors, root: replace(entry, scale=entry.scale * factor)})


@pytest.mark.parametrize("place", [2, *(pytest.param(each, marks=pytest.mark.slow) for each in (0, 1, 3, 4, 5))])
def test_a_planted_fault_is_named_first(place: int) -> None:
    images, _ = digits()
    found = quantized()
    layers = [each for each in found.layers if not each.kept_float]
    guilty = layers[place]
    faulty = planted(found.recipe, guilty.root)
    bad = tilewright.compile(DIGITS, recipe=faulty, passes=ALWAYS, threads=1)
    samples = [{"image": image[None]} for image in images[80:84]]
    opened = frontends.open(DIGITS)

    check = check_quantized(bad, opened, faulty, samples, bisect=True, options=OPTIONS)
    assert check.is_as_written
    assert check.layers[0].layer == guilty.name
    assert not any(each.kernel_is_wrong for each in check.layers)
    assert f"layer {guilty.name!r}" in "\n".join(map(str, quantization_check.tables("x.so", check)))
    good = check_quantized(library(), opened, found.recipe, samples, options=OPTIONS)
    assert good.passed and good.metrics.decibels > check.metrics.decibels + 3


def test_a_fault_is_named_before_a_layer_that_loses_more_by_itself() -> None:
    """A layer that reads the small values of a tensor alone loses much of them by the range of the large ones."""
    rng = np.random.default_rng(3)
    large = np.arange(64) < 2
    weights = {"v": rng.standard_normal((64, 64)) * ~large[:, None], "w": rng.standard_normal((64, 64)) / 8}
    nodes = [
        node("MatMul", ["x", "v"], "a", "rough"),
        node("Tanh", ["a"], "b", "tanh"),
        node("MatMul", ["b", "w"], "y", "fine"),
    ]
    shapes = {"x": ("float32", (4, 64))}, {"y": ("float32", (4, 64))}
    made = model(nodes, *shapes, {name: each.astype("f4") for name, each in weights.items()})
    samples = [(rng.standard_normal((4, 64)) * np.where(large, 10, 1)).astype("f4") for _ in range(12)]
    recipe = quantize(made, samples, Request(OPTIONS, always=True, details=False)).recipe
    found = []
    for each in (recipe, planted(recipe, "b")):
        library = tilewright.compile(made, recipe=each, passes=ALWAYS, threads=1)
        given = [{"x": sample} for sample in samples[:4]]
        found.append(check_quantized(library, frontends.open(made), each, given, bisect=True, options=OPTIONS))
    good, bad = (each.layers for each in found)
    assert [each.layer for each in good] == ["rough", "fine"] and not any(each.range_is_wrong for each in good)
    assert [each.layer for each in bad] == ["fine", "rough"] and 19 < bad[0].needless < 24
    text = "\n".join(map(str, quantization_check.tables("x.so", found[1])))
    assert "first to look at: layer 'fine', which reads 'b': its range in the recipe is wider" in text


def test_an_entry_that_what_is_pooled_of_it_contradicts_is_not_applied() -> None:
    images, _ = digits()
    recipe = quantized().recipe
    assert recipe.tensors["relu_1"].agrees(recipe.tensors["max_pool2d"])
    faulty = planted(recipe, "relu_1")
    samples = [{"image": image[None]} for image in images[80:84]]
    bad = tilewright.compile(DIGITS, recipe=faulty, threads=1)
    check = check_quantized(bad, frontends.open(DIGITS), faulty, samples, options=OPTIONS)
    assert check.passed and check.is_as_written


def test_a_library_whose_target_keeps_layers_in_float_is_held_to_what_it_applies() -> None:
    images, _ = digits()
    some = tilewright.compile(DIGITS, recipe=quantized().recipe, threads=1)
    samples = [{"image": image[None]} for image in images[80:84]]
    check = check_quantized(some, frontends.open(DIGITS), quantized().recipe, samples, options=OPTIONS)
    assert check.passed and check.difference.error < check.own_error.error
