"""The benchmark's table of models, as far as it can be checked without torch."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from tilewright.benchmarks import exporting, models, tiny

ROOT = Path(__file__).resolve().parents[1]
EXAMPLE = ROOT / "examples" / "models" / "digits_cnn.onnx"
KEPT_MODELS = [EXAMPLE, *sorted(tiny.FOLDER.glob("*.onnx"))]


def test_the_twelve_models_are_there() -> None:
    assert set(models.MODELS) == {
        "resnet18",
        "resnet50",
        "vgg16",
        "mobilenet_v2",
        "mobilenet_v3_large",
        "efficientnet_b0",
        "squeezenet1_1",
        "densenet121",
        "inception_v3",
        "convnext_tiny",
        "vit_b_16",
        "bert_base",
    }


@pytest.mark.parametrize("name", models.MODELS)
def test_example_inputs_are_the_same_for_a_seed_and_differ_between_seeds(name: str) -> None:
    spec = models.MODELS[name]
    first, again, other = spec.example_inputs(0), spec.example_inputs(0), spec.example_inputs(1)
    for key, value in first.items():
        assert value.shape == spec.input_shape
        np.testing.assert_array_equal(value, again[key])
    assert any((value != other[key]).any() for key, value in first.items())
    if spec.vocabulary:
        assert first["input_ids"].min() >= 0 and first["input_ids"].max() < spec.vocabulary
        assert set(np.unique(first["attention_mask"])) == {0, 1}


@pytest.mark.parametrize(
    ("first", "second", "message"),
    [
        (np.full((1, 4), 1e-28), np.full((1, 4), 2e-28), "standard deviation"),
        (np.array([1.0, 2, 3]), np.array([1.0, 2, 3.001]), "nearly the same"),
    ],
)
def test_useless_outputs_are_refused(first: np.ndarray[Any, Any], second: np.ndarray[Any, Any], message: str) -> None:
    with pytest.raises(AssertionError, match=message):
        exporting.check_outputs([first], [second])


def test_useful_outputs_are_accepted() -> None:
    assert "changed" in exporting.check_outputs([np.array([1.0, -2, 3])], [np.array([-1.0, 0, 2])])


def test_miniatures_on_disk_are_those_of_the_table() -> None:
    assert {path.stem for path in tiny.FOLDER.glob("*.onnx")} == set(tiny.FAMILIES)


@pytest.mark.parametrize("path", KEPT_MODELS, ids=lambda path: path.stem)
def test_kept_models_are_small_valid_and_carry_no_notes(path: Path) -> None:
    assert path.stat().st_size <= tiny.LARGEST_BYTES
    model = onnx.load(path)
    onnx.checker.check_model(model, full_check=True)
    assert model.opset_import[0].version >= 18
    for node in model.graph.node:
        assert node.name and not node.doc_string and not node.metadata_props


@pytest.mark.slow
@pytest.mark.parametrize("name", models.MODELS)
def test_architecture_is_the_published_one(name: str) -> None:
    torch = pytest.importorskip("torch")
    pytest.importorskip("transformers")
    spec = models.MODELS[name]
    model = models.create(spec)
    assert models.count_parameters(model) == spec.parameters
    gmacs = models.count_macs(model, [torch.from_numpy(value) for value in spec.example_inputs(0).values()]) / 1e9
    assert gmacs == pytest.approx(spec.gmacs, rel=models.MACS_TOLERANCE)
